// Whole files: read by mapping, written whole or not at all (write_file_atomically in kith/safetensors.h).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "kith/error.h"

namespace kith {

/// A file's bytes, read-only. A regular file is mapped, a pipe is read to its end. Copies share the bytes.
/// Replacing the file by rename leaves a mapping as it is; a program that shortens the file in place ends
/// this one with SIGBUS, as with every mapping.
class FileBytes {
 public:
  /// kith::Error: "PATH: does not exist", "PATH: is a folder", "PATH: not readable: Permission denied", ...
  static FileBytes open(const std::string& path);

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> bytes_;
};

}  // namespace kith
