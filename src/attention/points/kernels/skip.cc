// Skipping's inner loops: a tile of queries walks down the tree, each adding the leaves it wants.
//
// One query against 16 keys in the lanes, not 16 queries against one key: each query then visits its own
// leaves, nothing is computed that only a neighbor wants, and its bits cannot depend on its neighbors. The
// tile shares what costs memory: below one group of 256 leaves the rows take turns on 64 leaves at a time (16
// KB with depth 3 and one value column), which stay in L1.
//
// A leaf costs a query 2 d + 12 vector operations and d + 1 loads, with depth d and one value column: d
// subtractions, d products, 9 for 2^-x and its limit, 2 sums. A test of 16 boxes costs 5 d + 2. Where
// subtraction has pipes of its own (Zen 4 and 5) expanding |q - k|^2 would gain nothing; it would lose
// digits.
//
// Tried on Zen 4, d = 3, n = 10^6: lists of leaves by compress instead of bit masks were 15 % slower, for the
// outcome of a test was waited for before each list; a table of 32 with a quadratic for 2^x takes 11.6 cycles
// a leaf, scalef with degree 5 the same, degree 5 with integer exponents 12.6 to 13.3. Measured there: 70 %
// of the time in the leaves (14 cycles each), 17 % in finding the cut, 11 % in the tests.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/points/kernels/skip.cc"
#include "hwy/foreach_target.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "attention/points/kernels/skip_kernels.h"
#include "attention/points/kernels/skip_weights-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

constexpr Index kSkipCuts = 8;  ///< distances tried for a row's cut
constexpr Index kTailBuffer = 2048;
constexpr Index kChunkGroups = 4;  ///< groups of leaves that the rows take turns on
constexpr Index kChunkLeaves = kChunkGroups * kSkipFanout;
static_assert((kChunkLeaves + kStep) * kSkipLeaf <= kSkipScratch && kChunkLeaves == 64);

/// What a walk's inner loops need, taken from the pass once.
struct Walk {
  const SkipPass* pass;
  Index depth, value_depth, stride;  ///< stride: numbers a leaf
  const float* leaves;
  Index none;  ///< a leaf of missing keys, to fill the last step
  float rate, limit;
  float* weights;                           ///< [kChunkLeaves][16]
  float low[kSkipDepth], high[kSkipDepth];  ///< the tile's box
  float to;                                 ///< the largest of the rows'
  void (*add)(const Walk&, Index row, Index first, std::uint64_t wanted);
};

/// The next leaf of a chunk that is wanted, `none` when there are no more.
HWY_INLINE Index Next(std::uint64_t& wanted, Index first, Index none) {
  const Index at =
      wanted == 0 ? none : first + static_cast<Index>(hwy::Num0BitsBelowLS1Bit_Nonzero64(wanted));
  wanted &= wanted - 1;
  return at;
}

/// Lane sums of at most 64 leaves, one accumulator for each of the 16 places in a leaf whatever the vector's
/// width, so that float's digits suffice.
struct Sum {
  V part[kParts];
  HWY_INLINE void Clear() {
    for (Index i = 0; i < kParts; ++i) part[i] = hn::Zero(F());
  }
  HWY_INLINE void Flush(double* HWY_RESTRICT to) const {
    alignas(64) float lanes[kSkipLeaf];
    for (Index i = 0; i < kParts; ++i) hn::Store(part[i], F(), lanes + i * kLanes);
    for (Index l = 0; l < kSkipLeaf; ++l) to[l] += static_cast<double>(lanes[l]);
  }
};

/// sums += weights times kColumns value columns from `column` on, whose first is row `depth` of the leaf.
template <Index kColumns>
HWY_INLINE void AddColumns(const Walk& walk, Index first, std::uint64_t wanted, Index column, double* sums) {
  const F d;
  Sum acc[kColumns];
  for (Sum& sum : acc) sum.Clear();
  for (Index i = 0; wanted != 0; ++i) {
    const float* value =
        walk.leaves + Next(wanted, first, walk.none) * walk.stride + (walk.depth + column) * kSkipLeaf;
    for (Index part = 0; part < kParts; ++part) {
      const V w = hn::Load(d, walk.weights + i * kSkipLeaf + part * kLanes);
      for (Index c = 0; c < kColumns; ++c) {
        acc[c].part[part] =
            hn::MulAdd(w, hn::Load(d, value + c * kSkipLeaf + part * kLanes), acc[c].part[part]);
      }
    }
  }
  for (Index c = 0; c < kColumns; ++c) acc[c].Flush(sums + (1 + column + c) * kSkipLeaf);
}

