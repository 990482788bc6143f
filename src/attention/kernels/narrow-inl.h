// Forward, for a Gaussian in few columns and short values: the differences are summed as they are, 2^logit is
// most of the work, and no maximum is kept.
//
// Queries lie in the lanes: S vectors of them (6 with 32 registers, a whole block of rows) meet a tile of
// keys, taken as 3 broadcast keys a vector apart, so that a step makes S x 3 vectors of weights; then one
// vector of sums per lane of the tile is loaded, added to and stored. With one column and one value column an
// AVX-512 vector of weights costs 7 multiplications (the difference squared, three of the range reduction and
// the exponent, two of the polynomial, the weighted sum), 4 additions, a minimum, a permutation, a shift and
// an integer addition for 2/3 of a load and of a store. A further column costs a subtraction and an FMA, a
// further value column an FMA. Measured alone where one 512-bit FMA is issued a cycle: 9.0 cycles a vector at
// d = 1, 11.4 at 3, 17.4 at 8, of which multiplications and minima need 8, 10 and 15.
//
// A few rows that fill no vector take the same tile with the keys in the lanes. What a row's bits consist of
// is the same in both: each lane of a tile has a sum of its own, of (w0 + w1) + w2 a tile, and the lanes are
// added at the end of the chunk, in double. As a tile's lane collects at most 40 such sums in a chunk with 16
// lanes, a sum over 10^6 keys keeps the accuracy of its weights.
//
// No maximum: a Gaussian's logit is at most 0, so weights relative to 2^0 cannot overflow. Logits below -100
// are taken for -100: no number here is denormal unless values are, so the processor's mode stays as the
// caller set it. A row whose weights sum to less than kFarBelow is summed again by far-inl.h.
//
// Tried and lost (AVX-512): 3 vectors of queries instead of 6, the same at d = 1, 4 % slower at 3 and 8 % at
// 8, where each key broadcast serves half as many; one sum a row instead of one a lane, 2 % faster, but then
// single rows have no fast path of the same bits.
//
// Re-included once per instruction set.

#if defined(KITH_NARROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_NARROW_INL_H_
#undef KITH_NARROW_INL_H_
#else
#define KITH_NARROW_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "attention/kernels/forward-inl.h"
#include "attention/kernels/weigher-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

// Vectors of queries in a set: with 32 registers 18 vectors of weights stay in them.
constexpr Index kNarrowVectors = HWY_TARGET <= HWY_AVX3 ? 6 : 3;
static_assert(kQueryBlock % (kNarrowVectors * kLanes<float>) == 0);
static_assert(kVectors == 3 && kTileKeys<float> <= 64);

// Rows in the lanes, S vectors of them, and their sums for each lane of a tile.
struct LaneRows {
  Index first = 0, count = 0;
  Index vectors = 0;
  float* query;  // [depth][S][lanes]
  float* sum;    // [kLanes of the tile][S][lanes]
  float* out;    // [kLanes of the tile][value_depth][S][lanes]
};

// Rows whose bits fit one number: three vectors.
constexpr Index kBitRows = 3 * kLanes<float>;
// Which row sees which key of a tile: bit i of [half][key] is that of row half * kBitRows + i.
using SeenBits = std::uint64_t[kNarrowVectors / 3][64];

