// Masks against the sentence that defines each part, pair by pair.
#include "kith/mask.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>

#include "attention/cases.h"
#include "attention/geometry.h"
#include "attention/mask_plan.h"

namespace kith {
namespace {

using Seen = MaskPlan::Seen;
using test::Random;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Sizes {
  Index batch = 1, heads = 1, queries = 1, keys = 1;
};

/// The sequences as the packed offsets (or the lack of them) say; `keys` uncut.
std::vector<Sequence> sequences(const Mask& mask, const Sizes& n) {
  std::vector<Sequence> result;
  if (mask.ragged.empty()) {
    for (Index b = 0; b < n.batch; ++b) result.push_back({b, 0, n.queries, 0, n.keys});
    return result;
  }
  const auto &query = mask.ragged.query, &key = mask.ragged.key;
  for (std::size_t s = 1; s < query.size(); ++s) {
    result.push_back({0, query[s - 1], query[s] - query[s - 1], key[s - 1], key[s] - key[s - 1]});
  }
  return result;
}

template <class T, int R>
T element(const View<const T, R>& x, Shape<R> index) {
  Index offset = 0;
  for (std::size_t a = 0; a < static_cast<std::size_t>(R); ++a) {
    if (x.shape[a] > 1) offset += index[a] * x.stride[a];
  }
  return x.data[offset];
}

/// Does query i of sequence s see its key j? Far offsets are compared in a wider type.
bool sees(const Mask& mask, const std::vector<Sequence>& all, Index s, Index h, Index i, Index j) {
  using Wide = __int128;
  const auto at = static_cast<std::size_t>(s);
  const Sequence& q = all[at];
  if (j >= q.keys || j < mask.first_key) return false;
  if (!mask.key_length.empty() && j >= mask.key_length[at]) return false;
  if (!mask.query_length.empty() && i >= mask.query_length[at]) return false;
  if (mask.causal_offset) {
    const Index prefix = mask.prefix.empty() ? 0 : mask.prefix[mask.prefix.size() == 1 ? 0 : at];
    if (j >= prefix && Wide{j} > Wide{i} + *mask.causal_offset) return false;
  }
  if (mask.self_offset && Wide{j} == Wide{i} + *mask.self_offset) return false;
  if (mask.window) {
    const Wide position = Wide{i} + mask.window->offset;
    if (j < position - mask.window->left || j > position + mask.window->right) return false;
  }
  const Index query = q.first_query + i, key = q.first_key + j;
  const auto own = [&](const auto& part) { return element(part.query, {q.batch, query}); };
  const auto theirs = [&](const auto& part) { return element(part.key, {q.batch, key}); };
  if (!mask.documents.empty() && theirs(mask.documents) != own(mask.documents)) return false;
  if (!mask.groups.empty() && theirs(mask.groups) == own(mask.groups)) return false;
  if (!mask.times.empty() && !(theirs(mask.times) < own(mask.times))) return false;
  if (mask.blocks) {
    const BlockMap& map = *mask.blocks;
    if (!element<bool, 4>(map.allowed, {q.batch, h, query / map.query_block, key / map.key_block}))
      return false;
  }
  return mask.allowed.data == nullptr || element(mask.allowed, {q.batch, h, query, key});
}

/// How many pairs of any block are seen, from sums over all blocks at the corner.
class Counts {
 public:
  Counts(Index queries, Index keys, const std::function<bool(Index, Index)>& seen)
      : sum_({queries + 1, keys + 1}) {
    for (Index i = 0; i < queries; ++i) {
      for (Index j = 0; j < keys; ++j) {
        sum_(i + 1, j + 1) = sum_(i + 1, j) + sum_(i, j + 1) - sum_(i, j) + (seen(i, j) ? 1 : 0);
      }
    }
  }
  /// Keys beyond the last are not seen.
  Seen classify(Index i0, Index i1, Index j0, Index j1) const {
    const Index end = std::min(j1, sum_.shape()[1] - 1);
    const Index count = j0 >= end ? 0 : sum_(i1, end) - sum_(i0, end) - sum_(i1, j0) + sum_(i0, j0);
    return count == 0 ? Seen::none : count == (i1 - i0) * (j1 - j0) ? Seen::all : Seen::some;
  }

 private:
  Array<Index, 2> sum_;
};

/// Views with awkward strides, on memory of exactly what they reach: a sanitizer sees reads outside.
class Memory {
 public:
  explicit Memory(Random& random) : random_(random) {}

