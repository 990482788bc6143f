// Views borrow memory, arrays own it. Inputs of the library are views, results are arrays.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace kith {

using Index = std::ptrdiff_t;

template <int R>
using Shape = std::array<Index, R>;

/// Strides, in elements, of a row-major array without gaps.
template <int R>
constexpr Shape<R> dense_strides(const Shape<R>& shape) {
  Shape<R> stride{};
  Index step = 1;
  for (int axis = R - 1; axis >= 0; --axis) {
    stride[static_cast<std::size_t>(axis)] = step;
    step *= shape[static_cast<std::size_t>(axis)];
  }
  return stride;
}

template <int R>
constexpr Index element_count(const Shape<R>& shape) {
  Index count = 1;
  for (Index extent : shape) count *= extent;
  return count;
}

/// A non-owning strided array of rank R. Strides count elements; the operator needs the last one to be 1.
template <class T, int R>
struct View {
  T* data = nullptr;
  Shape<R> shape{};
  Shape<R> stride{};

  View() = default;
  View(T* first, const Shape<R>& extents) : View(first, extents, dense_strides<R>(extents)) {}
  View(T* first, const Shape<R>& extents, const Shape<R>& steps)
      : data(first), shape(extents), stride(steps) {}

  /// A view of constants from a view of variables.
  template <class U>
  requires(std::is_same_v<const U, T>) View(const View<U, R>& other)
      : data(other.data), shape(other.shape), stride(other.stride) {}

  /// [N, D] read as [1, 1, N, D].
  template <class U>
  requires(R == 4 && std::is_convertible_v<U*, T*>) View(const View<U, 2>& matrix)
      : data(matrix.data),
        shape{1, 1, matrix.shape[0], matrix.shape[1]},
        stride{matrix.shape[0] * matrix.stride[0], matrix.shape[0] * matrix.stride[0], matrix.stride[0],
               matrix.stride[1]} {}

  template <class... I>
  requires(sizeof...(I) == R) T& operator()(I... index) const {
    Index offset = 0;
    std::size_t axis = 0;
    ((offset += static_cast<Index>(index) * stride[axis++]), ...);
    return data[offset];
  }

  Index size() const { return element_count<R>(shape); }
  bool empty() const { return size() == 0; }
};

/// An owning dense row-major array of rank R, aligned for any vector instruction. Elements start at zero.
template <class T, int R>
class Array {
 public:
  Array() = default;
  explicit Array(const Shape<R>& shape) : shape_(shape), data_(allocate(element_count<R>(shape))) {}
  Array(const Array& other) : Array(other.shape_) { std::copy(other.begin(), other.end(), begin()); }
  /// What is moved from is empty.
  Array(Array&& other) noexcept : shape_(std::exchange(other.shape_, {})), data_(std::move(other.data_)) {}
  Array& operator=(Array other) noexcept {
    std::swap(shape_, other.shape_);
    std::swap(data_, other.data_);
    return *this;
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  const Shape<R>& shape() const { return shape_; }
  Index size() const { return data_ ? element_count<R>(shape_) : 0; }
  bool empty() const { return size() == 0; }

  T* begin() { return data(); }
  T* end() { return data() + size(); }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size(); }

  View<T, R> view() { return {data(), shape_}; }
  View<const T, R> view() const { return {data(), shape_}; }
  operator View<T, R>() { return view(); }
  operator View<const T, R>() const { return view(); }
  operator View<const T, 4>() const requires(R == 2) { return View<const T, 4>(view()); }

  template <class... I>
  requires(sizeof...(I) == R) T& operator()(I... index) { return view()(index...); }
  template <class... I>
  requires(sizeof...(I) == R) const T& operator()(I... index) const { return view()(index...); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(T* p) const { ::operator delete[](p, kAlignment); }
  };
  using Memory = std::unique_ptr<T[], Free>;

  static Memory allocate(Index count) {
    static_assert(std::is_trivially_destructible_v<T>);
    if (count <= 0) return nullptr;
    const auto n = static_cast<std::size_t>(count);
    if (n > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_array_new_length();
    T* p = static_cast<T*>(::operator new[](n * sizeof(T), kAlignment));
    std::uninitialized_value_construct_n(p, n);
    return Memory(p);
  }

  Shape<R> shape_{};
  Memory data_;
};

}  // namespace kith
