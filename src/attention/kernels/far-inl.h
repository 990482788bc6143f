// A row whose weights all but vanish relative to 2^0, a query far from all keys against the bandwidth, summed
// again relative to its nearest key.
//
// Two logits of 10^4 differ by a few units, and a float logit of 10^4 is off by one in a thousand. So
// distances are summed in double here, and 2^x is taken in float of logits relative to the row's maximum.
// That costs two to three times what narrow-inl.h pays for a pair; but of keys in no particular order few are
// near enough to matter. A tile is looked at in float first and left alone if all its keys lie so far beyond
// the nearest one so far that even all of them together would not show: 26 + log2(keys) bits, a relative
// error of 2^-26. Keys lie in the lanes; the first look costs a subtraction and an FMA a
// column and a comparison for a vector of keys; what it lets through is collected into tiles of its own.
//
// Re-included once per instruction set.

#if defined(KITH_FAR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_FAR_INL_H_
#undef KITH_FAR_INL_H_
#else
#define KITH_FAR_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "attention/kernels/forward-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

/// One row of such a task. Keys are visited block by block, so that rows can share what is in the cache.
class FarPass {
 public:
  void begin(const ForwardTask<float>& task, double factor, Index row) {
    task_ = &task;
    s_ = Divide(task);
    query_ = task.query + row * task.query_stride;
    factor_ = factor;
    row_ = row;
    reach_ = 26.0 + static_cast<double>(std::bit_width(static_cast<std::uint64_t>(task.key_end)));
    max_ = largest_ = kNone;
    cut_ = std::numeric_limits<float>::infinity();
    collected_ = 0;
    std::fill_n(sum_, kStep, 0.0);
    std::fill_n(sum_logit_, kStep, 0.0);
    std::fill_n(out_, task.value_depth * kStep, 0.0);
    std::fill_n(keys_, task.depth * kKeys, 0.0F);
    std::fill_n(values_, task.value_depth * kKeys, 0.0F);
  }

  void visit(Index block) {
    const Index end = std::min(block + kKeyBlock, round_up(task_->key_end, kKeys));
    const auto block_seen = Classify(*task_, row_, row_ + 1, block, end);
    if (block_seen == MaskPlan::Seen::none) return;
    for (Index key = block; key < end; key += kKeys) {
      const std::uint64_t bits = block_seen == MaskPlan::Seen::all ? kAll : bits_of(key);
      if (bits != 0) look(TileAt<float, true>(*task_, s_, key, block), bits);
    }
  }

  void end(FarRow& result) {
    add_collected();
    const Tag<double> d;
    const auto total = [&](const double* lanes)
                           HWY_ATTR { return hn::GetLane(hn::SumOfLanes(d, hn::Load(d, lanes))); };
    result.max = max_;
    result.sum = total(sum_);
    result.sum_logit = total(sum_logit_);
    for (Index c = 0; c < task_->value_depth; ++c) result.weighted[c] = total(out_ + c * kStep);
    result.largest = largest_;
    if (task_->top.top > 0) order_top();
  }

 private:
  static constexpr Index kStep = kLanes<double>, kKeys = kTileKeys<float>;
  static constexpr std::uint64_t kAll = ~std::uint64_t{0} >> (64 - kKeys);
  static constexpr Index kMostValues = 2 * kNarrowValue + 1;  // with squares and the position
  static constexpr double kNone = -std::numeric_limits<double>::infinity();

  std::uint64_t bits_of(Index key) const {
    const RowPlace place = PlaceOf(*task_, row_);
    return task_->mask->bits(task_->sequence, task_->head + place.head, place.query, key, kKeys);
  }

  // Which keys of a tile may matter.
  HWY_INLINE std::uint64_t near_keys(const KeyTile<float>& tile, std::uint64_t bits) const {
    const Tag<float> d;
    Vec<float> x[1][kVectors];
    Accumulate<float, Pair::squared, 1>(query_, 0, tile.keys, task_->depth, nullptr, x);
    const Vec<float> cut = hn::Set(d, cut_);
    std::uint64_t near = 0;
    for (Index v = 0; v < kVectors; ++v) {
      std::uint8_t bytes[8] = {};
      hn::StoreMaskBits(d, hn::Le(x[0][v], cut), bytes);
      std::uint64_t part = 0;
      std::memcpy(&part, bytes, sizeof(part));
      near |= part << (v * kLanes<float>);
    }
    return near & bits;
  }