  /// Axes in either order, with gaps, backwards, or repeated by a stride of 0.
  template <class T, int R>
  View<const T, R> array(Shape<R> shape, const std::function<T()>& draw) {
    Shape<R> stride{};
    Index step = 1;
    const bool reversed = random_.chance(0.2);
    for (int axis = 0; axis < R; ++axis) {
      const auto a = static_cast<std::size_t>(reversed ? axis : R - 1 - axis);
      if (random_.chance(0.1)) step *= 2;
      stride[a] = random_.chance(0.1) ? 0 : step;
      if (stride[a] != 0) step *= std::max<Index>(1, shape[a]);
    }
    Index first = 0, last = 0;
    for (std::size_t a = 0; a < static_cast<std::size_t>(R); ++a) {
      if (random_.chance(0.1)) stride[a] = -stride[a];
      (stride[a] < 0 ? first : last) += std::max<Index>(0, shape[a] - 1) * stride[a];
    }
    auto memory = std::make_shared<std::unique_ptr<T[]>>(new T[static_cast<std::size_t>(last - first + 1)]);
    for (Index x = 0; x <= last - first; ++x) (*memory)[static_cast<std::size_t>(x)] = draw();
    keep_.push_back(memory);
    return {memory->get() - first, shape, stride};
  }

