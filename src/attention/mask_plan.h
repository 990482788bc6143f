// Which keys a block of queries sees, asked block by block.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kith/mask.h"

namespace kith {

/// Rows that belong together: a batch row or, with `ragged`, a packed sequence. Its queries and keys count
/// from 0; they begin at these rows of batch row `batch`.
struct Sequence {
  Index batch = 0;
  Index first_query = 0, queries = 0;
  Index first_key = 0, keys = 0;  ///< keys beyond a key length are not counted
};

/// A mask with its sizes. Kernels ask once per block whether none, some or all of it is seen, and for bits
/// only where the answer is `some`: what nobody sees is never computed, what everybody sees costs no test.
/// i and j count from the start of the sequence.
///
/// Causal, window, lengths and prefix leave each query one interval of keys; those and exclude-self are a few
/// integer operations here. The other parts, `patterns`, are asked out of line.
class MaskPlan {
 public:
  enum class Seen { none, some, all };

  MaskPlan() = default;
  /// The mask is checked already and outlives the plan.
  MaskPlan(const Mask& mask, Index batch, Index queries, Index keys) { assign(mask, batch, queries, keys); }
  /// As if constructed anew; its memory is reused.
  void assign(const Mask& mask, Index batch, Index queries, Index keys);

  const std::vector<Sequence>& sequences() const { return sequences_; }
  Index sequence_count() const { return static_cast<Index>(sequences_.size()); }
  const Sequence& sequence(Index s) const { return sequences_[static_cast<std::size_t>(s)]; }

  /// Of queries [i0, i1) against keys [j0, j1), i0 < i1, j0 < j1; j1 may lie beyond the last key. Exact.
  Seen classify(Index s, Index h, Index i0, Index i1, Index j0, Index j1) const {
    const Seen seen = interval_seen(limits_[static_cast<std::size_t>(s)], i0, i1, j0, j1);
    if (seen == Seen::none || !(patterns_ || crosses_self(i0, i1, j0, j1))) return seen;
    return refine(s, h, i0, i1, j0, j1, seen);
  }

  /// Bit c: query i sees key j0 + c, for c < count <= 64; keys beyond the last are not seen.
  std::uint64_t bits(Index s, Index h, Index i, Index j0, Index count = 64) const {
    const Limits& l = limits_[static_cast<std::size_t>(s)];
    const Index begin = std::max(first_key_, i + window_begin_) - j0;
    const Index end = i < l.query_end ? span_end(l, i) - j0 : 0;
    std::uint64_t seen = ones(std::clamp<Index>(end, 0, count)) & ~ones(std::clamp<Index>(begin, 0, count));
    const Index self = i + self_ - j0;
    if (self >= 0 && self < count) seen &= ~(std::uint64_t{1} << self);
    return patterns_ && seen != 0 ? pattern_bits(s, h, i, j0, seen) : seen;
  }

  bool visible(Index s, Index h, Index i, Index j) const { return (bits(s, h, i, j, 1) & 1) != 0; }

 private:
  struct Limits {
    Index query_end = 0, key_end = 0;                ///< lengths of the sequence
    Index prefix = 0;                                ///< keys before it are not hidden by `causal`
    Index first_query_cell = 0, first_key_cell = 0;  ///< in Extremes
  };
  /// Beyond any position, and safe to add to one: offsets are within 2^60, sizes within 2^57.
  static constexpr Index kFar = Index{1} << 61;

  /// Smallest and largest id or stamp of each kQueryCell queries and kKeyCell keys.
  template <class T>
  struct Range {
    T least, most;
  };
  template <class T>
  struct Extremes {
    std::vector<Range<T>> query, key;
  };
  static constexpr Index kQueryCell = 24, kKeyCell = 192;
  /// Of a block of queries and one of keys.
  template <class T>
  struct BlockRange {
    Range<T> query, key;
  };

  static std::uint64_t ones(Index n) { return n <= 0 ? 0 : ~std::uint64_t{0} >> (64 - n); }

  /// One past the last key in the interval of query i < query_end; not clamped to 0.
  Index span_end(const Limits& l, Index i) const {
    return std::min({l.key_end, std::max(l.prefix, i + causal_end_), i + window_end_});
  }

  bool crosses_self(Index i0, Index i1, Index j0, Index j1) const {
    return i0 + self_ < j1 && i1 - 1 + self_ >= j0;
  }

  /// By the intervals alone. They begin and end later for later queries, so the first and the last query that
  /// could reach into the block decide.
  Seen interval_seen(const Limits& l, Index i0, Index i1, Index j0, Index j1) const {
    const Index query_end = std::min(i1, l.query_end), key_end = std::min(j1, l.key_end);
    const Index key = std::max(j0, first_key_);
    if (key >= key_end) return Seen::none;
    const auto reaches = [&](Index reach, Index end) {
      return std::max(i0, key + 1 - reach) < std::min(query_end, end - window_begin_);
    };
    const bool causally = window_begin_ < causal_end_ && reaches(std::min(causal_end_, window_end_), key_end);
    const bool in_prefix = key < l.prefix && reaches(window_end_, std::min(key_end, l.prefix));
    if (!causally && !in_prefix) return Seen::none;
    const bool whole =
        i1 <= l.query_end && first_key_ <= j0 && i1 - 1 + window_begin_ <= j0 && j1 <= span_end(l, i0);
    return whole ? Seen::all : Seen::some;
  }

  template <class T>
  void find_extremes(const View<const T, 2>& query, const View<const T, 2>& key, Extremes<T>& extremes) const;
  template <class T>
  BlockRange<T> block_range(const Extremes<T>& extremes, const Limits& l, Index i0, Index i1, Index j0,
                            Index j1) const;

  /// What remains of `seen`, the intervals' answer, with the other parts.
  Seen refine(Index s, Index h, Index i0, Index i1, Index j0, Index j1, Seen seen) const;
  /// By patterns alone, where that is cheap: `none` and `all` are certain, `some` is not.
  Seen pattern_seen(Index s, Index h, Index i0, Index i1, Index j0, Index j1) const;
  Seen blocks_seen(const Sequence& q, Index h, Index i0, Index i1, Index j0, Index j1) const;
  Seen array_seen(const Sequence& q, Index h, Index i0, Index i1, Index j0, Index j1) const;
  /// Bit by bit.
  Seen scan(Index s, Index h, Index i0, Index i1, Index j0, Index j1) const;
  /// Those of the bits `seen`, not 0, that the patterns let through; reads nothing before the first and
  /// behind the last of them.
  std::uint64_t pattern_bits(Index s, Index h, Index i, Index j0, std::uint64_t seen) const;
  std::uint64_t block_bits(const Sequence& q, Index h, Index i, Index j0, std::uint64_t seen) const;
  std::uint64_t array_bits(const Sequence& q, Index h, Index i, Index j0, std::uint64_t seen) const;

  const Mask* mask_ = nullptr;
  std::vector<Sequence> sequences_;
  std::vector<Limits> limits_;  ///< of each sequence
  /// Added to i: one past the last key by `causal`, the first key and one past the last by `window`, the key
  /// hidden by exclude_self.
  Index causal_end_ = kFar, window_begin_ = -kFar, window_end_ = kFar, self_ = kFar;
  Index first_key_ = 0;    ///< keys before it are not seen
  bool patterns_ = false;  ///< parts that are not intervals: ids, times, block map, array
  Extremes<std::int64_t> documents_, groups_;
  Extremes<double> times_;
};

}  // namespace kith