  // A few near keys wait for others, so that whole vectors of them are added.
  HWY_INLINE void look(const KeyTile<float>& tile, std::uint64_t bits) {
    const std::uint64_t near = near_keys(tile, bits);
    if (near == 0) return;
    if (Index{2} * std::popcount(near) > kKeys) return add(tile, bits);
    const Tag<float> d;
    constexpr Index kLane = kLanes<float>;
    for (Index v = 0; v < kVectors; ++v) {
      const std::uint64_t part = near >> (v * kLane) & (~std::uint64_t{0} >> (64 - kLane));
      if (part == 0) continue;
      // Whole vectors are stored, of which the front counts.
      if (collected_ > kKeys - kLane) add_collected();
      const auto mask = LaneMask<float>(part, 0);
      const auto collect = [&](const float* from, Index columns, float* to) HWY_ATTR {
        for (Index c = 0; c < columns; ++c) {
          const Vec<float> x = hn::Load(d, from + c * kKeys + v * kLane);
          hn::StoreU(hn::Compress(x, mask), d, to + c * kKeys + collected_);
        }
      };
      collect(tile.keys, task_->depth, keys_);
      collect(tile.values, task_->value_depth, values_);
      collected_ += std::popcount(part);
    }
  }
  void add_collected() {
    if (collected_ == 0) return;
    add({keys_, values_, 0, 0}, ~std::uint64_t{0} >> (64 - collected_));
    collected_ = 0;
  }

  // Natural-order logits of a tile in units of log 2; their maximum.
  HWY_INLINE double find_logits(const KeyTile<float>& tile, std::uint64_t bits, double* logits) const {
    const Tag<double> d;
    const hn::Rebind<float, Tag<double>> narrow;
    constexpr Index kParts = kKeys / kStep;
    Vec<double> x[kParts];
    for (Index p = 0; p < kParts; ++p) x[p] = hn::Zero(d);
    for (Index c = 0; c < task_->depth; ++c) {
      const Vec<double> query = hn::Set(d, static_cast<double>(query_[c]));
      HWY_UNROLL(6)
      for (Index p = 0; p < kParts; ++p) {
        const Vec<double> key = hn::PromoteTo(d, hn::Load(narrow, tile.keys + c * kKeys + p * kStep));
        const Vec<double> difference = hn::Sub(query, key);
        x[p] = hn::MulAdd(difference, difference, x[p]);
      }
    }
    Vec<double> most = hn::Set(d, kNone);
    HWY_UNROLL(6)
    for (Index p = 0; p < kParts; ++p) {
      // Hidden keys may hold NaN.
      const Vec<double> logit = hn::IfThenElse(LaneMask<double>(bits >> (p * kStep), 0),
                                               hn::Mul(x[p], hn::Set(d, factor_)), hn::Set(d, kNone));
      hn::Store(logit, d, logits + p * kStep);
      most = hn::Max(most, logit);
    }
    return hn::GetLane(hn::MaxOfLanes(d, most));
  }

  HWY_NOINLINE void add(const KeyTile<float>& tile, std::uint64_t bits) {
    HWY_ALIGN double logits[kMaxTileKeys];
    HWY_ALIGN float weights[kMaxTileKeys];
    const double most = find_logits(tile, bits, logits);
    if (!(most > kNone)) return;  // all infinitely far
    if (most > max_) raise_max(std::ceil(most));
    largest_ = std::max(largest_, most);
    const Tag<double> d;
    const Tag<float> df;
    const hn::Rebind<float, Tag<double>> narrow;
    const Vec<double> max = hn::Set(d, max_), least = hn::Set(d, -200.0);
    for (Index j = 0; j < kKeys; j += kStep) {
      const Vec<double> relative = hn::Max(hn::Sub(hn::Load(d, logits + j), max), least);
      hn::Store(relative, d, logits + j);
      hn::Store(hn::DemoteTo(narrow, relative), narrow, weights + j);
    }
    for (Index j = 0; j < kKeys; j += kLanes<float>) {
      hn::Store(Exp2<float>(hn::Load(df, weights + j)), df, weights + j);
    }
    for (Index j = 0; j < kKeys; j += kStep) {
      const auto add = [&](double* to, Vec<double> x)
                           HWY_ATTR { hn::Store(hn::Add(hn::Load(d, to), x), d, to); };
      const Vec<double> weight = hn::PromoteTo(d, hn::Load(narrow, weights + j));
      add(sum_, weight);
      add(sum_logit_, hn::Mul(weight, hn::Load(d, logits + j)));
      for (Index c = 0; c < task_->value_depth; ++c) {
        add(out_ + c * kStep,
            hn::Mul(weight, hn::PromoteTo(d, hn::Load(narrow, tile.values + c * kKeys + j))));
      }
    }
  }