 private:
  Random& random_;
  std::vector<std::shared_ptr<void>> keep_;
};

Index draw_offset(Random& random, Index size) {
  constexpr Index kFar = Index{1} << 60;
  if (random.chance(0.03)) return random.chance(0.5) ? kFar : -kFar;
  return random.below(2 * size + 8) - size - 2;
}

std::vector<Index> draw_offsets(Random& random, std::size_t sequences, Index count) {
  std::vector<Index> offsets{0, count};
  while (offsets.size() < sequences + 1) offsets.push_back(random.below(count + 1));
  std::sort(offsets.begin(), offsets.end());
  return offsets;
}

/// Any parts together, each with chance `p`. Ids in runs or at random, so that blocks of one id occur.
Mask draw_mask(Random& random, Sizes& n, Memory& memory, double p) {
  const auto has = [&] { return random.chance(p); };
  const auto one_or = [&](Index extent) { return random.chance(0.4) ? 1 : extent; };
  const auto below = [&](Index most) { return random.chance(0.4) ? most : random.below(most + 1); };
  Mask mask;
  std::size_t rows = static_cast<std::size_t>(n.batch);
  if (has()) {
    n.batch = 1;
    rows = static_cast<std::size_t>(1 + random.below(4));
    mask.ragged = {draw_offsets(random, rows, n.queries), draw_offsets(random, rows, n.keys)};
  }
  if (has()) mask.causal_offset = draw_offset(random, n.keys);
  if (has()) mask.self_offset = draw_offset(random, n.keys);
  if (random.chance(p / 3)) mask.first_key = random.below(n.keys + 1);
  const std::vector<Sequence> all = sequences(mask, n);
  if (has()) {
    for (const Sequence& s : all) mask.key_length.push_back(below(s.keys));
  }
  if (has()) {
    for (const Sequence& s : all) mask.query_length.push_back(below(s.queries));
  }
  if (mask.causal_offset && random.chance(0.4)) {
    mask.prefix.resize(random.chance(0.5) ? 1 : rows);
    for (Index& x : mask.prefix) x = random.below(n.keys + 1);
  }
  if (has()) {
    mask.window = Window{random.below(n.keys + 1), random.below(n.keys + 1), draw_offset(random, n.keys)};
    if (random.chance(0.1)) mask.window->left = std::numeric_limits<Index>::max();
    if (random.chance(0.1)) mask.window->right = std::numeric_limits<Index>::max();
  }
  const auto draw_ids = [&] {
    const Index run = random.chance(0.3) ? 1 : 1 + random.below(60), kinds = 1 + random.below(4);
    Index position = 0;
    const std::function<std::int64_t()> draw = [&random, run, kinds, position]() mutable -> std::int64_t {
      return (position++ / run + (run == 1 ? random.below(kinds) : 0)) % kinds * (Index{1} << 61) - 5;
    };
    return Ids{memory.array<std::int64_t, 2>({one_or(n.batch), n.queries}, draw),
               memory.array<std::int64_t, 2>({one_or(n.batch), n.keys}, draw)};
  };
  if (has()) mask.documents = draw_ids();
  if (has()) mask.groups = draw_ids();
  if (has()) {
    const bool ascending = random.chance(0.6);
    double last = 0;
    const std::function<double()> draw = [&random, ascending, last]() mutable -> double {
      last = ascending ? last + static_cast<double>(random.below(3)) : static_cast<double>(random.below(40));
      const double special[] = {kNan, kInfinity, -kInfinity};
      return random.chance(0.01) ? random.of(special) : last;
    };
    mask.times = {memory.array<double, 2>({one_or(n.batch), n.queries}, draw),
                  memory.array<double, 2>({one_or(n.batch), n.keys}, draw)};
  }
  if (has()) {
    BlockMap map{1 + random.below(40), 1 + random.below(70), {}};
    map.allowed =
        Array<bool, 4>({one_or(n.batch), one_or(n.heads), (n.queries + map.query_block - 1) / map.query_block,
                        (n.keys + map.key_block - 1) / map.key_block});
    for (bool& x : map.allowed) x = random.chance(0.7);
    mask = mask & block_map(std::move(map));
  }
  if (has()) {
    const double share = random.chance(0.3) ? 1 : random.chance(0.3) ? 0 : random.uniform();
    const std::function<bool()> draw = [&random, share] { return random.chance(share); };
    mask.allowed =
        memory.array<bool, 4>({one_or(n.batch), one_or(n.heads), one_or(n.queries), one_or(n.keys)}, draw);
  }
  return mask;
}

/// All pairs, many blocks and rows of bits of a mask; true if all agree. Blocks are counted by what they
/// show.
bool agrees(const Mask& mask, const Sizes& n, Random& random, std::map<Seen, Index>& blocks) {
  EXPECT_NO_THROW(check_mask(mask, n.batch, n.heads, n.queries, n.keys));
  const MaskPlan plan(mask, n.batch, n.queries, n.keys);
  const std::vector<Sequence> all = sequences(mask, n);
  EXPECT_EQ(plan.sequences().size(), all.size());
  for (Index s = 0; s < std::ssize(all); ++s) {
    const auto at = static_cast<std::size_t>(s);
    const Sequence &sequence = all[at], &got = plan.sequences()[at];
    const Index keys = mask.key_length.empty() ? sequence.keys : mask.key_length[at];
    EXPECT_EQ(got.batch, sequence.batch);
    EXPECT_EQ(got.first_query, sequence.first_query);
    EXPECT_EQ(got.queries, sequence.queries);
    EXPECT_EQ(got.first_key, sequence.first_key);
    EXPECT_EQ(got.keys, keys);
    if (sequence.queries == 0) continue;
    for (Index h = 0; h < n.heads; ++h) {
      const auto seen = [&](Index i, Index j) { return sees(mask, all, s, h, i, j); };
      for (Index i = 0; i < sequence.queries; ++i) {
        for (Index j = 0; j < sequence.keys + 2; ++j) {
          if (plan.visible(s, h, i, j) != seen(i, j)) {
            ADD_FAILURE() << "visible: sequence " << s << " head " << h << " pair " << i << ", " << j;
            return false;
          }
        }
      }
      for (int trial = 0; trial < 40; ++trial) {
        const Index i = random.below(sequence.queries), j0 = random.below(sequence.keys + 20),
                    count = 1 + random.below(64);
        std::uint64_t bits = 0;
        for (Index c = 0; c < count; ++c) bits |= std::uint64_t{seen(i, j0 + c)} << c;
        if (plan.bits(s, h, i, j0, count) != bits) {
          ADD_FAILURE() << "bits: sequence " << s << " head " << h << " query " << i << " keys " << j0
                        << " + " << count;
          return false;
        }
      }
      const Counts counts(sequence.queries, sequence.keys, seen);
      const auto check = [&](Index i0, Index i1, Index j0, Index j1) {
        const Seen want = counts.classify(i0, i1, j0, j1);
        ++blocks[want];
        const bool right = plan.classify(s, h, i0, i1, j0, j1) == want;
        if (!right) {
          ADD_FAILURE() << "classify: sequence " << s << " head " << h << " queries " << i0 << " to " << i1
                        << " keys " << j0 << " to " << j1;
        }
        return right;
      };
      for (const auto& [rows, columns] : {std::pair<Index, Index>{24, 192}, {8, 48}, {8, 24}}) {
        for (Index i = 0; i < sequence.queries; i += rows) {
          for (Index j = 0; j < sequence.keys; j += columns) {
            if (!check(i, std::min(i + rows, sequence.queries), j, j + columns)) return false;
          }
        }
      }
      for (int trial = 0; trial < 40; ++trial) {
        const Index i0 = random.below(sequence.queries), i1 = i0 + 1 + random.below(sequence.queries - i0);
        const Index j0 = random.below(sequence.keys + 5), j1 = j0 + 1 + random.below(sequence.keys + 5);
        if (!check(i0, i1, j0, j1)) return false;
      }
    }
  }
  return true;
}

TEST(Masks, RandomCompositionsAreSeenPairByPair) {
  constexpr double kChances[] = {0.12, 0.25, 0.5};
  std::map<Seen, Index> blocks;
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    Random random(seed);
    Memory memory(random);
    Sizes n{1 + random.below(3), 1 + random.below(2), random.below(60), random.below(70)};
    if (random.chance(0.3)) n.keys = 150 + random.below(250);
    const Mask mask = draw_mask(random, n, memory, random.of(kChances));
    ASSERT_TRUE(agrees(mask, n, random, blocks)) << "seed " << seed;
  }
  for (const Seen seen : {Seen::none, Seen::some, Seen::all}) EXPECT_GT(blocks[seen], 10000);
}

TEST(Masks, APlanCanBeAssignedAgain) {
  MaskPlan plan;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Random random(seed);
    Memory memory(random);
    Sizes n{2, 2, 30, 220};
    const Mask mask = draw_mask(random, n, memory, 0.5);
    plan.assign(mask, n.batch, n.queries, n.keys);
    const MaskPlan fresh(mask, n.batch, n.queries, n.keys);
    ASSERT_EQ(plan.sequences().size(), fresh.sequences().size());
    for (Index s = 0; s < std::ssize(fresh.sequences()); ++s) {
      for (Index i = 0; i < fresh.sequences()[static_cast<std::size_t>(s)].queries; ++i) {
        for (Index j = 0; j < n.keys; j += 64)
          ASSERT_EQ(plan.bits(s, 1, i, j), fresh.bits(s, 1, i, j)) << seed;
      }
    }
  }
}

