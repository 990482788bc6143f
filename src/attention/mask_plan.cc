#include "attention/mask_plan.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace kith {
namespace {

using Seen = MaskPlan::Seen;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

Index ceil_divide(Index n, Index step) { return (n + step - 1) / step; }

/// One per batch row, or one for all.
Index entry(const std::vector<Index>& numbers, Index s, Index otherwise) {
  if (numbers.empty()) return otherwise;
  return numbers[numbers.size() == 1 ? 0 : at(s)];
}

/// Elements of row b of a [B or 1, count] view.
template <class T>
struct Line {
  const T* data;
  Index stride;

  Line(const View<const T, 2>& view, Index b)
      : data(view.data + (view.shape[0] == 1 ? 0 : b * view.stride[0])), stride(view.stride[1]) {}
  T operator[](Index i) const { return data[i * stride]; }
};

/// Bits of `seen` for which `test(c)`; no other c is tried.
template <class Test>
std::uint64_t filter(std::uint64_t seen, const Test& test) {
  if (seen == 0) return 0;
  std::uint64_t kept = 0;
  const int end = 64 - std::countl_zero(seen);
  for (int c = std::countr_zero(seen); c < end; ++c) kept |= std::uint64_t{test(Index{c})} << c;
  return kept & seen;
}

/// Eight bools as the bits of a byte, the first one lowest.
std::uint64_t pack_bools(const bool* x) {
  std::uint64_t bytes;
  std::memcpy(&bytes, x, sizeof bytes);
  if constexpr (std::endian::native == std::endian::big) bytes = __builtin_bswap64(bytes);
  return bytes * 0x0102040810204080u >> 56;
}

/// Bit c: allowed[c * stride], for c from `begin` to `end` <= 64.
std::uint64_t bool_bits(const bool* allowed, Index stride, Index begin, Index end) {
  std::uint64_t bits = 0;
  Index c = begin;
  if (stride == 1) {
    for (; c + 8 <= end; c += 8) bits |= pack_bools(allowed + c) << c;
  }
  for (; c < end; ++c) bits |= std::uint64_t{allowed[c * stride]} << c;
  return bits;
}

/// Collects answers about parts of a block until both kinds have come up.
struct Tally {
  bool any = false, missing = false;

  /// `seen` of the bits `asked`.
  void add(std::uint64_t seen, std::uint64_t asked) {
    any |= seen != 0;
    missing |= seen != asked;
  }
  bool decided() const { return any && missing; }
  Seen seen() const { return !any ? Seen::none : missing ? Seen::some : Seen::all; }
};

}  // namespace

void MaskPlan::assign(const Mask& mask, Index batch, Index queries, Index keys) {
  mask_ = &mask;
  sequences_.clear();
  if (mask.ragged.empty()) {
    for (Index b = 0; b < batch; ++b) sequences_.push_back({b, 0, queries, 0, keys});
  } else {
    const auto &query = mask.ragged.query, &key = mask.ragged.key;
    for (std::size_t s = 0; s + 1 < query.size(); ++s) {
      sequences_.push_back({0, query[s], query[s + 1] - query[s], key[s], key[s + 1] - key[s]});
    }
  }

  limits_.clear();
  Index query_cells = 0, key_cells = 0;
  for (std::size_t s = 0; s < sequences_.size(); ++s) {
    Sequence& q = sequences_[s];
    if (!mask.key_length.empty()) q.keys = mask.key_length[s];
    const Index query_end = mask.query_length.empty() ? q.queries : mask.query_length[s];
    limits_.push_back(
        {query_end, q.keys, entry(mask.prefix, static_cast<Index>(s), 0), query_cells, key_cells});
    query_cells += ceil_divide(query_end, kQueryCell);
    key_cells += ceil_divide(q.keys, kKeyCell);
  }

  causal_end_ = mask.causal_offset ? *mask.causal_offset + 1 : kFar;
  self_ = mask.self_offset.value_or(kFar);
  first_key_ = mask.first_key;
  window_begin_ = -kFar;
  window_end_ = kFar;
  if (mask.window) {
    window_begin_ = mask.window->offset - std::min(mask.window->left, kFar);
    window_end_ = mask.window->offset + std::min(mask.window->right, kFar) + 1;
  }

  patterns_ = !mask.documents.empty() || !mask.groups.empty() || !mask.times.empty() || mask.blocks ||
              mask.allowed.data != nullptr;
  find_extremes(mask.documents.query, mask.documents.key, documents_);
  find_extremes(mask.groups.query, mask.groups.key, groups_);
  find_extremes(mask.times.query, mask.times.key, times_);
}