// S vectors of rows against `tiles` whole tiles. kDepth and kWidth: columns of keys and values, 0 for any.
// With kSome one tile, of which only what `seen` says counts.
template <Index S, Index kDepth, Index kWidth, bool kSome>
HWY_NOINLINE void WeighTiles(const LaneRows& rows, const float* HWY_RESTRICT keys,
                             const float* HWY_RESTRICT values, Index tiles, Index any_depth, Index any_width,
                             const Weigher& shared, const SeenBits* seen) {
  const Tag<float> d;
  constexpr Index kStep = kLanes<float>, kKeys = kTileKeys<float>;
  const Weigher weight = shared;
  const Index depth = kDepth > 0 ? kDepth : any_depth, width = kWidth > 0 ? kWidth : any_width;
  for (Index t = 0; t < tiles; ++t, keys += depth * kKeys, values += width * kKeys) {
    float* HWY_RESTRICT sum = rows.sum;
    float* HWY_RESTRICT out = rows.out;
    for (Index lane = 0; lane < kStep; ++lane, sum += S * kStep, out += width * S * kStep) {
      Vec<float> w[kVectors][S];
      HWY_UNROLL(3)
      for (Index j = 0; j < kVectors; ++j) {
        const Vec<float> key = hn::Set(d, keys[j * kStep + lane]);
        HWY_UNROLL(6)
        for (Index i = 0; i < S; ++i) {
          const Vec<float> t0 = hn::Sub(key, hn::Load(d, rows.query + i * kStep));
          w[j][i] = hn::Mul(t0, t0);
        }
      }
      const auto column = [&](Index c) HWY_ATTR {
        const float* query = rows.query + c * S * kStep;
        HWY_UNROLL(3)
        for (Index j = 0; j < kVectors; ++j) {
          const Vec<float> key = hn::Set(d, keys[c * kKeys + j * kStep + lane]);
          HWY_UNROLL(6)
          for (Index i = 0; i < S; ++i) {
            const Vec<float> difference = hn::Sub(key, hn::Load(d, query + i * kStep));
            w[j][i] = hn::MulAdd(difference, difference, w[j][i]);
          }
        }
      };
      if constexpr (kDepth > 0) {
        HWY_UNROLL(3)
        for (Index c = 1; c < kDepth; ++c) column(c);
      } else {
        for (Index c = 1; c < depth; ++c) column(c);
      }
      HWY_UNROLL(6)
      for (Index i = 0; i < S; ++i) {
        HWY_UNROLL(3)
        for (Index j = 0; j < kVectors; ++j) {
          w[j][i] = weight(w[j][i]);
          if constexpr (kSome) {
            w[j][i] = hn::IfThenElseZero(LaneMask<float>((*seen)[i / 3][j * kStep + lane], i % 3), w[j][i]);
          }
        }
        float* to = sum + i * kStep;
        const Vec<float> total = hn::Add(hn::Add(w[0][i], w[1][i]), w[2][i]);
        hn::Store(hn::Add(hn::Load(d, to), total), d, to);
      }
      const auto value_column = [&](Index c) HWY_ATTR {
        const float* value = values + c * kKeys + lane;
        const Vec<float> v0 = hn::Set(d, value[0]), v1 = hn::Set(d, value[kStep]),
                         v2 = hn::Set(d, value[2 * kStep]);
        HWY_UNROLL(6)
        for (Index i = 0; i < S; ++i) {
          Vec<float> total = hn::Mul(w[0][i], v0);
          total = hn::MulAdd(w[1][i], v1, total);
          total = hn::MulAdd(w[2][i], v2, total);
          float* to = out + (c * S + i) * kStep;
          hn::Store(hn::Add(hn::Load(d, to), total), d, to);
        }
      };
      if constexpr (kWidth > 0) {
        HWY_UNROLL(3)
        for (Index c = 0; c < kWidth; ++c) value_column(c);
      } else {
        for (Index c = 0; c < width; ++c) value_column(c);
      }
    }
  }
}