HWY_INLINE void AddValues(const Walk& walk, Index first, std::uint64_t wanted, double* sums) {
  Index c = 0;
  for (; c + 4 <= walk.value_depth; c += 4) AddColumns<4>(walk, first, wanted, c, sums);
  for (; c + 2 <= walk.value_depth; c += 2) AddColumns<2>(walk, first, wanted, c, sums);
  for (; c < walk.value_depth; ++c) AddColumns<1>(walk, first, wanted, c, sums);
}

/// The ordinary loop, in float. kDepth 0: any depth. kScalar: one value column, summed with the weights;
/// otherwise the weights go through memory, once.
template <Kernel kKernel, Index kDepth, bool kScalar>
void AddLeaves(const Walk& walk, Index row, Index first, std::uint64_t wanted) {
  const F d;
  const Index depth = kDepth > 0 ? kDepth : walk.depth;
  const float* HWY_RESTRICT query = walk.pass->query + row * walk.depth;
  const V rate = hn::Set(d, walk.rate), limit = hn::Set(d, walk.limit);
  Sum sum, weighted;
  sum.Clear();
  weighted.Clear();
  V q[kDepth > 0 ? kDepth : 1];
  for (Index c = 0; c < kDepth; ++c) q[c] = hn::Set(d, query[c]);
  std::uint64_t rest = wanted;
  for (Index i = 0; rest != 0; i += kStep) {
    const float* leaf[kStep];
    for (Index s = 0; s < kStep; ++s) leaf[s] = walk.leaves + Next(rest, first, walk.none) * walk.stride;
    for (Index part = 0; part < kParts; ++part) {
      const Index lane = part * kLanes;
      V x[kStep], t[kStep];
      for (Index s = 0; s < kStep; ++s) x[s] = hn::Zero(d);
      for (Index c = 0; c < depth; ++c) {
        const V at = kDepth > 0 ? q[c] : hn::Set(d, query[c]);
        for (Index s = 0; s < kStep; ++s) t[s] = hn::Sub(at, hn::Load(d, leaf[s] + c * kSkipLeaf + lane));
        for (Index s = 0; s < kStep; ++s) x[s] = hn::MulAdd(t[s], t[s], x[s]);
      }
      Weigh<kKernel>(x, rate, limit);
      for (Index s = 0; s < kStep; ++s) sum.part[part] = hn::Add(sum.part[part], x[s]);
      for (Index s = 0; s < kStep; ++s) {
        if constexpr (kScalar) {
          weighted.part[part] =
              hn::MulAdd(x[s], hn::Load(d, leaf[s] + depth * kSkipLeaf + lane), weighted.part[part]);
        } else {
          hn::Store(x[s], d, walk.weights + (i + s) * kSkipLeaf + lane);
        }
      }
    }
  }
  double* sums = walk.pass->sums + row * (1 + walk.value_depth) * kSkipLeaf;
  sum.Flush(sums);
  if constexpr (kScalar) {
    weighted.Flush(sums + kSkipLeaf);
  } else {
    AddValues(walk, first, wanted, sums);
  }
}

/// Distances in double, and what is left of them after subtracting the shift in float.
HWY_INLINE W ExactWeight(const SkipWeight& weight, W x, W shift) {
  const D d;
  const W one = hn::Set(d, 1.0), rate = hn::Set(d, weight.rate);
  if (weight.kernel == Kernel::gaussian) return hn::Mul(hn::Sub(x, shift), rate);
  if (weight.kernel == Kernel::laplace) return hn::Mul(hn::Sub(hn::Sqrt(x), shift), rate);
  const auto inside = hn::Lt(x, hn::Set(d, weight.reach));
  const W u2 = hn::Mul(x, rate);
  W w = one;
  if (weight.kernel == Kernel::triangular) w = hn::Sub(one, hn::Sqrt(u2));
  if (weight.kernel == Kernel::epanechnikov || weight.kernel == Kernel::biweight) w = hn::Sub(one, u2);
  if (weight.kernel == Kernel::tricube) w = hn::Sub(one, hn::Mul(u2, hn::Sqrt(u2)));
  if (weight.kernel == Kernel::biweight) w = hn::Mul(w, w);
  if (weight.kernel == Kernel::tricube) w = hn::Mul(w, hn::Mul(w, w));
  return hn::IfThenElseZero(inside, hn::Max(w, hn::Zero(d)));
}