  // A power of two, so that rescaling is exact.
  void raise_max(double max) {
    const double rise = max - max_;
    const double scale = max_ == kNone ? 0 : std::exp2(-rise);
    for (Index l = 0; l < kStep; ++l) {
      sum_logit_[l] = scale == 0 ? 0 : (sum_logit_[l] - rise * sum_[l]) * scale;
      sum_[l] *= scale;
    }
    for (Index i = 0; i < task_->value_depth * kStep; ++i) out_[i] *= scale;
    max_ = max;
    // A float sum of `depth` squares is below the true one by less than this.
    constexpr double kSlackOfFloat = 1 + 0x1p-18;
    const double cut = (max - 1 - reach_) / factor_ * kSlackOfFloat;
    constexpr float kMost = std::numeric_limits<float>::max();
    cut_ =
        cut < static_cast<double>(kMost) ? static_cast<float>(cut) : std::numeric_limits<float>::infinity();
  }

  // The row's list anew, relative to max_: float logits far from all keys may tie where the keys do not.
  void order_top() {
    const int top = task_->top.top;
    float* logit = task_->top.logit + row_ * top;
    Index* key = task_->top.key + row_ * top;
    std::fill_n(logit, top, kMinusInfinity<float>);
    std::fill_n(key, top, Index{-1});
    for (Index first = 0; first < task_->key_end; first += kKeys) {
      const std::uint64_t bits = bits_of(first);
      if (bits == 0) continue;
      const KeyTile<float> tile = TileAt<float, true>(*task_, s_, first, first / kKeyBlock * kKeyBlock);
      for (Index j = 0; j < kKeys; ++j) {
        if ((bits >> j & 1) == 0) continue;
        double x = 0;
        for (Index c = 0; c < task_->depth; ++c) {
          const double difference =
              static_cast<double>(query_[c]) - static_cast<double>(tile.keys[c * kKeys + j]);
          x += difference * difference;
        }
        const double above =
            std::max(factor_ * x - max_, -static_cast<double>(std::numeric_limits<float>::max()));
        const auto own = static_cast<float>(above);
        int at = top - 1;
        if (!(own > logit[at])) continue;
        for (; at > 0 && own > logit[at - 1]; --at) {
          logit[at] = logit[at - 1];
          key[at] = key[at - 1];
        }
        logit[at] = own;
        key[at] = first + j;
      }
    }
  }

  const ForwardTask<float>* task_;
  Rows<float> s_;
  const float* query_;
  double factor_, reach_;
  Index row_;
  double max_, largest_;
  float cut_;  // squared distances beyond it do not matter
  HWY_ALIGN double sum_[kStep];
  HWY_ALIGN double sum_logit_[kStep];
  HWY_ALIGN double out_[kMostValues * kStep];
  // A tile of near keys.
  Index collected_;
  HWY_ALIGN float keys_[kNarrowDepth * kKeys];
  HWY_ALIGN float values_[kMostValues * kKeys];
};

inline void FarRows(const ForwardTask<float>& task, double factor, const Index* rows, Index count,
                    FarRow* results) {
  FarPass passes[kFarRows];
  for (Index i = 0; i < count; ++i) passes[i].begin(task, factor, rows[i]);
  for (Index block = task.key_begin; block < task.key_end; block += kKeyBlock) {
    for (Index i = 0; i < count; ++i) passes[i].visit(block);
  }
  for (Index i = 0; i < count; ++i) passes[i].end(results[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_FAR_INL_H_