// The same for R rows with the keys in the lanes, one tile. kOutputs: also what is asked for beside the sums.
template <Index R, bool kOutputs>
HWY_NOINLINE void WeighRows(const ForwardTask<float>& task, const Rows<float>& s, Index row,
                            const KeyTile<float>& tile, MaskPlan::Seen seen, const std::uint64_t (&bits)[R],
                            const Weigher& shared) {
  const Tag<float> d;
  constexpr Index kStep = kLanes<float>, kKeys = kTileKeys<float>;
  const Weigher weight = shared;
  Vec<float> w[R][kVectors];
  Accumulate<float, Pair::squared, R>(task.query + row * task.query_stride, task.query_stride, tile.keys,
                                      task.depth, nullptr, w);
  if constexpr (kOutputs) {
    if (task.largest != nullptr) OfferLargest<float, R>(task, row, task.factor, bits, w);
    for (Index r = 0; r < R && task.top.top > 0; ++r) {
      for (Index v = 0; v < kVectors; ++v) {
        hn::Store(hn::Mul(w[r][v], weight.factor), d, s.spill + r * kKeys + v * kStep);
      }
      OfferTop(task, row + r, tile.first_key, bits[r], s.spill + r * kKeys);
    }
  }
  HWY_UNROLL(4)
  for (Index r = 0; r < R; ++r) {
    Vec<float> logit[kVectors];
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) {
      if constexpr (kOutputs) logit[v] = hn::Mul(weight.clamped(w[r][v]), weight.factor);
      w[r][v] = weight(w[r][v]);
      if (seen == MaskPlan::Seen::some) {
        const auto mask = LaneMask<float>(bits[r], v);
        w[r][v] = hn::IfThenElseZero(mask, w[r][v]);
        if constexpr (kOutputs) logit[v] = hn::IfThenElseZero(mask, logit[v]);
      }
    }
    float* sum = s.sum + (row + r) * kMaxLanes;
    const Vec<float> total = hn::Add(hn::Add(w[r][0], w[r][1]), w[r][2]);
    hn::Store(hn::Add(hn::Load(d, sum), total), d, sum);
    if constexpr (kOutputs) {
      float* sum_logit = s.sum_logit + (row + r) * kMaxLanes;
      Vec<float> all = hn::Mul(w[r][0], logit[0]);
      all = hn::MulAdd(w[r][1], logit[1], all);
      all = hn::MulAdd(w[r][2], logit[2], all);
      hn::Store(hn::Add(hn::Load(d, sum_logit), all), d, sum_logit);
    }
  }
  for (Index c = 0; c < task.value_depth; ++c) {
    const float* values = tile.values + c * kKeys;
    const Vec<float> v0 = hn::Load(d, values), v1 = hn::Load(d, values + kStep),
                     v2 = hn::Load(d, values + 2 * kStep);
    HWY_UNROLL(4)
    for (Index r = 0; r < R; ++r) {
      Vec<float> total = hn::Mul(w[r][0], v0);
      total = hn::MulAdd(w[r][1], v1, total);
      total = hn::MulAdd(w[r][2], v2, total);
      float* out = s.out + (row + r) * s.out_stride + c * kMaxLanes;
      hn::Store(hn::Add(hn::Load(d, out), total), d, out);
    }
  }
}

// Bit i of row j becomes bit j of row i.
inline void Transpose(std::uint64_t (&bits)[64]) {
  std::uint64_t mask = 0x00000000FFFFFFFF;
  for (unsigned half = 32; half > 0; half >>= 1, mask ^= mask << half) {
    for (unsigned i = 0; i < 64; i = ((i | half) + 1) & ~half) {
      const std::uint64_t moved = (bits[i] >> half ^ bits[i | half]) & mask;
      bits[i | half] ^= moved;
      bits[i] ^= moved << half;
    }
  }
}

/// A task of Pair::squared without terms and with a negative factor, narrow values.
class NarrowPass {
 public:
  explicit NarrowPass(const ForwardTask<float>& task)
      : task_(task),
        s_(Divide(task)),
        weigher_(task.factor),
        outputs_(task.sum_logit != nullptr || task.largest != nullptr || task.top.top > 0) {
    divide_rows();
  }

  void run() {
    for (Index block = task_.key_begin; block < task_.key_end; block += kKeyBlock) {
      look_at(block);
      if (task_.key_tiles != nullptr) {
        for (Index i = 0; i < set_count_; ++i) run_lane_block(sets_[i], block);
      }
      // Keys that are not packed yet are packed once for all rows.
      const bool packs = task_.key_tiles == nullptr;
      const Index block_end = std::min(block + kKeyBlock, task_.key_end);
      if (!packs && single_rows_ == task_.rows) continue;
      for (Index key = block; key < block_end; key += kKeys) {
        tile_ = {};
        for (Index i = 0; packs && i < set_count_; ++i) run_lane_tile(sets_[i], key, block);
        run_single_tile(key, block);
      }
    }
    finish();
  }

 private:
  static constexpr Index kStep = kLanes<float>, kKeys = kTileKeys<float>;
  static constexpr Index kMostSets = kQueryBlock / kStep + 1;
  static constexpr Index kSingleRows = 4;