void AddLeavesExactly(const Walk& walk, Index row, Index first, std::uint64_t wanted) {
  const F df;
  const D d;
  const hn::Rebind<float, D> dh;
  const SkipWeight& weight = walk.pass->weight;
  const float* query = walk.pass->query + row * walk.depth;
  const W shift = hn::Set(d, walk.pass->shift[row]);
  Index count = 0;
  for (std::uint64_t rest = wanted; rest != 0; ++count) {
    const float* leaf = walk.leaves + Next(rest, first, walk.none) * walk.stride;
    for (Index part = 0; part < kSkipLeaf; part += kDoubleLanes) {
      W x = hn::Zero(d);
      for (Index c = 0; c < walk.depth; ++c) {
        const W t = hn::Sub(hn::Set(d, static_cast<double>(query[c])),
                            hn::PromoteTo(d, hn::Load(dh, leaf + c * kSkipLeaf + part)));
        x = hn::MulAdd(t, t, x);
      }
      hn::Store(hn::DemoteTo(dh, ExactWeight(weight, x, shift)), dh, walk.weights + count * kSkipLeaf + part);
    }
  }
  const bool exponent = weight.kernel == Kernel::gaussian || weight.kernel == Kernel::laplace;
  Sum sum;
  sum.Clear();
  for (Index i = 0; i < count; ++i) {
    for (Index part = 0; part < kParts; ++part) {
      float* at = walk.weights + i * kSkipLeaf + part * kLanes;
      V w[1] = {hn::Load(df, at)};
      if (exponent) {
        Exp2Negative(w, hn::Set(df, 1.0f), hn::Set(df, 120.0f));
        hn::Store(w[0], df, at);
      }
      sum.part[part] = hn::Add(sum.part[part], w[0]);
    }
  }
  double* sums = walk.pass->sums + row * (1 + walk.value_depth) * kSkipLeaf;
  sum.Flush(sums);
  AddValues(walk, first, wanted, sums);
}

/// Squared distances from a box [low, high] (a query: low = high) to kLanes boxes of a group, the first of
/// which is `part`. Every step is monotonic, rounding included.
template <Index kDepth>
HWY_INLINE V BoxDistance(const float* HWY_RESTRICT boxes, Index part, const float* HWY_RESTRICT low,
                         const float* HWY_RESTRICT high, Index any_depth) {
  const F d;
  const Index depth = kDepth > 0 ? kDepth : any_depth;
  V x = hn::Zero(d);
  for (Index c = 0; c < depth; ++c) {
    const float* box = boxes + 2 * c * kSkipFanout + part;
    const V below = hn::Sub(hn::Load(d, box), hn::Set(d, high[c]));
    const V above = hn::Sub(hn::Set(d, low[c]), hn::Load(d, box + kSkipFanout));
    const V gap = hn::Max(hn::Max(below, above), hn::Zero(d));
    x = hn::MulAdd(gap, gap, x);
  }
  return x;
}

HWY_INLINE std::uint32_t MaskBits(hn::Mask<F> mask, Index part) {
  std::uint8_t bytes[8] = {};
  hn::StoreMaskBits(F(), mask, bytes);
  std::uint32_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return bits << static_cast<unsigned>(part);
}

/// Which boxes of a group are no further than `to`.
template <Index kDepth>
HWY_INLINE std::uint32_t Near(const float* boxes, const float* low, const float* high, Index depth,
                              float to) {
  std::uint32_t bits = 0;
  for (Index part = 0; part < kSkipFanout; part += kLanes) {
    bits |= MaskBits(hn::Le(BoxDistance<kDepth>(boxes, part, low, high, depth), hn::Set(F(), to)), part);
  }
  return bits;
}

HWY_INLINE Index Lowest(std::uint32_t bits) {
  return static_cast<Index>(hwy::Num0BitsBelowLS1Bit_Nonzero32(bits));
}

