// The .npy format on bytes; knows no file.
//
//     6 bytes       0x93 "NUMPY"
//     2 bytes       version: 1.0, 2.0, 3.0
//     2 bytes       length of the header, little-endian; 4 bytes from version 2.0 on
//     the header    a Python dict, {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), },
//     spaces and a line feed after it; then the data, without gaps
//
// Source: NumPy's documentation of numpy.lib.format.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kith/npy.h"

namespace kith::npy {

constexpr int kMaxRank = 8;

struct Header {
  Dtype dtype = Dtype::float32;
  bool fortran_order = false;
  std::vector<Index> shape;
};

/// The dict and nothing but white space around it; each of its three keys once, in any order.
Header parse_header(std::string_view text);

/// The array in `file`, its sizes checked against the bytes that are there before any memory is taken.
/// Errors lack the file's name: "truncated: ...", "damaged: ...", "not a .npy file: ...", "dtype ...".
NpyArray decode(std::span<const std::byte> file);

/// What comes before the data: version 1.0, padded as NumPy does.
std::string render(Dtype dtype, std::span<const Index> shape);

/// Copies a strided array of at least one element, strides in bytes, into row-major order.
void gather(const std::byte* source, std::span<const Index> shape, std::span<const Index> stride,
            std::size_t element_size, std::byte* out);

}  // namespace kith::npy
