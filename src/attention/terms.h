// The arrays behind kernels::Terms: what a call adds to its logits, as the kernels read it.
#pragma once

#include "attention/kernels/kernels.h"
#include "attention/lowering.h"
#include "attention/mask_plan.h"
#include "attention/workspace.h"

namespace kith {

template <class Real>
class TermArrays {
 public:
  TermArrays(const AttentionOptions& options, const Geometry& g, const Lowered& lowered,
             const MaskPlan& plan);

  /// Whether the logit is more than the factor times the pair's sum.
  bool needed() const;

  void divide(Divider& memory);
  void fill();

  /// For query head h of sequence s; pointers into what `divide` took and into the options.
  kernels::Terms<Real> terms(Index s, Index h) const;

  /// [depth], additive's u; null for other forms.
  const Real* coefficient() const { return coefficient_; }

  /// Whether a term hides key j from query i though the mask does not: a bias of -inf, or a pair outside a
  /// compact kernel's support. The mapped rows; the key's numbers are `key_step` apart.
  bool hides(const kernels::Terms<Real>& terms, Index i, Index j, const Real* query, const Real* key,
             Index key_step) const;

 private:
  Index scale_row(Index extent) const { return extent + kernels::kMaxTileKeys; }

  const AttentionOptions& options_;
  const Geometry& g_;
  const Lowered& lowered_;
  const MaskPlan& plan_;
  Index most_queries_ = 0, most_keys_ = 0;  // of a sequence
  Real* query_scale_ = nullptr;             // [B or 1][Hq or 1][N]
  Real* key_scale_ = nullptr;               // [B or 1][Hk or 1][M + padding]
  Real* coefficient_ = nullptr;             // [depth]
  Real* toeplitz_ = nullptr;                // [Hq][most_queries + most_keys - 1 + padding]
};

}  // namespace kith