  // Which rows lie in lanes. Beside half a vector of rows, those in the lanes are cheaper.
  void divide_rows() {
    Index row = 0;
    float* query = s_.weights;
    while (!outputs_ && task_.rows - row > kStep / 2) {
      LaneRows& set = sets_[set_count_++];
      const Index left = task_.rows - row;
      set.first = row;
      const Index needed = (left + kStep - 1 - kStep / 2) / kStep;
      set.vectors = needed >= kNarrowVectors ? kNarrowVectors : std::clamp<Index>(needed, 1, 3);
      set.count = std::min(left, set.vectors * kStep);
      set.query = query;
      set.sum = s_.sum + row * kMaxLanes;
      set.out = s_.out + row * s_.out_stride;
      const Index lanes = set.vectors * kStep;
      for (Index c = 0; c < task_.depth; ++c) {
        for (Index i = 0; i < lanes; ++i) {
          const Index at = row + std::min(i, set.count - 1);  // beyond the rows, the last one
          query[c * lanes + i] = task_.query[at * task_.query_stride + c];
        }
      }
      std::fill_n(set.sum, lanes * kStep, 0.0F);
      std::fill_n(set.out, lanes * kStep * task_.value_depth, 0.0F);
      query += lanes * task_.depth;
      row += set.count;
    }
    single_rows_ = row;
    const Index rows = task_.rows - row;
    std::fill_n(s_.sum + row * kMaxLanes, rows * kMaxLanes, 0.0F);
    std::fill_n(s_.sum_logit + row * kMaxLanes, rows * kMaxLanes, 0.0F);
    std::fill_n(s_.out + row * s_.out_stride, rows * s_.out_stride, 0.0F);
    if (task_.largest != nullptr) std::fill_n(task_.largest, task_.rows, kMinusInfinity<float>);
  }

  // What each group of rows sees of a block; counts the blocks.
  void look_at(Index block) {
    const Index end = std::min(block + kKeyBlock, round_up(task_.key_end, kKeys));
    for (Index group = 0; group < task_.rows; group += kGroup) {
      const Index group_end = std::min(group + kGroup, task_.rows);
      const auto seen = Classify(task_, group, group_end, block, end);
      seen_[group / kGroup] = seen;
      if (seen != MaskPlan::Seen::none) *task_.visited += VisitedHeads(task_, group, group_end, block, end);
    }
  }
  MaskPlan::Seen seen_by(Index row, Index row_end) const {
    const MaskPlan::Seen seen = seen_[row / kGroup];
    for (Index group = row / kGroup + 1; group * kGroup < row_end; ++group) {
      if (seen_[group] != seen) return MaskPlan::Seen::some;
    }
    return seen;
  }
  MaskPlan::Seen seen_of_tile(Index row, Index row_end, Index key) const {
    const auto seen = seen_by(row, row_end);
    return seen == MaskPlan::Seen::some ? Classify(task_, row, row_end, key, key + kKeys) : seen;
  }
  std::uint64_t bits_of(Index row, Index key) const {
    const RowPlace place = PlaceOf(task_, row);
    return task_.mask->bits(task_.sequence, task_.head + place.head, place.query, key, kKeys);
  }
  const KeyTile<float>& run_tile(Index key, Index block) {
    if (tile_.keys == nullptr || tile_.first_key != key) tile_ = TileAt<float, true>(task_, s_, key, block);
    return tile_;
  }

  void run_lane_block(const LaneRows& set, Index block) {
    const auto seen = seen_by(set.first, set.first + set.count);
    if (seen == MaskPlan::Seen::none) return;
    const Index block_end = std::min(block + kKeyBlock, round_up(task_.key_end, kKeys));
    if (seen == MaskPlan::Seen::all) {
      const KeyTile<float> tile = TileAt<float, true>(task_, s_, block, block);
      return weigh_tile(set, tile, (block_end - block) / kKeys);
    }
    for (Index key = block; key < block_end; key += kKeys) run_lane_tile(set, key, block);
  }

  void run_lane_tile(const LaneRows& set, Index key, Index block) {
    const auto seen = seen_of_tile(set.first, set.first + set.count, key);
    if (seen == MaskPlan::Seen::none) return;
    const KeyTile<float>& tile = run_tile(key, block);
    if (seen == MaskPlan::Seen::all) return weigh_tile(set, tile, 1);
    SeenBits bits = {};
    for (Index r = 0; r < set.count; ++r) bits[r / kBitRows][r % kBitRows] = bits_of(set.first + r, key);
    for (auto& half : bits) Transpose(half);
    const auto weigh = [&]<Index S>() {
      WeighTiles<S, 0, 0, true>(set, tile.keys, tile.values, 1, task_.depth, task_.value_depth, weigher_,
                                &bits);
    };
    if (set.vectors == kNarrowVectors) return weigh.template operator()<kNarrowVectors>();
    if (set.vectors == 3) return weigh.template operator()<3>();
    if (set.vectors == 2) return weigh.template operator()<2>();
    weigh.template operator()<1>();
  }

