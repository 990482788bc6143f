// The inner loops, behind plain functions: no vector type passes this header. Each is compiled once per
// instruction set and the best one is chosen at run time.
//
// Layout words: a *tile* is `tile_keys<Real>()` keys (three vectors) with the keys in the lanes:
// [depth][tile_keys]. A *row* is one query or key in natural order.
//
// A logit, in units of log 2, comes about in this order:
//   x       = sum over the columns of Pair(q, k)
//   x'      = x query_scale key_scale                       (Terms, adaptive bandwidths)
//   logit2  = Map(x', factor)
//   logit2  = soft_cap tanh(logit2 / soft_cap)              (Terms)
//   logit2 += log2(e) bias + toeplitz[j - i]                (Terms)
// A task without Terms has x' = x and Map::linear: that is the fast path.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attention/mask_plan.h"
#include "kith/dtype.h"
#include "kith/view.h"

namespace kith::kernels {

/// What a column of a pair adds to x.
enum class Pair {
  dot,       ///< q k
  squared,   ///< (q - k)^2
  absolute,  ///< |q - k|
  additive,  ///< u tanh(q + k)
  /// Forward alone, where multiplies_bfloat16(): a column is a word of two bfloat16, whose products are exact
  /// in float and added to x one after the other.
  dot_halves,
};

/// From x' to the natural logit s; the kernels compute it in units of log 2.
enum class Map {
  linear,       ///< factor x'
  square_root,  ///< factor sqrt(x')
  // Compact kernels of u^2 = factor x'; -inf from u = 1 on.
  epanechnikov,
  boxcar,
  triangular,
  biweight,
  tricube,
  inverse_distance,  ///< -factor / 2 ln x', factor is the power; below InverseDistance::kHit its hit_logit
};

constexpr Index kKeyBlock = 192;             ///< keys whose weights are held before they meet the values.
constexpr Index kKeyChunk = 10 * kKeyBlock;  ///< keys summed in Real before a merge in double.
constexpr Index kQueryBlock = 96;            ///< queries that share a pass over the keys: one task.
constexpr Index kGroup = 24;       ///< queries whose weights are held at once: a multiple of 8, 6 and 4.
constexpr Index kNarrowValue = 8;  ///< up to this many value columns are summed with keys in lanes.
constexpr Index kMaxLanes = 16;
constexpr Index kMaxTileKeys = 3 * kMaxLanes;

/// Keys in a tile and numbers in a vector, of the instruction set in use.
template <class Real>
Index tile_keys();
template <class Real>
Index vector_lanes();

template <class Real>
Index tile_count(Index keys) {
  return (keys + tile_keys<Real>() - 1) / tile_keys<Real>();
}
inline Index round_up(Index n, Index step) { return (n + step - 1) / step * step; }

/// Rows [first, last) of tiles: tiles[t][c][lane] = rows[t * tile_keys + lane][c]; keys beyond `count` are
/// zero.
template <class Real>
void pack_tiles(const Real* rows, Index stride, Index count, Index depth, Index first_tile, Index last_tile,
                Real* tiles);

/// What else goes into a logit, of one query head. Null pointers and zeros: nothing.
template <class Real>
struct Terms {
  Map map = Map::linear;
  const Real* query_scale = nullptr;  ///< [queries of the sequence]
  const Real* key_scale = nullptr;    ///< [keys, padded with ones to whole tiles]
  Real soft_cap = 0;                  ///< in units of log 2
  /// Natural units, at (query 0, key 0) of the sequence; one of the two. Strides in elements, 0 repeats.
  const float* bias = nullptr;
  const double* bias64 = nullptr;
  Index bias_query_stride = 0, bias_key_stride = 0;
  /// toeplitz[j - i], units of log 2; readable for j - i from -(queries - 1) to keys - 1 + kMaxTileKeys.
  const Real* toeplitz = nullptr;
  /// Weights whose counter-based random number is below `drop_below` are dropped, others times `keep_scale`.
  std::uint32_t drop_below = 0;
  Real keep_scale = 1;
  std::uint64_t dropout_stream = 0;  ///< of seed, batch row and head

