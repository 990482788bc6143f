#include "attention/checks.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>

namespace kith::checks {

std::string shape_text(std::span<const Index> shape) {
  std::string text = "[";
  for (const Index extent : shape) text += fmt::format("{}{}", text.size() > 1 ? ", " : "", extent);
  return text + "]";
}

void check_size(const char* name, std::span<const Index> shape) {
  static constexpr const char* kAxes[] = {"batch", "heads", "rows", "columns"};
  Index count = 1;
  for (std::size_t a = 0; a < shape.size(); ++a) {
    if (shape[a] < 0) {
      throw Error(shape.size() == 4
                      ? fmt::format("{}: {} is {}; it cannot be negative", name, kAxes[a], shape[a])
                      : fmt::format("{}: shape {}; it cannot be negative", name, shape_text(shape)));
    }
    // An extent of 0 must not hide the others: strides are products, too.
    if (__builtin_mul_overflow(count, std::max<Index>(1, shape[a]), &count) || count > PTRDIFF_MAX / 64) {
      throw Error(fmt::format("{}: shape {} has too many elements to address; it needs fewer than 2^57", name,
                              shape_text(shape)));
    }
  }
}

void check_memory(const char* name, const void* data, std::size_t element_bytes, std::span<const Index> shape,
                  std::span<const Index> stride) {
  check_size(name, shape);
  const Index count = [&] {
    Index product = 1;
    for (const Index extent : shape) product *= extent;
    return product;
  }();
  if (count == 0) return;
  if (data == nullptr) {
    throw Error(fmt::format("{}: no data (a null pointer) for {} elements; it needs memory", name, count));
  }
  // How far elements lie behind and before the first one.
  Index behind = 0, before = 0;
  bool fits = true;
  for (std::size_t a = 0; a < shape.size(); ++a) {
    Index step = 0, reach = 0;
    fits = fits && !__builtin_mul_overflow(stride[a], static_cast<Index>(element_bytes), &step) &&
           !__builtin_mul_overflow(shape[a] - 1, step, &reach) &&
           !(reach < 0 ? __builtin_sub_overflow(before, reach, &before)
                       : __builtin_add_overflow(behind, reach, &behind));
  }
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  if (!fits || static_cast<std::uintptr_t>(before) > address ||
      static_cast<std::uintptr_t>(behind) + element_bytes > UINTPTR_MAX - address) {
    throw Error(
        fmt::format("{}: strides {} of shape {} lead out of the address space; it needs memory for all", name,
                    shape_text(stride), shape_text(shape)));
  }
}

template <class T, int R>
void check_contiguous(const char* name, const View<T, R>& x) {
  constexpr auto kLast = static_cast<std::size_t>(R - 1);
  if (!x.empty() && x.shape[kLast] > 1 && x.stride[kLast] != 1) {
    throw Error(
        fmt::format("{}: the last axis has stride {}; it needs 1 (contiguous)", name, x.stride[kLast]));
  }
}
template void check_contiguous(const char*, const View<const float, 4>&);
template void check_contiguous(const char*, const View<const double, 4>&);
template void check_contiguous(const char*, const View<const bfloat16, 4>&);
template void check_contiguous(const char*, const View<const float16, 4>&);

void check_shape(const char* name, std::span<const Index> shape, std::initializer_list<Axis> needed) {
  std::size_t a = 0;
  bool fits = shape.size() == needed.size();
  for (const Axis& axis : needed) {
    fits = fits && (axis.extent == -1 || shape[a] == axis.extent || (axis.or_one && shape[a] == 1));
    ++a;
  }
  if (fits) return;
  std::string text;
  for (const Axis& axis : needed) {
    text += text.empty() ? "[" : ", ";
    text += axis.extent == -1 ? "any" : fmt::format("{}", axis.extent);
    if (axis.or_one && axis.extent != -1 && axis.extent != 1) text += " or 1";
  }
  throw Error(fmt::format("{}: shape {}; it needs {}]", name, shape_text(shape), text));
}

void check_number(const char* name, double x, Numbers needed) {
  const bool positive = needed == Numbers::positive;
  if (!std::isfinite(x) || (positive && x <= 0))
    throw Error(
        fmt::format("{}: {}; it needs to be a finite {}number", name, x, positive ? "positive " : ""));
}

void check_numbers(const char* name, const double* data, std::span<const Index> shape,
                   std::span<const Index> stride, Numbers needed) {
  if (shape.empty()) {
    const double x = *data;
    if (std::isfinite(x) && (needed == Numbers::finite || x > 0)) return;
    throw Error(fmt::format("{}: holds {}; it needs finite {}numbers", name, x,
                            needed == Numbers::positive ? "positive " : ""));
  }
  for (Index i = 0; i < shape[0]; ++i) {
    check_numbers(name, data + i * stride[0], shape.subspan(1), stride.subspan(1), needed);
  }
}

void check_least(const char* name, Index x, Index least) {
  if (x < least) throw Error(fmt::format("{}: {}; it needs to be at least {}", name, x, least));
}

void check_offset(const char* name, Index offset) {
  constexpr Index kLimit = Index{1} << 60;
  if (offset > kLimit || offset < -kLimit) {
    throw Error(fmt::format("{}: offset {} is out of range; it needs to be within +-2^60", name, offset));
  }
}

}  // namespace kith::checks