template <class T>
void MaskPlan::find_extremes(const View<const T, 2>& query, const View<const T, 2>& key,
                             Extremes<T>& extremes) const {
  extremes.query.clear();
  extremes.key.clear();
  if (query.data == nullptr && key.data == nullptr) return;
  using Limit = std::numeric_limits<T>;
  constexpr T kGreatest = Limit::has_infinity ? Limit::infinity() : Limit::max();
  constexpr T kLeast = Limit::has_infinity ? -Limit::infinity() : Limit::lowest();
  const auto append = [=](std::vector<Range<T>>& cells, const View<const T, 2>& view, Index b, Index first,
                          Index count, Index cell, T in_place_of_nan) {
    for (Index begin = 0; begin < count; begin += cell) {
      const Line<T> line(view, b);
      Range<T> range{kGreatest, kLeast};
      for (Index i = begin; i < std::min(begin + cell, count); ++i) {
        const T given = line[first + i], x = given == given ? given : in_place_of_nan;
        range = {std::min(range.least, x), std::max(range.most, x)};
      }
      cells.push_back(range);
    }
  };
  // A NaN query is later than no key, a NaN key earlier than no query.
  for (std::size_t s = 0; s < sequences_.size(); ++s) {
    const Sequence& q = sequences_[s];
    append(extremes.query, query, q.batch, q.first_query, limits_[s].query_end, kQueryCell, kLeast);
    append(extremes.key, key, q.batch, q.first_key, limits_[s].key_end, kKeyCell, kGreatest);
  }
}

template <class T>
MaskPlan::BlockRange<T> MaskPlan::block_range(const Extremes<T>& extremes, const Limits& l, Index i0,
                                              Index i1, Index j0, Index j1) const {
  const auto join = [](const std::vector<Range<T>>& cells, Index first, Index begin, Index end, Index cell) {
    Range<T> range = cells[at(first + begin / cell)];
    for (Index c = begin / cell + 1; c * cell < end; ++c) {
      const Range<T>& next = cells[at(first + c)];
      range = {std::min(range.least, next.least), std::max(range.most, next.most)};
    }
    return range;
  };
  return {join(extremes.query, l.first_query_cell, i0, i1, kQueryCell),
          join(extremes.key, l.first_key_cell, j0, j1, kKeyCell)};
}

MaskPlan::Seen MaskPlan::refine(Index s, Index h, Index i0, Index i1, Index j0, Index j1, Seen seen) const {
  const Limits& l = limits_[at(s)];
  i1 = std::min(i1, l.query_end);
  if (patterns_) {
    const Seen patterns = pattern_seen(s, h, i0, i1, j0, std::min(j1, l.key_end));
    if (patterns == Seen::none) return Seen::none;
    if (patterns == Seen::all && !crosses_self(i0, i1, j0, j1)) return seen;
  }
  const Seen exact = scan(s, h, i0, i1, j0, std::min(j1, l.key_end));
  return exact == Seen::all ? seen : exact;
}

MaskPlan::Seen MaskPlan::pattern_seen(Index s, Index h, Index i0, Index i1, Index j0, Index j1) const {
  const Sequence& q = sequences_[at(s)];
  const Limits& l = limits_[at(s)];
  bool all = true;
  // Whether a part hides the whole block; notes whether it lets all of it through.
  const auto hides = [&](bool whole_hidden, bool whole_seen) {
    all = all && whole_seen;
    return whole_hidden;
  };
  const auto disjoint = [](const BlockRange<std::int64_t>& r) {
    return r.query.most < r.key.least || r.key.most < r.query.least;
  };
  const auto one_id = [](const BlockRange<std::int64_t>& r) {
    return r.query.least == r.query.most && r.key.least == r.key.most && r.query.least == r.key.least;
  };
  if (!mask_->documents.empty()) {
    const auto r = block_range(documents_, l, i0, i1, j0, j1);
    if (hides(disjoint(r), one_id(r))) return Seen::none;
  }
  if (!mask_->groups.empty()) {
    const auto r = block_range(groups_, l, i0, i1, j0, j1);
    if (hides(one_id(r), disjoint(r))) return Seen::none;
  }
  if (!mask_->times.empty()) {
    const auto r = block_range(times_, l, i0, i1, j0, j1);
    if (hides(r.key.least >= r.query.most, r.key.most < r.query.least)) return Seen::none;
  }
  if (mask_->blocks) {
    const Seen part = blocks_seen(q, h, i0, i1, j0, j1);
    if (hides(part == Seen::none, part == Seen::all)) return Seen::none;
  }
  if (mask_->allowed.data != nullptr) {
    const Seen part = array_seen(q, h, i0, i1, j0, j1);
    if (hides(part == Seen::none, part == Seen::all)) return Seen::none;
  }
  return all ? Seen::all : Seen::some;
}