/// The rows of the tile on the 256 leaves below group `group` of level 1. First which leaves, then the
/// leaves: tests whose outcome is waited for would stall between the sums.
template <Index kDepth>
void WalkRows(const Walk& walk, Index group) {
  const F d;
  const SkipPass& pass = *walk.pass;
  const SkipTree& tree = *pass.tree;
  const Index depth = walk.depth, width = 2 * depth * kSkipFanout;
  std::uint32_t near[kSkipRows], any = 0;
  for (Index r = 0; r < pass.rows; ++r) {
    const float* query = pass.query + r * depth;
    near[r] = Near<kDepth>(tree.boxes[1] + group * width, query, query, depth, pass.to[r]);
    any |= near[r];
  }
  const Index last = std::min(kSkipFanout, tree.groups - group * kSkipFanout);
  for (Index part = 0; part < last; part += kChunkGroups) {
    constexpr std::uint32_t kChunkBits = (1u << kChunkGroups) - 1;
    const auto shift = static_cast<unsigned>(part);
    if ((any >> shift & kChunkBits) == 0) continue;
    const Index first = group * kSkipFanout + part, nodes = std::min(kChunkGroups, last - part);
    std::uint64_t wanted[kSkipRows];
    for (Index r = 0; r < pass.rows; ++r) {
      wanted[r] = 0;
      if ((near[r] >> shift & kChunkBits) == 0) continue;
      const float* query = pass.query + r * depth;
      const V from = hn::Set(d, pass.from[r]), to = hn::Set(d, pass.to[r]);
      for (Index i = 0; i < nodes; ++i) {
        for (Index lane = 0; lane < kSkipFanout; lane += kLanes) {
          const V x = BoxDistance<kDepth>(tree.boxes[0] + (first + i) * width, lane, query, query, depth);
          const std::uint64_t bits = MaskBits(hn::And(hn::Gt(x, from), hn::Le(x, to)), lane);
          wanted[r] |= bits << static_cast<unsigned>(i * kSkipFanout);
        }
      }
    }
    for (Index r = 0; r < pass.rows; ++r) {
      if (wanted[r] != 0) walk.add(walk, r, first * kSkipFanout, wanted[r]);
    }
  }
}

template <Index kDepth>
void WalkDown(const Walk& walk, int level, Index group) {
  if (level == 1) return WalkRows<kDepth>(walk, group);
  const Index width = 2 * walk.depth * kSkipFanout;
  std::uint32_t bits =
      Near<kDepth>(walk.pass->tree->boxes[level] + group * width, walk.low, walk.high, walk.depth, walk.to);
  for (; bits != 0; bits &= bits - 1) WalkDown<kDepth>(walk, level - 1, group * kSkipFanout + Lowest(bits));
}

template <Kernel kKernel>
auto Ordinary(Index depth, Index value_depth) {
  if (value_depth == 1) {
    if (depth == 2) return AddLeaves<kKernel, 2, true>;
    if (depth == 3) return AddLeaves<kKernel, 3, true>;
    if constexpr (kKernel == Kernel::gaussian) {
      if (depth == 4) return AddLeaves<kKernel, 4, true>;
      if (depth == 5) return AddLeaves<kKernel, 5, true>;
      if (depth == 6) return AddLeaves<kKernel, 6, true>;
      if (depth == 8) return AddLeaves<kKernel, 8, true>;
    }
    return AddLeaves<kKernel, 0, true>;
  }
  if (depth == 2) return AddLeaves<kKernel, 2, false>;
  if (depth == 3) return AddLeaves<kKernel, 3, false>;
  return AddLeaves<kKernel, 0, false>;
}

auto Ordinary(Kernel kernel, Index depth, Index value_depth) {
  switch (kernel) {
    case Kernel::gaussian:
      return Ordinary<Kernel::gaussian>(depth, value_depth);
    case Kernel::laplace:
      return Ordinary<Kernel::laplace>(depth, value_depth);
    case Kernel::epanechnikov:
      return Ordinary<Kernel::epanechnikov>(depth, value_depth);
    case Kernel::triangular:
      return Ordinary<Kernel::triangular>(depth, value_depth);
    case Kernel::biweight:
      return Ordinary<Kernel::biweight>(depth, value_depth);
    case Kernel::tricube:
      return Ordinary<Kernel::tricube>(depth, value_depth);
    case Kernel::boxcar:
      break;  // decided at a jump, so only ever in double
  }
  return AddLeavesExactly;
}

