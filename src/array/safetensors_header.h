// The safetensors header: parsing with every check, and writing. Works on bytes, knows no file.
//
//     8 bytes          length of the header, little-endian
//     the header       JSON, {"__metadata__": {key: string}, tensor: {"dtype", "shape", "data_offsets"}},
//     spaces after it the data         the tensors without gaps; data_offsets count from here
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kith/safetensors.h"

namespace kith::safetensors {

struct TensorInfo {
  std::string dtype;
  std::vector<Index> shape;
  std::span<const std::byte>
      bytes;  ///< inside the bytes that were parsed; not necessarily aligned for the dtype.
};

struct Contents {
  std::map<std::string, std::string> metadata;
  std::map<std::string, TensorInfo> tensors;
};

/// Bytes of an element, 0 for a dtype that the format does not have (or has in less than a byte).
std::size_t element_size(std::string_view dtype);

/// Bytes of a dense tensor; nothing if an extent is negative or the product of the extents, zeros not
/// counted, overflows (strides are such products).
std::optional<std::size_t> byte_count(std::size_t element_size, std::span<const Index> shape);

/// Checks everything, and the checksum too if `verify` and there is one. Errors lack the file's name:
/// "truncated: ...", "damaged: ...", "not a safetensors file: ...".
Contents parse(std::span<const std::byte> file, bool verify);

/// A tensor of known size; its data comes later.
struct TensorPlan {
  std::string name;
  std::string dtype;
  std::vector<Index> shape;
  std::size_t bytes = 0;
};

/// The length and the header, padded so that the data begins at a multiple of 64. Tensors lie in the order
/// given. Room for the checksum is kept, filled with '0': `fill_checksum` is to be called.
std::string render(const std::vector<TensorPlan>& tensors,
                   const std::map<std::string, std::string>& metadata);

/// XXH3-64 of the header's JSON with sixteen '0' in the checksum's place, then the data.
std::uint64_t checksum(std::string_view rendered, std::span<const std::span<const std::byte>> data);
void fill_checksum(std::string& rendered, std::uint64_t checksum);

/// A name from a file, fit for a message: quoted, short, without control characters.
std::string show_name(std::string_view name);

}  // namespace kith::safetensors
