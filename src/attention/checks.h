// What the checks of a call are made of. All throw kith::Error, naming the argument; none allocates unless it
// fails.
#pragma once

#include <initializer_list>
#include <span>
#include <string>

#include "attention/geometry.h"

namespace kith::checks {

/// [2, 3]
std::string shape_text(std::span<const Index> shape);

/// Whether a caller set the view at all.
template <class T, int R>
bool given(const View<T, R>& x) {
  return x.data != nullptr || x.shape != Shape<R>{};
}

/// Extents are not negative and their product can be counted, in bytes too.
void check_size(const char* name, std::span<const Index> shape);
inline void check_size(const char* name, std::initializer_list<Index> shape) {
  check_size(name, {shape.begin(), shape.size()});
}

/// Also, every element has an address, and there is memory where there are elements.
void check_memory(const char* name, const void* data, std::size_t element_bytes, std::span<const Index> shape,
                  std::span<const Index> stride);
template <class T, int R>
void check_memory(const char* name, const View<T, R>& x) {
  check_memory(name, x.data, sizeof(T), x.shape, x.stride);
}

/// Columns lie side by side.
template <class T, int R>
void check_contiguous(const char* name, const View<T, R>& x);

/// What an axis has to be: an extent, or 1 in its place, which is repeated. -1: any.
struct Axis {
  Index extent;
  bool or_one = false;
};
void check_shape(const char* name, std::span<const Index> shape, std::initializer_list<Axis> needed);

/// Shape and memory.
template <class T, int R>
void check_array(const char* name, const View<T, R>& x, std::initializer_list<Axis> needed) {
  check_shape(name, x.shape, needed);
  check_memory(name, x);
}

enum class Numbers { finite, positive };
void check_number(const char* name, double x, Numbers needed);
/// Each element, whose memory is checked already.
void check_numbers(const char* name, const double* data, std::span<const Index> shape,
                   std::span<const Index> stride, Numbers needed);
template <int R>
void check_numbers(const char* name, const View<const double, R>& x, Numbers needed) {
  check_numbers(name, x.data, x.shape, x.stride, needed);
}

void check_least(const char* name, Index x, Index least);
/// Within +-2^60, so that it can be added to a position.
void check_offset(const char* name, Index offset);

/// Everything in the options but the mask against the sizes.
void check_options(const AttentionOptions& options, const Geometry& g);

}  // namespace kith::checks