// Every block of every mask of intervals on a small grid: `none`, `some` and `all` are each said exactly when
// true.
TEST(Masks, IntervalsAreClassifiedExactly) {
  const Sizes n{1, 1, 5, 7};
  std::vector<std::optional<Window>> windows{std::nullopt};
  for (const Index left : {0, 1, 3}) {
    for (const Index right : {0, 2}) {
      for (const Index offset : {-2, 0, 1}) windows.emplace_back(Window{left, right, offset});
    }
  }
  using Offset = std::optional<Index>;
  Index masks = 0, empty_blocks = 0;
  const auto try_mask = [&](const Mask& mask) {
    ++masks;
    const MaskPlan plan(mask, n.batch, n.queries, n.keys);
    const std::vector<Sequence> all = sequences(mask, n);
    const Counts counts(n.queries, n.keys, [&](Index i, Index j) { return sees(mask, all, 0, 0, i, j); });
    for (Index i0 = 0; i0 < n.queries; ++i0) {
      for (Index i1 = i0 + 1; i1 <= n.queries; ++i1) {
        for (Index j0 = 0; j0 <= n.keys; ++j0) {
          for (Index j1 = j0 + 1; j1 <= n.keys + 1; ++j1) {
            const Seen want = counts.classify(i0, i1, j0, j1);
            empty_blocks += want == Seen::none;
            ASSERT_EQ(plan.classify(0, 0, i0, i1, j0, j1), want)
                << describe(mask, n.queries, n.keys) << i0 << " " << i1 << " " << j0 << " " << j1;
          }
        }
      }
    }
  };
  for (const Offset causal_offset : {Offset{}, Offset{-2}, Offset{0}, Offset{3}}) {
    for (const std::optional<Window>& one : windows) {
      for (const Index prefix : {0, 2, 5}) {
        for (const Index length : {7, 4}) {
          for (const Index query_length : {5, 3}) {
            for (const Offset self : {Offset{}, Offset{0}, Offset{1}}) {
              for (const Index first_key : {0, 2}) {
                if (prefix > 0 && !causal_offset) continue;
                Mask mask{.causal_offset = causal_offset, .self_offset = self, .first_key = first_key};
                mask.key_length = {length};
                mask.query_length = {query_length};
                if (prefix > 0) mask.prefix = {prefix};
                mask.window = one;
                ASSERT_NO_FATAL_FAILURE(try_mask(mask));
              }
            }
          }
        }
      }
    }
  }
  EXPECT_GT(masks, 4000);
  EXPECT_GT(empty_blocks, 100000);
}

