// Values as the forward kernel takes them: finite, padded or in tiles, or where they lie.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "array/threads.h"
#include "attention/kernels/kernels.h"
#include "attention/lowering.h"
#include "attention/mask_plan.h"
#include "attention/prepared_rows.h"

namespace kith {

template <class T>
class PreparedValues {
 public:
  using Real = compute_t<T>;

  /// `moment`, `position`: values are followed by their squares and by the key's index, where outputs are
  /// averages of those.
  PreparedValues(const View<const T, 4>& value, const Geometry& g, const MaskPlan& plan,
                 const PreparedRows<T>& rows, bool moment, bool position)
      : value_(value),
        g_(g),
        plan_(plan),
        rows_(rows),
        moment_(moment),
        position_(position),
        narrow_(g.value_depth <= kernels::kNarrowValue),
        width_(g.value_depth * (moment ? 2 : 1) + (position ? 1 : 0)),
        stride_(kernels::round_up(width_, kernels::vector_lanes<Real>())) {}

  Index width() const { return width_; }
  bool narrow() const { return narrow_; }
  bool extended() const { return moment_ || position_; }
  /// Whether all values of a head are; known after the forward pass.
  bool finite(Index number, Index h) const { return not_finite_[number * g_.key_heads + h] == 0; }
  HeadRows<T> raw(Index number, Index h) const {
    const Sequence& s = plan_.sequence(number);
    return head_rows(value_, s.batch, h, s.first_key);
  }

  /// `prepared`: before the kernel runs, else by the kernel on their way through. `rounded`: as ForwardTask
  /// has it.
  void divide(Divider& memory, bool prepared, bool rounded) {
    prepared_ = prepared;
    rounded_ = rounded;
    not_finite_ = memory.take<unsigned char>(plan_.sequence_count() * g_.key_heads);
    if (!prepared) return;
    if (narrow_) tiles_ = rows_.take_tiles(memory, width_);
    if (!narrow_ || copied()) memory_ = memory.take<Real>(rows_.slots() * g_.keys * stride_);
  }

  void clear() const {
    std::fill_n(not_finite_, plan_.sequence_count() * g_.key_heads, static_cast<unsigned char>(0));
  }
  /// Key heads [first, end), as PreparedRows counts them.
  void prepare(int threads, Index first, Index end) const {
    if (!prepared_) return;
    parallel_for(threads, end - first,
                 [&](Index i) { prepare_head((first + i) / g_.key_heads, (first + i) % g_.key_heads); });
  }

  /// For the keys from t.key_begin on.
  void point(Index number, Index h, kernels::ForwardTask<Real>& t) const {
    const HeadRows<T> from = raw(number, h);
    t.value_depth = width_;
    t.narrow = narrow_;
    t.value_rows = {from.data + t.key_begin * from.stride, from.stride, dtype_of<T>()};
    t.not_finite = not_finite_ + number * g_.key_heads + h;
    if (!prepared_) return;
    if (narrow_) {
      t.value_tiles = rows_.tiles(tiles_, number, h, width_);
      return;
    }
    t.value = rows_at(number, h);
    t.value_stride = stride_;
    t.rounded = rounded_;
    if constexpr (std::is_same_v<T, Real>) {
      if (in_place() && finite(number, h)) {
        t.value = from.data;
        t.value_stride = from.stride;
      }
    }
  }

 private:
  bool in_place() const { return !copied() && g_.value_depth % kernels::vector_lanes<Real>() == 0; }
  bool copied() const { return extended() || !std::is_same_v<T, Real>; }
  Real* rows_at(Index number, Index h) const {
    const Sequence& s = plan_.sequence(number);
    return memory_ + (rows_.slot(s, h) * g_.keys + s.first_key) * stride_;
  }

  void prepare_head(Index number, Index h) const {
    const Sequence& s = plan_.sequence(number);
    const HeadRows<T> from = raw(number, h);
    const bool is_finite = all_finite(from, s.keys, g_.value_depth);
    not_finite_[number * g_.key_heads + h] = is_finite ? 0 : 1;
    if (is_finite && !narrow_ && in_place()) return;
    if constexpr (std::is_same_v<T, bfloat16>) {
      if (rounded_) return pair_rows(from, s.keys, rows_at(number, h));
    }
    const Index count = kernels::tile_count<Real>(s.keys);
    if (!narrow_ || copied()) {
      Real* to = rows_at(number, h);
      copy_finite(from, s.keys, g_.value_depth, to, stride_);
      for (Index j = 0; extended() && j < s.keys; ++j) extend(to + j * stride_, s.first_key + j);
      if (narrow_) {
        kernels::pack_tiles<Real>(to, stride_, s.keys, width_, 0, count,
                                  rows_.tiles(tiles_, number, h, width_));
      }
    } else if constexpr (std::is_same_v<T, Real>) {
      Real* to = rows_.tiles(tiles_, number, h, width_);
      kernels::pack_tiles<Real>(from.data, from.stride, s.keys, width_, 0, count, to);
      if (is_finite) return;
      std::replace_if(
          to, to + count * width_ * kernels::tile_keys<Real>(), [](Real x) { return !std::isfinite(x); },
          Real{0});
    }
  }

  // Words of two keys' values; 0 in place of what is not finite and where there is no second key.
  void pair_rows(const HeadRows<bfloat16>& from, Index keys, Real* to) const {
    const auto bits = [&](Index j, Index c) -> std::uint32_t {
      if (j >= keys || c >= g_.value_depth) return 0;
      const bfloat16 x = from.data[j * from.stride + c];
      return (x.bits & 0x7f80U) == 0x7f80U ? 0 : x.bits;
    };
    for (Index j = 0; j < keys; j += 2) {
      for (Index c = 0; c < stride_; ++c) *to++ = std::bit_cast<float>(bits(j, c) | bits(j + 1, c) << 16U);
    }
  }

  void extend(Real* row, Index key) const {
    if (moment_) {
      for (Index c = 0; c < g_.value_depth; ++c) row[g_.value_depth + c] = row[c] * row[c];
    }
    if (position_) row[width_ - 1] = static_cast<Real>(key);
  }

  const View<const T, 4>& value_;
  const Geometry& g_;
  const MaskPlan& plan_;
  const PreparedRows<T>& rows_;
  bool moment_, position_, narrow_, prepared_ = true, rounded_ = false;
  Index width_, stride_;
  Real* tiles_ = nullptr;                // [slots][tiles][width][tile], narrow
  Real* memory_ = nullptr;               // [slots][M][stride], wide or copied
  unsigned char* not_finite_ = nullptr;  // [sequences][Hk]
};

}  // namespace kith
