// The operator: queries find the keys most like them, softmax turns similarity into weights, the output is
// the weighted average of the values. Nadaraya-Watson regression, soft nearest neighbors and a transformer
// head are this one function.
//
//     logit(i,j) = cap(similarity(q_i, k_j)) + bias(i,j)
//     w(i,.)     = softmax over the visible keys (and the sink) of logit(i,.)
//     out(i)     = sum_j w(i,j) v_j          lse(i) = log sum_j exp logit(i,j)
//
// Contract
//  * Shapes: query [B, Hq, N, D], key [B, Hk, M, D], value [B, Hk, M, Dv]. Hq is a multiple of Hk: query head
//    h reads key head h / (Hq / Hk). D and Dv are any positive sizes; N and M may be 0. [N, D] alone is
//    accepted as B = H = 1. Views are strided; the last axis is contiguous.
//  * Types: float and double; bfloat16 and float16 as storage, computed and answered in float.
//  * A row that sees no key: output 0, lse -inf (the sink's logit if there is one, and then d_lse is the
//  sink's
//    gradient), all other gradients 0, no top entries. Never NaN.
//  * What is masked has no influence, even if it holds NaN or infinities. A NaN that is visible makes exactly
//    the rows that see it NaN.
//  * A row's forward and backward bits do not depend on the batch around it, the number of threads or the
//    order of work, on one instruction set.
//  * Memory is linear in N + M. The N x M weights exist only in attention_weights().
//  * Errors: kith::Error, naming the argument, what it got and what it needs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kith/bias.h"
#include "kith/dtype.h"
#include "kith/error.h"
#include "kith/mask.h"
#include "kith/rotary.h"
#include "kith/similarity.h"
#include "kith/view.h"

