// What the backward pass keeps of one key head of one sequence and of the query heads that share it.
#pragma once

#include <algorithm>
#include <vector>

#include "attention/backward_parameters.h"
#include "attention/lowering.h"
#include "attention/mask_plan.h"

namespace kith {

/// A row that looks as if it saw nothing but the sink.
struct SinkRow {
  Index query;
  double delta, d_entropy;
};

/// Memory of the call, most of it as large as the longest sequence needs. width: columns of the values and,
/// behind them, of their squares where gradients flow through the second moment.
template <class Real>
struct BackwardHead {
  Index number = 0, h = 0;  // sequence and key head
  Sequence s{};
  Index group_keys = 0, groups = 0;
  Real* mapped_keys = nullptr;       // [M][depth], where the map is not the identity
  Real* mapped_queries = nullptr;    // [group][N][depth], likewise
  Real* value_rows = nullptr;        // [M][width], where they are not used in place
  Real* key_tiles = nullptr;         // [tiles][depth][tile]
  Real* finite_key_tiles = nullptr;  // [tiles][depth][tile], differences
  Real* value_tiles = nullptr;       // [tiles][width][tile]
  Real* key_rows = nullptr;          // [M][pull_stride], finite, where they are not used in place
  Real* query_rows = nullptr;        // [group][N][pull_stride], likewise
  Real* d_out_raw = nullptr;         // [group][N][width], where it is not used in place
  Real* d_out_rows = nullptr;        // [group][N][width], finite, where it is not used in place
  Real* lse2 = nullptr;              // [group][N]
  Real* delta = nullptr;             // [group][N]
  Real* d_entropy = nullptr;         // [group][N]
  Real* d_query = nullptr;           // [shares][stretch][pull_stride]
  Real* d_key = nullptr;             // [tiles][pull][tile]
  Real* d_value = nullptr;           // [tiles][width][tile]
  // Gradients before they go back through the map.
  Real* d_mapped_query = nullptr;  // [N][pull]
  Real* d_mapped_key = nullptr;    // [M][pull]
  double* row_factor = nullptr;    // [N] of the query head at work
  double* key_factor = nullptr;    // [groups]
  double* origin = nullptr;        // [D]
  const Real* mapped_origin = nullptr;
  bool has_origin = false;
  /// Keys and values as the logits and dP need them; and finite rows for the products, of each group of keys
  /// from its first on and of each query head.
  HeadRows<Real> keys{}, values{};
  std::vector<HeadRows<Real>> key_pull{}, query_pull{}, d_out_pull{};
  std::vector<std::vector<SinkRow>> sink_rows{};  // of each query head
  ParameterHead parameters{};

  Index first_key(Index group) const { return group * group_keys; }
  Index key_count(Index group) const { return std::min(group_keys, s.keys - group * group_keys); }
};

}  // namespace kith
