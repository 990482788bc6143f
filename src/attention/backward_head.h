// What the backward pass keeps of one key head of one sequence and of the query heads that share it.
#pragma once

#include "attention/backward_parameters.h"
#include "attention/mask_plan.h"

namespace kith {

/// Memory of the call's workspace. width: columns of the values and, behind them, of their squares where
/// gradients flow through the second moment.
template <class Real>
struct BackwardHead {
  Index number = 0, h = 0;  // sequence and key head
  Sequence s{};
  Index group_keys = 0, groups = 0;
  Real* mapped_keys = nullptr;       // [M][depth], where the map is not the identity
  Real* mapped_queries = nullptr;    // [group][N][depth], likewise
  Real* key_tiles = nullptr;         // [tiles][depth][tile]
  Real* finite_key_tiles = nullptr;  // [tiles][depth][tile], differences
  Real* value_rows = nullptr;        // [M][width], where they are not used in place
  Real* value_tiles = nullptr;       // [tiles][width][tile]
  Real* key_rows = nullptr;          // [M][pull_stride], finite
  Real* query_rows = nullptr;        // [group][N][pull_stride], finite
  Real* d_out_raw = nullptr;         // [group][N][width], where it is not used in place
  Real* d_out_rows = nullptr;        // [group][N][width], finite
  Real* lse2 = nullptr;              // [group][N]
  Real* delta = nullptr;             // [group][N]
  Real* d_entropy = nullptr;         // [group][N]
  Real* d_query = nullptr;           // [groups][stretch][pull_stride]
  Real* d_key = nullptr;             // [tiles][pull][tile]
  Real* d_value = nullptr;           // [tiles][width][tile]
  Real* d_mapped = nullptr;          // [N or M][pull], gradients before they go back through the map
  double* row_factor = nullptr;      // [N] of the query head at work
  double* origin = nullptr;          // [D]
  const Real* mapped_origin = nullptr;
  bool has_origin = false, d_out_finite = true;
  ParameterHead parameters{};
};

}  // namespace kith