namespace kith {

/// Outputs beside `out`; each costs only when asked for.
struct Want {
  bool lse = false;            ///< log of the softmax denominator; the backward pass needs it.
  int top = 0;                 ///< this many largest weights per row, with their key indices.
  bool entropy = false;        ///< also needed by a backward pass through the entropy.
  bool largest = false;        ///< the largest weight
  bool received = false;       ///< the sum of the weights each key got
  bool position = false;       ///< the expected key index
  bool second_moment = false;  ///< the weighted average of the squared values
};

/// Weights are dropped with probability `rate`, the others divided by 1 - rate, where they average: in out,
/// second moment and position. lse, entropy and the other outputs about weights are those before dropping.
/// (seed, batch + first_batch, head, i, j) alone decides.
struct Dropout {
  double rate = 0;
  std::uint64_t seed = 0;
  Index first_batch = 0;
};

/// How a forward call gets its sums over the keys. All but `direct` are for float32 kernel regression with
/// few columns, after the metric: Gaussian, and for `line` and `skip` also Euclidean and compact kernels,
/// with no mask, bias, soft cap, sink, adaptive bandwidth, rotation or dropout, and no output but out and
/// lse. Their errors are at most 1e-6 of the largest |value|; rows keep their bits in any company under one
/// method.
enum class Method {
  automatic,  ///< by estimated cost: `direct` up to 2^22 pairs a head; beyond, the number of queries counts
              ///< too
  direct,     ///< over all pairs
  line,       ///< D = 1: sorted keys and running sums, O((N + M) log M)
  plane,      ///< D = 2, Gaussian: fast Gauss transform, O(N + M) where keys are dense against the bandwidth
  space,      ///< D = 3, Gaussian: likewise
  skip,       ///< D up to 16: keys in blocks in space, those too far away to matter left out
};

/// "auto", "direct", "line", "plane", "space", "skip".
const char* method_name(Method method);

struct AttentionOptions {
  Similarity similarity = Dot{};
  LearnedMetric metric{};
  AdaptiveBandwidth adaptive{};
  std::optional<Rotary> rotary{};
  /// logit = cap tanh(similarity / cap), before any bias (Gemma 2, 2024). 0: none.
  double soft_cap = 0;
  Bias bias = Bias();  // not {}: GCC 12 then warns of uninitialized memory where there is none
  /// One more logit in the denominator, with no value: a number, or one per query head. Empty: none.
  std::vector<double> sink{};
  Mask mask{};
  Dropout dropout{};
  Want want{};
  Method method = Method::automatic;
  /// Weights of bfloat16 values are rounded to bfloat16, by at most 2^-8 of each, before they meet the
  /// values, as PyTorch does; lse stays exact. For bfloat16 queries, keys and values, an even D, the dot and
  /// Dv > 8 where the CPU multiplies bfloat16 (AVX-512 BF16): nearly twice as fast. No effect elsewhere, with
  /// second_moment or position.
  bool round_weights = false;
  /// 0: the environment variable KITH_THREADS if set, else every core this process may use.
  int threads = 0;
};

template <class Real>
struct BasicAttentionResult {
  Array<Real, 4> out;            ///< [B, Hq, N, Dv]
  Array<Real, 3> lse;            ///< [B, Hq, N], natural logarithm; -inf where no key is visible.
  Array<Real, 4> top_weight;     ///< [B, Hq, N, top], descending; equal weights by ascending key. Missing: 0.
  Array<Index, 4> top_key;       ///< [B, Hq, N, top]; missing: -1.
  Array<Real, 3> entropy;        ///< [B, Hq, N], natural; the sink counts as an outcome. Empty row: 0.
  Array<Real, 3> largest;        ///< [B, Hq, N]; empty row: 0.
  Array<Real, 3> received;       ///< [B, Hq, M]
  Array<Real, 3> position;       ///< [B, Hq, N]: sum_j w_j j; empty row: 0.
  Array<Real, 4> second_moment;  ///< [B, Hq, N, Dv]: sum_j w_j v_j^2
  /// Blocks of 24 queries by 192 keys: how many were computed, how many there are.
  Index visited_blocks = 0, blocks = 0;
  Method method = Method::direct;  ///< the one used
};
using AttentionResult = BasicAttentionResult<float>;

/// Gradients of what the options contain; the rest stays empty.
template <class Real>
struct BasicAttentionGradients {
  Array<Real, 4> query;  ///< [B, Hq, N, D]
  Array<Real, 4> key;    ///< [B, Hk, M, D]
  Array<Real, 4> value;  ///< [B, Hk, M, Dv]
  /// With respect to the similarity's one number: Dot's and Bilinear's scale, Cosine's and Euclidean's
  /// temperature, a bandwidth, InverseDistance's power. 0 for Uniform and Additive.
  double parameter = 0;
  Array<double, 1> column_bandwidth;          ///< [D]
  Array<double, 2> metric;                    ///< [D, R]
  Array<double, 3> query_bandwidth;           ///< the shape of adaptive.query
  Array<double, 3> key_bandwidth;             ///< the shape of adaptive.key
  Array<double, 2> bilinear;                  ///< [Dq, Dk]
  Array<double, 2> query_weight, key_weight;  ///< Additive's
  Array<double, 1> score;
  double soft_cap = 0;
  Array<Real, 4> bias;            ///< the shape of bias.array; only if Upstream::bias asks for it
  Array<double, 2> relative, t5;  ///< the shapes of the tables
  std::vector<double> alibi, sink;
};
using AttentionGradients = BasicAttentionGradients<float>;

/// Gradients of the loss with respect to the outputs; empty views: none. `out` is always given.
template <class Real>
struct Upstream {
  View<const Real, 4> out{};            ///< [B, Hq, N, Dv]
  View<const Real, 3> lse{};            ///< [B, Hq, N]
  View<const Real, 3> entropy{};        ///< [B, Hq, N]; the forward call needs want.entropy
  View<const Real, 4> second_moment{};  ///< [B, Hq, N, Dv]; the forward call needs want.second_moment
  bool bias = false;                    ///< also the gradient of the bias array
};

/// Memory that grows to what a call needs and is reused by the next.
class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(Workspace&&) noexcept;
  Workspace& operator=(Workspace&&) noexcept;
  std::size_t bytes() const;
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// The calls, once per storage type T of float, double, bfloat16 and float16, with Real = compute_t<T>; as
// plain overloads, so that arrays convert to views.
//
// attend: softmax(q k^T / sqrt(D)) v, or what the options say. With `result` and `workspace` of the caller
// the result's arrays are reused where their shapes fit, and with a warm workspace nothing is allocated.
//
// attend_backward: gradients of a loss, given its gradients with respect to the outputs and the forward
// pass's result (out, lse and what `upstream` goes through). Recomputes the weights block by block (Dao et
// al. 2022).
//
// attention_weights: the weights [B, Hq, N, M] themselves, before dropout; quadratic memory. Error, before
// anything is allocated, if they need more than `most_bytes`.
// NOLINTBEGIN(bugprone-macro-parentheses): T is a type
#define KITH_DECLARE_ATTENTION(T)                                                                      \
  Array<compute_t<T>, 4> attend(View<const T, 4> query, View<const T, 4> key, View<const T, 4> value); \
  BasicAttentionResult<compute_t<T>> attend(View<const T, 4> query, View<const T, 4> key,              \
                                            View<const T, 4> value, const AttentionOptions& options);  \
  void attend(View<const T, 4> query, View<const T, 4> key, View<const T, 4> value,                    \
              const AttentionOptions& options, BasicAttentionResult<compute_t<T>>& result,             \
              Workspace& workspace);                                                                   \
  BasicAttentionGradients<compute_t<T>> attend_backward(                                               \
      View<const T, 4> query, View<const T, 4> key, View<const T, 4> value,                            \
      const BasicAttentionResult<compute_t<T>>& result, const Upstream<compute_t<T>>& upstream,        \
      const AttentionOptions& options);                                                                \
  BasicAttentionGradients<compute_t<T>> attend_backward(                                               \
      View<const T, 4> query, View<const T, 4> key, View<const T, 4> value,                            \
      const BasicAttentionResult<compute_t<T>>& result, View<const compute_t<T>, 4> d_out,             \
      const AttentionOptions& options, View<const compute_t<T>, 3> d_lse = {});                        \
  Array<compute_t<T>, 4> attention_weights(View<const T, 4> query, View<const T, 4> key,               \
                                           const AttentionOptions& options,                            \
                                           std::size_t most_bytes = std::size_t{1} << 30);

KITH_DECLARE_ATTENTION(float)
KITH_DECLARE_ATTENTION(double)
KITH_DECLARE_ATTENTION(bfloat16)
KITH_DECLARE_ATTENTION(float16)
#undef KITH_DECLARE_ATTENTION
// NOLINTEND(bugprone-macro-parentheses)

/// The instruction set in use: "AVX3" (AVX-512), "AVX2", "SSE4", ...
const char* instruction_set();
/// Every instruction set this CPU can run, best first.
std::vector<const char*> instruction_sets();
/// Forces one of `instruction_sets()`; an empty name returns to the best. Error if the CPU lacks it.
/// For tests and benchmarks: not to be called while another thread computes.
void force_instruction_set(const char* name);

}  // namespace kith
