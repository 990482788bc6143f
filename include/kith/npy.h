// NumPy's .npy files: one array behind a short header.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "kith/dtype.h"
#include "kith/error.h"
#include "kith/view.h"

namespace kith {

/// An array of any rank up to 8, in the type and with the shape that its file gives it.
struct NpyArray {
  std::string path;  ///< where it was read from, for messages
  Dtype dtype = Dtype::float32;
  std::vector<Index> shape;   ///< none for a single number
  Array<std::byte, 1> bytes;  ///< row-major whatever the file's order; booleans are 0 or 1

  /// The shape with extents of 1 put before it until there are R. Error: more than R axes.
  template <int R>
  Shape<R> shape_of_rank() const {
    require_rank(R);
    Shape<R> result;
    result.fill(1);
    std::copy(shape.rbegin(), shape.rend(), result.rbegin());
    return result;
  }

  /// The numbers where they lie, for as long as this object has them. Error: another type, more than R axes.
  template <class T, int R>
  View<const T, R> view() const {
    require_dtype(dtype_of<T>());
    return {reinterpret_cast<const T*>(bytes.data()), shape_of_rank<R>()};
  }

  /// A converted copy. T: float, double, bfloat16, float16 (rounded to nearest even), Index, bool (anything
  /// but 0 is true). Error: floating-point numbers as Index or bool, more than R axes.
  template <class T, int R>
  Array<T, R> as() const {
    Array<T, R> result(shape_of_rank<R>());
    convert(result.data());
    return result;
  }

  void require_rank(int most) const;
  void require_dtype(Dtype wanted) const;
  /// Writes every element, in row-major order.
  template <class T>
  void convert(T* out) const;
};

/// Reads a file of format version 1, 2 or 3, written in C or Fortran order, little-endian, of type f2, f4,
/// f8, b1, u1, i4 or i8. NumPy has no name for bfloat16: what its extension ml_dtypes saves is "<V2", so
/// two-byte elements without a type ("<V2", "|V2", and "bfloat16" by name) are read as bfloat16. kith::Error
/// names the file and what is wrong with it: absent, truncated, foreign, damaged, another type, bytes left
/// over.
NpyArray read_npy(const std::string& path);

/// Writes the bytes that numpy.save writes (bfloat16 as ml_dtypes does), atomically. Strides count elements
/// and may be anything that stays within the caller's memory. kith::Error: a shape without meaning, no data,
/// a file that cannot be written.
void write_npy(const std::string& path, Dtype dtype, std::span<const Index> shape,
               std::span<const Index> stride, const void* data);

template <class T, int R>
void write_npy(const std::string& path, const View<T, R>& array) {
  static_assert(R <= 8, "a .npy file of Kith's has at most 8 axes");
  write_npy(path, dtype_of<std::remove_const_t<T>>(), array.shape, array.stride, array.data);
}
template <class T, int R>
void write_npy(const std::string& path, const Array<T, R>& array) {
  write_npy(path, array.view());
}

}  // namespace kith
