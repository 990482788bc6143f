// The safetensors format: named tensors behind a JSON header, read by mapping the file.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kith/error.h"
#include "kith/view.h"

namespace kith {

/// Writes a whole file or nothing: the bytes go to a temporary file beside `path`, are synced and renamed
/// over it. An error (full disk, no permission: "cannot write PATH: No space left on device") leaves an old
/// file untouched and no temporary file behind; only a killed process can leave one, named
/// ".NAME.XXXXXX.tmp", which may be deleted. The old file's mode is kept. Behind a symbolic link the file it
/// points to is replaced. A write-protected file is refused. A device, a pipe or an open descriptor
/// (/dev/stdout) is written to as it is.
void write_file_atomically(const std::string& path, std::span<const std::span<const std::byte>> parts);
void write_file_atomically(const std::string& path, std::string_view content);

/// One tensor to write. dtype is safetensors' name: "F32", "F64", "I64", "U32", "U8".
struct TensorEntry {
  std::string name;
  std::string dtype;
  std::vector<Index> shape;
  std::span<const std::byte> bytes;
};

/// Entries of float, double, int64, uint32 and uint8 data, borrowed from the caller until written.
template <class T>
TensorEntry tensor_entry(std::string name, std::vector<Index> shape, const T* data);

/// Writes tensors and string metadata as one safetensors file, atomically. The data begins at a multiple of
/// 64 bytes; the format allows no gaps between tensors, so they lie in the order of their elements' size,
/// widest first, and each is aligned to its element. The metadata gets "kith.checksum", the XXH3-64
/// (hexadecimal) of everything else. Error: a name given twice, a shape that does not fit its bytes, text
/// that is not UTF-8, a file that cannot be written.
void write_safetensors(const std::string& path, const std::vector<TensorEntry>& tensors,
                       const std::map<std::string, std::string>& metadata);

/// A mapped safetensors file, Kith's or another program's. Its tensors are views into the mapping and live as
/// long as this object (or a copy: copies share the mapping). Tensors that another program left unaligned are
/// copied when opened. Opening validates the header: sizes, offsets, gaps, overlaps, dtypes.
class SafetensorsFile {
 public:
  /// kith::Error names the file and what is wrong with it: absent, a folder, truncated, foreign, damaged.
  /// `verify`: also compare the checksum, where the file carries one.
  static SafetensorsFile open(const std::string& path, bool verify = true);

  const std::map<std::string, std::string>& metadata() const;
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const;
  const std::vector<Index>& shape(const std::string& name) const;
  std::string dtype(const std::string& name) const;

  /// The tensor as a dense view; an error names the file, the tensor and what differs (absent, dtype, rank).
  template <class T, int R>
  View<const T, R> tensor(const std::string& name) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace kith