MaskPlan::Seen MaskPlan::blocks_seen(const Sequence& q, Index h, Index i0, Index i1, Index j0,
                                     Index j1) const {
  const BlockMap& map = *mask_->blocks;
  const Shape<4>& shape = map.allowed.shape();
  Tally tally;
  for (Index a = (q.first_query + i0) / map.query_block; a * map.query_block < q.first_query + i1; ++a) {
    const bool* row = &map.allowed(shape[0] == 1 ? 0 : q.batch, shape[1] == 1 ? 0 : h, a, 0);
    for (Index c = (q.first_key + j0) / map.key_block; c * map.key_block < q.first_key + j1; ++c) {
      tally.add(row[c] ? 1 : 0, 1);
      if (tally.decided()) return Seen::some;
    }
  }
  return tally.seen();
}

MaskPlan::Seen MaskPlan::array_seen(const Sequence& q, Index h, Index i0, Index i1, Index j0,
                                    Index j1) const {
  const View<const bool, 4>& allowed = mask_->allowed;
  if (allowed.shape[2] == 1) i1 = i0 + 1;
  if (allowed.shape[3] == 1) j1 = j0 + 1;
  Tally tally;
  for (Index i = i0; i < i1; ++i) {
    for (Index j = j0; j < j1; j += 64) {
      const std::uint64_t asked = ones(std::min<Index>(j1 - j, 64));
      tally.add(array_bits(q, h, i, j, asked), asked);
      if (tally.decided()) return Seen::some;
    }
  }
  return tally.seen();
}

MaskPlan::Seen MaskPlan::scan(Index s, Index h, Index i0, Index i1, Index j0, Index j1) const {
  Tally tally;
  for (Index i = i0; i < i1; ++i) {
    for (Index j = j0; j < j1; j += 64) {
      const Index count = std::min<Index>(j1 - j, 64);
      tally.add(bits(s, h, i, j, count), ones(count));
      if (tally.decided()) return Seen::some;
    }
  }
  return tally.seen();
}

std::uint64_t MaskPlan::pattern_bits(Index s, Index h, Index i, Index j0, std::uint64_t seen) const {
  const Sequence& q = sequences_[at(s)];
  const Index query = q.first_query + i, key = q.first_key + j0;
  const auto keep = [&](const auto& part, const auto& test) {
    if (part.empty()) return;
    const Line keys(part.key, q.batch);
    const auto own = Line(part.query, q.batch)[query];
    seen = filter(seen, [&](Index c) { return test(keys[key + c], own); });
  };
  keep(mask_->documents, [](auto theirs, auto own) { return theirs == own; });
  keep(mask_->groups, [](auto theirs, auto own) { return theirs != own; });
  keep(mask_->times, [](auto theirs, auto own) { return theirs < own; });
  if (mask_->blocks && seen != 0) seen = block_bits(q, h, i, j0, seen);
  if (mask_->allowed.data != nullptr && seen != 0) seen = array_bits(q, h, i, j0, seen);
  return seen;
}

std::uint64_t MaskPlan::block_bits(const Sequence& q, Index h, Index i, Index j0, std::uint64_t seen) const {
  const BlockMap& map = *mask_->blocks;
  const Shape<4>& shape = map.allowed.shape();
  const bool* row = &map.allowed(shape[0] == 1 ? 0 : q.batch, shape[1] == 1 ? 0 : h,
                                 (q.first_query + i) / map.query_block, 0);
  const Index key = q.first_key + j0, end = 64 - std::countl_zero(seen);
  for (Index c = std::countr_zero(seen); c < end;) {
    const Index block = (key + c) / map.key_block;
    const Index next = std::min(end, (block + 1) * map.key_block - key);
    if (!row[block]) seen &= ~(ones(next) & ~ones(c));
    c = next;
  }
  return seen;
}

std::uint64_t MaskPlan::array_bits(const Sequence& q, Index h, Index i, Index j0, std::uint64_t seen) const {
  const View<const bool, 4>& allowed = mask_->allowed;
  const auto step = [&](std::size_t axis, Index index) {
    return allowed.shape[axis] == 1 ? 0 : index * allowed.stride[axis];
  };
  const bool* row =
      allowed.data + step(0, q.batch) + step(1, h) + step(2, q.first_query + i) + step(3, q.first_key + j0);
  if (allowed.shape[3] == 1) return *row ? seen : 0;
  return seen & bool_bits(row, allowed.stride[3], std::countr_zero(seen), 64 - std::countl_zero(seen));
}

}  // namespace kith