void Pass(const SkipPass& pass) {
  const SkipTree& tree = *pass.tree;
  Walk walk{};
  walk.pass = &pass;
  walk.depth = tree.depth;
  walk.value_depth = tree.value_depth;
  walk.stride = (tree.depth + tree.value_depth) * kSkipLeaf;
  walk.leaves = tree.leaves;
  walk.none = tree.count;
  walk.rate = static_cast<float>(pass.weight.rate);
  walk.limit = static_cast<float>(120 / pass.weight.rate);
  walk.weights = pass.scratch;
  walk.add = pass.exact ? AddLeavesExactly : Ordinary(pass.weight.kernel, tree.depth, tree.value_depth);
  walk.to = -1;
  for (Index r = 0; r < pass.rows; ++r) {
    if (pass.to[r] < 0) continue;
    const float* query = pass.query + r * tree.depth;
    for (Index c = 0; c < tree.depth; ++c) {
      walk.low[c] = walk.to < 0 ? query[c] : std::min(walk.low[c], query[c]);
      walk.high[c] = walk.to < 0 ? query[c] : std::max(walk.high[c], query[c]);
    }
    walk.to = std::max(walk.to, pass.to[r]);
  }
  if (walk.to < 0) return;
  if (tree.depth == 2) return WalkDown<2>(walk, tree.levels - 1, 0);
  if (tree.depth == 3) return WalkDown<3>(walk, tree.levels - 1, 0);
  WalkDown<0>(walk, tree.levels - 1, 0);
}

/// Sums, for several distances at once, an upper bound of the weights of the leaves beyond.
struct Tail {
  const SkipTree* tree;
  const float* query;
  bool root;  ///< laplace: the exponent goes with the distance, not its square
  float rate, outermost;
  float cut[kSkipCuts];
  double sum[kSkipCuts];
  Index count;
  float distance[kTailBuffer + kSkipFanout * kSkipFanout +
                 kSkipLeaf];  ///< of leaves between the first cut and the outermost
};

/// 2^y, y = 127 - exponent, from above by the chord between whole exponents: these are the bits of a float
/// with y in its exponent and mantissa. 2^23 * 2e-7 covers the rounding of y.
void DrainTail(Tail& tail) {
  const F d;
  const hn::RebindToSigned<F> di;
  const V rate = hn::Set(d, tail.rate * -0x1p23f), one = hn::Set(d, 127.0f * 0x1p23f + 32);
  V sum[kSkipCuts], cut[kSkipCuts];
  for (Index k = 0; k < kSkipCuts; ++k) sum[k] = hn::Zero(d);
  for (Index k = 0; k < kSkipCuts; ++k) cut[k] = hn::Set(d, tail.cut[k]);
  std::fill_n(tail.distance + tail.count, kLanes, 0.0f);  // nearer than any cut
  for (Index i = 0; i < tail.count; i += kLanes) {
    const V x = hn::LoadU(d, tail.distance + i), y = tail.root ? hn::Sqrt(x) : x;
    const V w = hn::BitCast(d, hn::ConvertTo(di, hn::MulAdd(y, rate, one)));
    for (Index k = 0; k < kSkipCuts; ++k) sum[k] = hn::Add(sum[k], hn::IfThenElseZero(hn::Gt(x, cut[k]), w));
  }
  for (Index k = 0; k < kSkipCuts; ++k)
    tail.sum[k] += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum[k])));
  tail.count = 0;
}