  void weigh_tile(const LaneRows& set, const KeyTile<float>& tile, Index tiles) {
    const auto weigh = [&]<Index S, Index kDepth, Index kWidth>() {
      WeighTiles<S, kDepth, kWidth, false>(set, tile.keys, tile.values, tiles, task_.depth, task_.value_depth,
                                           weigher_, nullptr);
    };
    if (set.vectors == 2) return weigh.template operator()<2, 0, 0>();
    if (set.vectors == 1) return weigh.template operator()<1, 0, 0>();
    if (set.vectors != kNarrowVectors) return weigh.template operator()<3, 0, 0>();
    if (task_.value_depth != 1) return weigh.template operator()<kNarrowVectors, 0, 0>();
    if (task_.depth == 1) return weigh.template operator()<kNarrowVectors, 1, 1>();
    if (task_.depth == 2) return weigh.template operator()<kNarrowVectors, 2, 1>();
    if (task_.depth == 3) return weigh.template operator()<kNarrowVectors, 3, 1>();
    weigh.template operator()<kNarrowVectors, 0, 1>();
  }

  void run_single_tile(Index key, Index block) {
    for (Index row = single_rows_; row < task_.rows;) {
      const Index rows = task_.rows - row >= kSingleRows ? kSingleRows : 1;
      const auto seen = seen_of_tile(row, row + rows, key);
      if (seen != MaskPlan::Seen::none) {
        if (rows == kSingleRows) {
          run_single<kSingleRows>(row, key, block, seen);
        } else {
          run_single<1>(row, key, block, seen);
        }
      }
      row += rows;
    }
  }
  template <Index R>
  void run_single(Index row, Index key, Index block, MaskPlan::Seen seen) {
    std::uint64_t bits[R];
    for (Index r = 0; r < R; ++r) {
      bits[r] = seen == MaskPlan::Seen::all ? ~std::uint64_t{0} : bits_of(row + r, key);
    }
    if (outputs_) {
      WeighRows<R, true>(task_, s_, row, run_tile(key, block), seen, bits, weigher_);
    } else {
      WeighRows<R, false>(task_, s_, row, run_tile(key, block), seen, bits, weigher_);
    }
  }

  // The lanes of a tile, one after the other, in double.
  void finish() {
    const Tag<double> dd;
    const hn::Rebind<float, Tag<double>> dh;
    HWY_ALIGN double total[kMaxLanes];
    for (Index i = 0; i < set_count_; ++i) {
      const LaneRows& set = sets_[i];
      const Index lanes = set.vectors * kStep;
      // Of rows [first, first + kLanes<double>) of the set.
      const auto add = [&](const float* from, Index step, Index first) HWY_ATTR {
        Vec<double> sum = hn::Zero(dd);
        for (Index lane = 0; lane < kStep; ++lane) {
          sum = hn::Add(sum, hn::PromoteTo(dd, hn::Load(dh, from + lane * step + first)));
        }
        hn::Store(sum, dd, total);
        return std::min(kLanes<double>, set.count - first);
      };
      for (Index first = 0; first < set.count; first += kLanes<double>) {
        const Index row = set.first + first, count = add(set.sum, lanes, first);
        std::copy_n(total, count, task_.sum + row);
        for (Index c = 0; c < task_.value_depth; ++c) {
          add(set.out + c * lanes, task_.value_depth * lanes, first);
          for (Index r = 0; r < count; ++r) {
            task_.weighted[(row + r) * task_.value_depth + c] = static_cast<float>(total[r]);
          }
        }
      }
    }
    const auto sum = [](const float* from) {
      double all = 0;
      for (Index lane = 0; lane < kStep; ++lane) all += static_cast<double>(from[lane]);
      return all;
    };
    for (Index row = single_rows_; row < task_.rows; ++row) {
      task_.sum[row] = sum(s_.sum + row * kMaxLanes);
      if (task_.sum_logit != nullptr) task_.sum_logit[row] = sum(s_.sum_logit + row * kMaxLanes);
      for (Index c = 0; c < task_.value_depth; ++c) {
        task_.weighted[row * task_.value_depth + c] =
            static_cast<float>(sum(s_.out + row * s_.out_stride + c * kMaxLanes));
      }
    }
    std::fill_n(task_.max, task_.rows, 0.0);
  }

  const ForwardTask<float>& task_;
  const Rows<float> s_;
  const Weigher weigher_;
  const bool outputs_;
  LaneRows sets_[kMostSets];
  Index set_count_ = 0;
  Index single_rows_ = 0;  // from here on, keys in the lanes
  MaskPlan::Seen seen_[kQueryBlock / kGroup];
  KeyTile<float> tile_{};
};

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_NARROW_INL_H_
