// The operator: queries find the keys most like them, softmax turns similarity into weights, the output is
// the weighted average of the values. Nadaraya-Watson regression, soft nearest neighbors and a transformer
// head are this one function.
//
//     logit(i,j) = similarity(q_i, k_j)
//     w(i,.)     = softmax over the visible keys of logit(i,.)
//     out(i)     = sum_j w(i,j) v_j          lse(i) = log sum_j exp logit(i,j)
//
// Contract
//  * Shapes: query [B, Hq, N, D], key [B, Hk, M, D], value [B, Hk, M, Dv]. Hq is a multiple of Hk: query head
//  h
//    reads key head h / (Hq / Hk). D and Dv are any positive sizes; N and M may be 0. [N, D] alone is
//    accepted as B = H = 1. Views are strided; the last axis is contiguous.
//  * A row that sees no key: output 0, lse -inf, all gradients 0, no top entries. Never NaN.
//  * What is masked has no influence, even if it holds NaN or infinities. A NaN that is visible makes exactly
//    the rows that see it NaN.
//  * A row's forward and backward bits do not depend on the batch around it, the number of threads or the
//    order of work, on one instruction set.
//  * Memory is linear in N + M. The N x M weights never exist.
//  * Errors: kith::Error, naming the argument, what it got and what it needs.
#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "kith/error.h"
#include "kith/view.h"

namespace kith {

/// logit = scale q.k; the scale is 1/sqrt(D) unless given (Vaswani et al. 2017, eq. 1).
struct Dot {
  std::optional<double> scale{};
};

/// logit = q.k / (|q| |k| temperature). A zero vector has cosine 0 with everything.
struct Cosine {
  double temperature = 1.0;
};

/// logit = -|q-k|^2 / (2 bandwidth^2), the Nadaraya-Watson kernel; as a temperature, tau = 2 bandwidth^2.
struct Gaussian {
  double bandwidth = 1.0;
};

/// logit = -|q-k| / temperature.
struct Euclidean {
  double temperature = 1.0;
};

/// logit = 0: the plain average of the visible values. The numbers in query and key do not matter.
struct Uniform {};

using Similarity = std::variant<Dot, Cosine, Gaussian, Euclidean, Uniform>;

/// Which keys a query sees. Parts compose with `&`: a key is seen if every part lets it through.
struct Mask {
  /// Query i sees keys j <= i + *causal. With a cache it is the past length.
  std::optional<Index> causal_offset{};
  /// Query i does not see key i + *excluded_self (leave-one-out).
  std::optional<Index> self_offset{};
  /// Batch row b sees its first key_length[b] keys. Empty: all M.
  std::vector<Index> key_length{};
};

inline Mask causal(Index offset = 0) { return {.causal_offset = offset}; }
/// Leave-one-out: query i does not see key i + offset. The offset is where a slice of the keys starts.
inline Mask exclude_self(Index offset = 0) { return {.self_offset = offset}; }
inline Mask key_lengths(std::vector<Index> length) { return {.key_length = std::move(length)}; }
/// Both must let a key through. Error if both set the same part to different values.
Mask operator&(const Mask& a, const Mask& b);

/// Outputs beside `out`; each costs only when asked for.
struct Want {
  bool lse = false;  ///< log of the softmax denominator; the backward pass needs it.
  int top = 0;       ///< this many largest weights per row, with their key indices.
};

struct AttentionOptions {
  Similarity similarity = Dot{};
  Mask mask{};
  Want want{};
  /// 0: the environment variable KITH_THREADS if set, else every core this process may use.
  int threads = 0;
};

struct AttentionResult {
  Array<float, 4> out;         ///< [B, Hq, N, Dv]
  Array<float, 3> lse;         ///< [B, Hq, N], natural logarithm; -inf where no key is visible.
  Array<float, 4> top_weight;  ///< [B, Hq, N, top], descending; equal weights by ascending key. Missing: 0.
  Array<Index, 4> top_key;     ///< [B, Hq, N, top]; missing: -1.
};

struct AttentionGradients {
  Array<float, 4> query;  ///< [B, Hq, N, D]
  Array<float, 4> key;    ///< [B, Hk, M, D]
  Array<float, 4> value;  ///< [B, Hk, M, Dv]
  /// With respect to the similarity's one number: Dot's scale, Cosine's and Euclidean's temperature,
  /// Gaussian's bandwidth. 0 for Uniform.
  double parameter = 0;
};

/// softmax(q k^T / sqrt(D)) v.
Array<float, 4> attend(View<const float, 4> query, View<const float, 4> key, View<const float, 4> value);

AttentionResult attend(View<const float, 4> query, View<const float, 4> key, View<const float, 4> value,
                       const AttentionOptions& options);

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

/// The same into the caller's memory: `result`'s arrays are reused where their shapes fit, and with a warm
/// workspace nothing is allocated.
void attend(View<const float, 4> query, View<const float, 4> key, View<const float, 4> value,
            const AttentionOptions& options, AttentionResult& result, Workspace& workspace);

/// Gradients of a loss L, given d_out = dL/dout [B, Hq, N, Dv], d_lse = dL/dlse [B, Hq, N] (empty view:
/// none), and the forward pass's result (out and lse). Recomputes the weights block by block (Dao et al.
/// 2022).
AttentionGradients attend_backward(View<const float, 4> query, View<const float, 4> key,
                                   View<const float, 4> value, const AttentionResult& result,
                                   View<const float, 4> d_out, const AttentionOptions& options,
                                   View<const float, 3> d_lse = {});

/// The instruction set in use: "AVX3" (AVX-512), "AVX2", "SSE4", ...
const char* instruction_set();
/// Every instruction set this CPU can run, best first.
std::vector<const char*> instruction_sets();
/// Forces one of `instruction_sets()`; an empty name returns to the best. Error if the CPU lacks it.
/// For tests and benchmarks: not to be called while another thread computes.
void force_instruction_set(const char* name);

}  // namespace kith
