// The bytes of a table, block by block.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kith::csv {

/// Bytes that can be read from the start more than once: a table's types are known only at its end.
class Source {
 public:
  /// A file, or "-" for standard input. What cannot be rewound (a pipe, a terminal) is copied to an unlinked
  /// temporary file first. kith::Error if it is absent, a folder or not readable.
  static Source open(const std::string& path);
  /// Memory, which must outlive the source.
  static Source over(std::string name, std::string_view memory);

  Source(Source&& other) noexcept;
  Source& operator=(Source&&) = delete;
  ~Source();

  /// What messages call it.
  const std::string& name() const { return name_; }
  /// Bytes in all; 0 where the system does not say.
  std::uint64_t size() const { return size_; }
  /// Bytes handed out since the last rewind.
  std::uint64_t position() const { return position_; }

  /// The next block, valid until the next call; empty at the end.
  std::string_view next();
  void rewind() { position_ = 0; }

 private:
  explicit Source(std::string name) : name_(std::move(name)) {}

  std::string name_;
  int file_ = -1;           // -1: the bytes are in memory_.
  std::uint64_t base_ = 0;  // where in the file the table starts.
  std::string_view memory_;
  std::uint64_t size_ = 0;
  std::uint64_t position_ = 0;
  std::vector<char> block_;
};

}  // namespace kith::csv
