// The inner loops, behind plain functions: no vector type passes this header. Each is compiled once per
// instruction set and the best one is chosen at run time.
//
// Layout words: a *tile* is `tile_keys()` keys (three vectors) with the keys in the lanes:
// [depth][tile_keys]. A *row* is one query or key in natural order.
#pragma once

#include <cstddef>

#include "attention/mask_plan.h"
#include "kith/view.h"

namespace kith::kernels {

/// What the dot or difference loop's result x becomes: logit in units of log 2 = factor * map(x).
enum class Logit {
  dot,               ///< x = q.k
  squared_distance,  ///< x = |q-k|^2
  distance,          ///< x = |q-k|
};

constexpr Index kKeyBlock = 192;             ///< keys whose weights are held before they meet the values.
constexpr Index kKeyChunk = 10 * kKeyBlock;  ///< keys summed in float before a merge in double.
constexpr Index kQueryBlock = 96;            ///< queries that share a pass over the keys: one task.
constexpr Index kNarrowValue = 8;            ///< up to this many value columns are summed with keys in lanes.
constexpr Index kMaxLanes = 16;

/// Keys in a tile and floats in a vector, of the instruction set in use.
Index tile_keys();
Index vector_floats();

inline Index tile_count(Index keys) { return (keys + tile_keys() - 1) / tile_keys(); }
inline Index round_up(Index n, Index step) { return (n + step - 1) / step * step; }

/// Rows [first, last) of tiles: tiles[t][c][lane] = rows[t * tile_keys + lane][c]; keys beyond `count` are
/// zero.
void pack_tiles(const float* rows, Index stride, Index count, Index depth, Index first_tile, Index last_tile,
                float* tiles);

/// Best `top` logits of a row so far, descending; key -1 where there is none yet.
struct TopList {
  float* logit = nullptr;  ///< [rows][top], units of log 2
  Index* key = nullptr;    ///< [rows][top]
  int top = 0;
};

/// Queries of one block against one chunk of keys.
struct ForwardTask {
  Logit logit = Logit::dot;
  float factor = 1;
  const float* query = nullptr;  ///< [rows][depth]
  Index query_stride = 0;
  Index rows = 0;                    ///< at most kQueryBlock
  const float* key_tiles = nullptr;  ///< the whole head's
  const float* value =
      nullptr;  ///< [keys][value_stride], finite, value_stride >= padded value_depth; wide values
  Index value_stride = 0;
  const float* value_tiles = nullptr;  ///< finite; narrow values
  Index depth = 0, value_depth = 0;
  const MaskPlan* mask = nullptr;
  Index batch = 0, first_query = 0;
  Index key_begin = 0, key_end = 0;  ///< begins at a multiple of kKeyBlock
  TopList top{};
  float* scratch = nullptr;  ///< forward_scratch() floats, 64-byte aligned
  /// Results per row: reference exponent (-inf: no key seen), sum of weights, weighted values
  /// [rows][value_depth].
  double* max = nullptr;
  double* sum = nullptr;
  float* weighted = nullptr;
};

std::size_t forward_scratch(Index value_depth);
void forward(const ForwardTask& task);

/// One tile-aligned range of keys against a range of queries, for the gradients. Distances give sums of dS (q
/// - k) for d_query and d_key (dS / |q-k| for Logit::distance), the dot sums of dS k and dS q.
struct BackwardTask {
  Logit logit = Logit::dot;
  float factor = 1;
  const float* query = nullptr;  ///< [rows][depth], as the logits need them
  Index query_stride = 0;
  const float* key_tiles = nullptr;
  const float* d_out = nullptr;  ///< [rows][value_depth]
  Index d_out_stride = 0;
  const float* value_tiles = nullptr;
  /// Per row: lse in units of log 2 (-inf: sees nothing), and sum_c d_out out - d_lse.
  const float* lse2 = nullptr;
  const float* delta = nullptr;
  /// Finite copies for the products, where a masked NaN times zero would do harm. `key_rows` is padded to
  /// whole vectors.
  const float* query_rows = nullptr;
  Index query_rows_stride = 0;
  const float* d_out_rows = nullptr;
  Index d_out_rows_stride = 0;
  const float* key_rows = nullptr;
  Index key_rows_stride = 0;
  const float* finite_key_tiles = nullptr;           ///< distances only: key_tiles without NaN and infinities
  Index depth = 0, value_depth = 0, pull_depth = 0;  ///< pull_depth: columns of query_rows and key_rows
  const MaskPlan* mask = nullptr;
  Index batch = 0;
  Index first_query = 0, last_query = 0;  ///< into the mask; pointers above are at first_query
  Index first_key = 0, last_key = 0;      ///< first_key at a tile
  float* scratch = nullptr;               ///< backward_scratch() floats
  /// d_query [rows][d_query_stride] is added to; d_key and d_value tiles ([tile][depth][tile_keys]) too.
  float* d_query = nullptr;
  Index d_query_stride = 0;
  float* d_key_tiles = nullptr;    ///< [tile from first_key][pull_depth][tile_keys]
  float* d_value_tiles = nullptr;  ///< [tile from first_key][value_depth][tile_keys]
  double* d_factor = nullptr;      ///< Logit::distance: sum of dS |q-k| is added
};

std::size_t backward_scratch();
void backward(const BackwardTask& task);

}  // namespace kith::kernels