  /// Whether a logit is just the factor times x.
  bool scales_only() const {
    return map == Map::linear && query_scale == nullptr && key_scale == nullptr && soft_cap == 0 &&
           bias == nullptr && bias64 == nullptr && toeplitz == nullptr;
  }
};

/// The random number of a pair: a hash of the stream, the query and the key, the same in every kernel and in
/// the reference. `row` = dropout_row(stream, i).
constexpr std::uint32_t dropout_row(std::uint64_t stream, Index i) {
  std::uint64_t z = stream + 0x9e3779b97f4a7c15u * (static_cast<std::uint64_t>(i) + 1);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return static_cast<std::uint32_t>(z ^ z >> 31);
}
/// 32-bit steps only, so that it runs in lanes.
constexpr std::uint32_t dropout_bits(std::uint32_t row, Index j) {
  std::uint32_t x = static_cast<std::uint32_t>(j) * 0x9e3779b9u + row;
  x = (x ^ x >> 16) * 0x21f0aaadu;
  x = (x ^ x >> 15) * 0xd35a2d97u;
  x ^= x >> 15;
  x = (x + row) * 0x85ebca6bu;
  return x ^ x >> 13;
}
constexpr std::uint64_t dropout_stream(std::uint64_t seed, Index batch, Index head) {
  std::uint64_t z = seed;
  for (const Index part : {batch, head}) {
    z += 0x9e3779b97f4a7c15u * (static_cast<std::uint64_t>(part) + 1);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
  }
  return z;
}

/// Best `top` logits of a row so far, descending; key -1 where there is none yet.
template <class Real>
struct TopList {
  Real* logit = nullptr;  ///< [rows][top], units of log 2
  Index* key = nullptr;   ///< [rows][top]
  int top = 0;
};

/// Rows as they are stored: `stride` numbers apart.
struct StoredRows {
  const void* data = nullptr;
  Index stride = 0;
  Dtype type = Dtype::float32;
};

/// Queries of one block against one chunk of keys. The rows may come from several query heads that share the
/// keys: row r is query first_query + r % per_head of query head head + r / per_head.
template <class Real>
struct ForwardTask {
  Pair pair = Pair::dot;
  Real factor = 1;                     ///< linear and square_root: in units of log 2; else as Map says
  const Terms<Real>* terms = nullptr;  ///< of each query head
  const Real* coefficient = nullptr;   ///< [depth], Pair::additive's u
  const Real* query = nullptr;         ///< [rows][depth]
  Index query_stride = 0;
  Index rows = 0;                   ///< at most kQueryBlock
  Index per_head = kQueryBlock;     ///< rows of one query head
  const Real* key_tiles = nullptr;  ///< the whole sequence's
  /// Finite, value_stride >= padded value_depth; wide values.
  const Real* value = nullptr;  ///< [keys][value_stride]
  Index value_stride = 0;
  const Real* value_tiles = nullptr;  ///< finite; narrow values
  /// Without key_tiles: keys and values from key_begin on as they are stored, which are packed and cleaned on
  /// their way through, for at most kGroup rows. `not_finite` is set to 1 where a value is.
  StoredRows key_rows{}, value_rows{};
  unsigned char* not_finite = nullptr;
  Index depth = 0, value_depth = 0;
  bool narrow = false;  ///< values come as tiles and are summed with keys in lanes
  /// dot_halves, not narrow, with key_tiles: weights are rounded to bfloat16, and `value` holds words of two
  /// keys' values, [(keys + 1) / 2][value_stride].
  bool rounded = false;
  const MaskPlan* mask = nullptr;
  Index sequence = 0, head = 0, first_query = 0;  ///< into the mask
  Index key_begin = 0, key_end = 0;               ///< begins at a multiple of kKeyBlock
  TopList<Real> top{};
  Real* scratch = nullptr;  ///< forward_scratch() numbers, 64-byte aligned
  /// Results per row: reference exponent (-inf: no key seen), sum of weights, weighted values
  /// [rows][value_depth].
  double* max = nullptr;
  double* sum = nullptr;
  Real* weighted = nullptr;
  double* sum_logit = nullptr;  ///< if not null: sum of weight times (logit2 - max), for the entropy
  Real* largest = nullptr;      ///< if not null: the largest logit2, -inf if none is seen
  Index* visited = nullptr;     ///< blocks of kGroup x kKeyBlock computed are added
};

/// stream_depth: of the keys, where they are not packed beforehand; else 0.
template <class Real>
std::size_t forward_scratch(Index value_depth, bool narrow, Index stream_depth);
template <class Real>
void forward(const ForwardTask<Real>& task);
void forward_halves(const ForwardTask<float>& task);  ///< Pair::dot_halves

/// Whether the instruction set in use multiplies bfloat16: AVX-512 BF16, unless it is switched off.
bool multiplies_bfloat16();
bool can_multiply_bfloat16();  ///< the CPU
void switch_bfloat16(bool on);

constexpr Index kNarrowDepth = 16;  ///< up to this many columns a Gaussian's queries lie in the lanes.
/// Below this sum of weights relative to 2^0 a row's logits, of 20 bits and more, lost too much in float.
constexpr double kFarBelow = 0x1p-20;

/// A Gaussian in few columns with short values: `forward` sums its weights relative to a maximum of 0, and a
/// row whose weights sum to less than kFarBelow over all keys has to be summed again.
inline bool is_narrow(const ForwardTask<float>& task) {
  return task.pair == Pair::squared && task.narrow && task.depth <= kNarrowDepth && task.factor < 0 &&
         (task.terms == nullptr || (task.terms->scales_only() && task.terms->drop_below == 0));
}
void forward_narrow(const ForwardTask<float>& task);

/// A row relative to its largest logit.
struct FarRow {
  double max = 0;              ///< reference exponent, -inf: no key seen
  double sum = 0;              ///< of the weights
  double* weighted = nullptr;  ///< [value_depth]
  double sum_logit = 0;        ///< of weight times (logit2 - max)
  double largest = 0;          ///< the largest logit2
};
constexpr Index kFarRows = 8;  ///< that share a pass over the keys
/// `count` rows of a task, at most kFarRows, over all keys of the sequence, in double; `factor` is the task's
/// before rounding. The rows' lists of largest logits, if any, are put right in place, relative to
/// FarRow::max.
void sum_far_rows(const ForwardTask<float>& task, double factor, const Index* rows, Index count,
                  FarRow* results);

/// One tile-aligned range of keys against a range of queries of one query head, for the gradients.
///
/// P = weights, dS = P (dP - delta - d_entropy (logit2 - lse2)) with dP = sum_c d_out v (times dropout), the
/// gradient of the logit; dX = dS dlogit/dx, the gradient of x, in natural units. With Terms, and in double
/// for all pairs but the dot, dX is whole; without, it is dS and the caller multiplies by its constant
/// factor. What is summed from it:
///   dot       d_query += sum dX k                  d_key += sum dX q
///   squared   d_query += sum dX (q - k)            d_key += sum dX (q - k)     (caller: times 2 and -2)
///   absolute  d_query += sum dX sign(q - k)        d_key += sum dX sign(q - k) (caller: times 1 and -1)
///   additive  d_query += sum dX u (1 - t^2)        d_key += the same, t = tanh(q + k); d_coefficient += sum
///   dX t
template <class Real>
struct BackwardTask {
  Pair pair = Pair::dot;
  Real factor = 1;  ///< as in ForwardTask
  const Terms<Real>* terms = nullptr;
  const Real* coefficient = nullptr;
  const Real* query = nullptr;  ///< [rows][depth], as the logits need them
  Index query_stride = 0;
  const Real* key_tiles =
      nullptr;  ///< these, value_tiles, finite_key_tiles and key_rows from key `key_base` on
  Index key_base = 0;
  const Real* d_out = nullptr;  ///< [rows][value_depth]
  Index d_out_stride = 0;
  const Real* value_tiles = nullptr;
  /// Per row: lse in units of log 2 (-inf: sees nothing), sum_c d_out out - d_lse + d_entropy entropy, and
  /// d_entropy ln 2 (null: none).
  const Real* lse2 = nullptr;
  const Real* delta = nullptr;
  const Real* d_entropy = nullptr;
  /// Finite copies for the products, where a masked NaN times zero would do harm. `key_rows` is padded to
  /// whole vectors.
  const Real* query_rows = nullptr;
  Index query_rows_stride = 0;
  const Real* d_out_rows = nullptr;
  Index d_out_rows_stride = 0;
  const Real* key_rows = nullptr;
  Index key_rows_stride = 0;
  const Real* finite_key_tiles = nullptr;            ///< not for dot: key_tiles without NaN and infinities
  Index depth = 0, value_depth = 0, pull_depth = 0;  ///< pull_depth: columns of query_rows and key_rows
  const MaskPlan* mask = nullptr;
  Index sequence = 0, head = 0;
  Index first_query = 0, last_query = 0;  ///< into the mask; row pointers above are at first_query
  Index first_key = 0, last_key = 0;      ///< first_key at a tile
  Real* scratch = nullptr;                ///< backward_scratch() numbers
  /// d_query [rows][d_query_stride], d_key and d_value tiles ([tile][depth][tile_keys]) are written, or added
  /// to where the caller says so.
  bool add_query = false, add_key = false;
  /// d_query of kBackwardQueries rows, from first_query on, that see none of the task's keys is not written.
  bool skip_unseen = false;
  Real* d_query = nullptr;
  Index d_query_stride = 0;
  Real* d_key_tiles = nullptr;    ///< [tile from first_key][pull_depth][tile_keys]
  Real* d_value_tiles = nullptr;  ///< [tile from first_key][value_depth][tile_keys]
  // Sums for the parameters, of this query head and range of keys, in double; null: not wanted. All need
  // Terms. `s` is the natural logit.
  double* d_factor =
      nullptr;  ///< += sum dS ds/dfactor (linear, square_root), ds/dlog factor (compact), ds/dpower
  double* d_query_scale = nullptr;  ///< [rows] += sum_j dS ds/dlog x'
  double* d_key_scale = nullptr;    ///< [keys from first_key] += sum_i dS ds/dlog x'
  double* d_soft_cap = nullptr;     ///< += sum dS ds/dcap, natural units
  double* d_coefficient = nullptr;  ///< [depth]
  double* d_toeplitz = nullptr;     ///< d_toeplitz[j - i] += dS, from -(queries - 1) of the sequence on
  double* d_bias = nullptr;         ///< at (row 0 = first_query, key 0); strides below, 0 sums
  Index d_bias_query_stride = 0, d_bias_key_stride = 0;
};

template <class Real>
std::size_t backward_scratch();
template <class Real>
void backward(const BackwardTask<Real>& task);

/// The weights of the task's rows and keys, from its lse2: weights[row][key - first_key], rows `stride`
/// apart. Needs only what the logits need of the task.
template <class Real>
void weigh(const BackwardTask<Real>& task, Real* weights, Index stride);

}  // namespace kith::kernels