template <Index kDepth>
void TailBelow(Tail& tail, int level, Index group) {
  const F d;
  const SkipTree& tree = *tail.tree;
  const Index width = 2 * tree.depth * kSkipFanout;
  std::uint32_t bits =
      Near<kDepth>(tree.boxes[level] + group * width, tail.query, tail.query, tree.depth, tail.outermost);
  if (level > 1) {
    for (; bits != 0; bits &= bits - 1)
      TailBelow<kDepth>(tail, level - 1, group * kSkipFanout + Lowest(bits));
    return;
  }
  const V first = hn::Set(d, tail.cut[0]), last = hn::Set(d, tail.outermost);
  Index count = tail.count;
  for (; bits != 0; bits &= bits - 1) {
    const float* boxes = tree.boxes[0] + (group * kSkipFanout + Lowest(bits)) * width;
    for (Index part = 0; part < kSkipFanout; part += kLanes) {
      const V x = BoxDistance<kDepth>(boxes, part, tail.query, tail.query, tree.depth);
      const auto mask = hn::And(hn::Gt(x, first), hn::Le(x, last));
      hn::StoreU(hn::Compress(x, mask), d, tail.distance + count);
      count += static_cast<Index>(hn::CountTrue(d, mask));
    }
  }
  tail.count = count;
  if (count >= kTailBuffer) DrainTail(tail);
}

float Cut(const SkipTree& tree, const SkipWeight& weight, const float* query, float outermost,
          double budget) {
  Tail tail;
  tail.tree = &tree;
  tail.query = query;
  tail.root = weight.kernel == Kernel::laplace;
  tail.rate = static_cast<float>(weight.rate * (1 - kSkipRounding));
  tail.outermost = outermost;
  tail.count = 0;
  for (Index k = 0; k < kSkipCuts; ++k) {
    tail.cut[k] = outermost * (0.72f + 0.035f * static_cast<float>(k));
    tail.sum[k] = 0;
  }
  if (tree.depth == 2) {
    TailBelow<2>(tail, tree.levels - 1, 0);
  } else if (tree.depth == 3) {
    TailBelow<3>(tail, tree.levels - 1, 0);
  } else {
    TailBelow<0>(tail, tree.levels - 1, 0);
  }
  DrainTail(tail);
  for (Index k = 0; k < kSkipCuts; ++k) {
    if (tail.sum[k] * static_cast<double>(kSkipLeaf) <= budget) return tail.cut[k];
  }
  return outermost;
}

/// Nodes nearest first; a node is left out only if it cannot hold a nearer key whatever float's rounding did.
void NearestBelow(const SkipTree& tree, const float* query, int level, Index group, double& best) {
  const F d;
  constexpr float kDone = std::numeric_limits<float>::infinity();
  alignas(64) float distance[kSkipFanout];
  const Index width = 2 * tree.depth * kSkipFanout;
  for (Index part = 0; part < kSkipFanout; part += kLanes) {
    hn::Store(BoxDistance<0>(tree.boxes[level] + group * width, part, query, query, tree.depth), d,
              distance + part);
  }
  for (;;) {
    const Index child = std::min_element(distance, distance + kSkipFanout) - distance;
    if (distance[child] == kDone || static_cast<double>(distance[child]) * (1 - kSkipRounding) > best) return;
    distance[child] = kDone;
    const Index node = group * kSkipFanout + child;
    if (level > 0) {
      NearestBelow(tree, query, level - 1, node, best);
      continue;
    }
    const float* leaf = tree.leaves + node * (tree.depth + tree.value_depth) * kSkipLeaf;
    double x[kSkipLeaf] = {};
    for (Index c = 0; c < tree.depth; ++c) {
      for (Index j = 0; j < kSkipLeaf; ++j) {
        const double t = static_cast<double>(query[c]) - static_cast<double>(leaf[c * kSkipLeaf + j]);
        x[j] += t * t;
      }
    }
    best = std::min(best, *std::min_element(x, x + kSkipLeaf));
  }
}

double Nearest(const SkipTree& tree, const float* query) {
  double best = std::numeric_limits<double>::infinity();
  NearestBelow(tree, query, tree.levels - 1, 0, best);
  return best;
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kith::kernels {

HWY_EXPORT(Pass);
HWY_EXPORT(Nearest);
HWY_EXPORT(Cut);

void skip_pass(const SkipPass& pass) { HWY_DYNAMIC_DISPATCH(Pass)(pass); }
double skip_nearest(const SkipTree& tree, const float* query) {
  return HWY_DYNAMIC_DISPATCH(Nearest)(tree, query);
}
float skip_cut(const SkipTree& tree, const SkipWeight& weight, const float* query, float outermost,
               double budget) {
  return HWY_DYNAMIC_DISPATCH(Cut)(tree, weight, query, outermost, budget);
}

}  // namespace kith::kernels
#endif