// What the forward pass goes through: of N x M pairs in blocks of 24 by 192, only those with a seen pair.
TEST(Masks, CausalAndWindowVisitOnlyTheBlocksTheyTouch) {
  constexpr Index kSize = 192 * 8;
  const auto visited = [](const Mask& mask) {
    const MaskPlan plan(mask, 1, kSize, kSize);
    Index count = 0;
    for (Index i = 0; i < kSize; i += 24) {
      for (Index j = 0; j < kSize; j += 192)
        count += plan.classify(0, 0, i, i + 24, j, j + 192) != Seen::none;
    }
    return count;
  };
  EXPECT_EQ(visited({}), 64 * 8);
  EXPECT_EQ(visited(causal()), 8 * (1 + 2 + 3 + 4 + 5 + 6 + 7 + 8));
  EXPECT_EQ(visited(window(0, 0)), 64);
  EXPECT_EQ(visited(causal() & window(24, 0)),
            64 + 7);  // the first group behind a border looks back across it
  EXPECT_EQ(visited(window(0, 0) & exclude_self()), 0);
  EXPECT_EQ(visited(key_lengths({192})), 64);
  EXPECT_EQ(visited(query_lengths({25})), 2 * 8);
}

TEST(Masks, DisjointDocumentsAndTimesVisitNothingElse) {
  constexpr Index kSize = 192 * 4;
  Array<std::int64_t, 2> ids({1, kSize});
  Array<double, 2> stamps({1, kSize});
  for (Index i = 0; i < kSize; ++i) {
    ids(0, i) = i / 192;
    stamps(0, i) = static_cast<double>(i / 192);
  }
  const View<const std::int64_t, 2> id = ids;
  const View<const double, 2> stamp = stamps;
  const auto check = [&](const Mask& mask, auto wanted) {
    const MaskPlan plan(mask, 1, kSize, kSize);
    for (Index i = 0; i < kSize; i += 24) {
      for (Index j = 0; j < kSize; j += 192) {
        EXPECT_EQ(plan.classify(0, 0, i, i + 24, j, j + 192), wanted(i / 192, j / 192)) << i << ", " << j;
      }
    }
  };
  check(documents(id, id), [](Index a, Index b) { return a == b ? Seen::all : Seen::none; });
  check(exclude_groups(id, id), [](Index a, Index b) { return a == b ? Seen::none : Seen::all; });
  check(before(stamp, stamp), [](Index a, Index b) { return b < a ? Seen::all : Seen::none; });
}

// The extremes of whole cells of 24 queries and 192 keys must not overlook a single one behind their border,
// or a stamp that is no number.
TEST(Masks, OneOddRowOrKeyIsNoticed) {
  constexpr Index kQueries = 25, kKeys = 193;
  Array<std::int64_t, 2> query_id({1, kQueries}), key_id({1, kKeys});
  Array<double, 2> query_stamp({1, kQueries}), key_stamp({1, kKeys});
  const auto seen = [&](Index queries, Index keys) {
    const Mask one = documents(query_id.view(), key_id.view()),
               other = before(query_stamp.view(), key_stamp.view());
    return std::pair{MaskPlan(one, 1, kQueries, kKeys).classify(0, 0, 0, queries, 0, keys),
                     MaskPlan(other, 1, kQueries, kKeys).classify(0, 0, 0, queries, 0, keys)};
  };
  std::fill(query_stamp.begin(), query_stamp.end(), 1.0);
  EXPECT_EQ(seen(kQueries, kKeys), std::pair(Seen::all, Seen::all));
  for (const double odd : {-1.0, kNan}) {
    query_id(0, 24) = 1;
    query_stamp(0, 24) = odd;
    EXPECT_EQ(seen(25, 192), std::pair(Seen::some, Seen::some));
    EXPECT_EQ(seen(24, 192), std::pair(Seen::all, Seen::all));
    query_id(0, 24) = 0;
    query_stamp(0, 24) = 1;
    key_id(0, 192) = 1;
    key_stamp(0, 192) = std::isnan(odd) ? odd : 1;
    EXPECT_EQ(seen(24, 193), std::pair(Seen::some, Seen::some));
    EXPECT_EQ(seen(24, 192), std::pair(Seen::all, Seen::all));
    key_id(0, 192) = 0;
    key_stamp(0, 192) = 0;
  }
  query_stamp(0, 3) = kNan;
  EXPECT_EQ(seen(24, 192).second, Seen::some);
  query_stamp(0, 3) = 1;
  key_stamp(0, 100) = kNan;
  EXPECT_EQ(seen(24, 192).second, Seen::some);
  std::fill(key_stamp.begin(), key_stamp.end(), kNan);
  EXPECT_EQ(seen(24, 192).second, Seen::none);
}

}  // namespace
}  // namespace kith
