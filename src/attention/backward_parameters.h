// Gradients of a call's parameters in the backward pass. Each group of keys has sums of its own while the
// kernels run; they are added in the order of groups and heads, so threads cannot change a bit.
#pragma once

#include <vector>

#include "attention/kernels/kernels.h"
#include "attention/lowering.h"
#include "attention/mask_plan.h"
#include "attention/row_map.h"
#include "attention/workspace.h"

namespace kith {

/// The most of anything in a sequence.
struct BackwardSizes {
  Index queries = 0, keys = 0;
  Index groups = 0, group_keys = 0;  ///< groups of keys, keys in one
  Index stretch = 0;                 ///< queries between two additions of the groups' sums
};

/// What one key head of one sequence and the query heads that share it give to the parameters.
struct ParameterHead {
  Index sequence = 0, key_head = 0;
  double d_factor = 0;  ///< what the rows know of it
  // Of each group of keys.
  double* factor = nullptr;       // [groups]
  double* soft_cap = nullptr;     // [groups]
  double* coefficient = nullptr;  // [groups][depth]
  double* query_scale = nullptr;  // [groups][stretch] of the query head at work
  double* toeplitz = nullptr;     // [groups][stretch + group_keys] of the query head at work
  double* bias = nullptr;         // [groups][stretch] of the query head at work, with no key axis
  // Of the whole head.
  double* row_scale = nullptr;     // [group][N]
  double* key_scale = nullptr;     // [M]
  double* toeplitz_sum = nullptr;  // [group][N + M]
  double* sink = nullptr;          // [group]
  RowMap::Parameters query, key;
};

template <class Real>
class ParameterSums {
 public:
  /// The arguments outlive it. `terms`: the kernels compute with Terms and sum the factor's gradient.
  ParameterSums(const AttentionOptions& options, const Geometry& g, const Lowered& lowered,
                const MaskPlan& plan, const BackwardSizes& sizes, bool terms, bool bias,
                BasicAttentionGradients<Real>& gradients);

  /// Heads whose bias gradients share elements cannot be worked on at once.
  bool heads_share_bias() const { return heads_share_bias_; }

  void divide(Divider& memory, ParameterHead& head) const;
  /// Zeros, for another head.
  void begin(ParameterHead& head) const;
  /// Where the kernel puts what queries [first, last) and the task's keys give.
  void point(const ParameterHead& head, Index h, Index group, kernels::BackwardTask<Real>& task);
  /// Adds the groups' sums of queries [first, last) of query head h; not two heads at once.
  void collect(const ParameterHead& head, Index h, Index groups, Index group_keys, Index first, Index last);
  /// Adds a head to the gradients; in the order of sequences and heads.
  void add(const ParameterHead& head, Index groups);
  /// When all heads are added.
  void finish();

 private:
  Index part() const { return sizes_.stretch + sizes_.group_keys; }
  const Sequence& sequence(const ParameterHead& head) const {
    return plan_.sequences()[static_cast<std::size_t>(head.sequence)];
  }
  Index member(Index h) const { return h % g_.group(); }
  /// bias_ at the first query and key of a sequence.
  double* bias_at(const Sequence& s, Index h);
  Index bias_step(std::size_t axis) const {
    return bias_.shape()[axis] == 1 ? 0 : dense_strides<4>(bias_.shape())[axis];
  }
  void add_toeplitz(const ParameterHead& head, Index h, Index groups, Index group_keys, Index first,
                    Index last);
  void add_bandwidths(const ParameterHead& head);

  const AttentionOptions& options_;
  const Geometry& g_;
  const Lowered& lowered_;
  const MaskPlan& plan_;
  const BackwardSizes& sizes_;
  BasicAttentionGradients<Real>& gradients_;
  bool terms_;
  bool wants_bias_ = false, heads_share_bias_ = false;
  double d_factor_ = 0;
  RowMap::Parameters query_, key_;
  Array<double, 4> bias_;  ///< the shape of the bias
};

}  // namespace kith
