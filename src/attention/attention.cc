// The public calls: check, give the result its shapes, run.
#include "kith/attention.h"

#include <algorithm>

#include "array/threads.h"
#include "attention/geometry.h"
#include "attention/method.h"
#include "attention/run.h"
#include "attention/workspace.h"

namespace kith {

Workspace::Workspace() : impl_(std::make_unique<Impl>()) {}
Workspace::~Workspace() = default;
Workspace::Workspace(Workspace&&) noexcept = default;
Workspace& Workspace::operator=(Workspace&&) noexcept = default;
std::size_t Workspace::bytes() const { return static_cast<std::size_t>(impl_->memory.size()); }

namespace {

template <class T>
using Result = BasicAttentionResult<compute_t<T>>;

// Work of a few microseconds: another thread would cost more than it does.
constexpr double kTinyProducts = 1 << 19;

int threads_of(const Geometry& g, int requested) {
  const double products = static_cast<double>(g.batch * g.heads) * static_cast<double>(g.queries) *
                          static_cast<double>(g.keys) * static_cast<double>(g.depth + g.value_depth);
  return resolve_threads(requested, products <= kTinyProducts);
}

template <class T>
bool forward(const View<const T, 4>& query, const View<const T, 4>& key, const View<const T, 4>& value,
             const AttentionOptions& options, Result<T>& result, Workspace& workspace,
             const KeyPages* pages = nullptr) {
  const Geometry g = check(query, key, value, options);
  const int threads = threads_of(g, options.threads);
  const Want& want = options.want;

  const auto fit = [](bool wanted, auto& array, auto shape) {
    if (!wanted) shape = {};
    if (array.shape() != shape || array.empty()) array = std::remove_reference_t<decltype(array)>(shape);
  };
  const Shape<3> rows{g.batch, g.heads, g.queries};
  const Shape<4> values{g.batch, g.heads, g.queries, g.value_depth},
      tops{g.batch, g.heads, g.queries, want.top};
  fit(true, result.out, values);
  fit(want.lse, result.lse, rows);
  fit(want.top > 0, result.top_weight, tops);
  fit(want.top > 0, result.top_key, tops);
  fit(want.entropy, result.entropy, rows);
  fit(want.largest, result.largest, rows);
  fit(want.received, result.received, Shape<3>{g.batch, g.heads, g.keys});
  fit(want.position, result.position, rows);
  fit(want.second_moment, result.second_moment, values);

  result.method = pages != nullptr ? Method::direct : choose_method(g, query, key, value, options, threads);
  if (result.method != Method::direct) {
    if constexpr (std::is_same_v<T, float>) run_points(g, query, key, value, options, threads, result);
    return true;
  }
  // The mass a key received needs the rows' lse, so it is a second pass.
  const bool lse_for_received = want.received && !want.lse;
  if (lse_for_received) fit(true, result.lse, rows);
  const bool finished = run_forward(g, query, key, value, options, threads, result, workspace, pages);
  if (want.received) {
    run_weights(g, query, key, options, threads, result.lse, &result.received,
                static_cast<Array<compute_t<T>, 4>*>(nullptr));
  }
  if (lse_for_received) result.lse = {};
  return finished;
}

template <class T>
BasicAttentionGradients<compute_t<T>> backward(const View<const T, 4>& query, const View<const T, 4>& key,
                                               const View<const T, 4>& value, const Result<T>& result,
                                               const Upstream<compute_t<T>>& upstream,
                                               const AttentionOptions& options) {
  const Geometry g = check(query, key, value, options);
  check_backward(g, result, upstream);
  return run_backward(g, query, key, value, options, threads_of(g, options.threads), result, upstream);
}

template <class T>
Array<compute_t<T>, 4> weights(const View<const T, 4>& query, const View<const T, 4>& key,
                               const AttentionOptions& options, std::size_t most_bytes) {
  using Real = compute_t<T>;
  // One column of zeros stands for the values; rows and heads do not move in it.
  const T zero{};
  const View<const T, 4> value(&zero, {key.shape[0], key.shape[1], key.shape[2], 1}, {0, 0, 0, 1});
  AttentionOptions lse_only = options;
  lse_only.want = {.lse = true};
  lse_only.dropout = {};
  const Geometry g = check(query, key, value, lse_only);
  check_weights_size(g, sizeof(Real), most_bytes);
  Result<T> result;
  Workspace workspace;
  forward(query, key, value, lse_only, result, workspace);
  Array<Real, 4> weights({g.batch, g.heads, g.queries, g.keys});
  run_weights(g, query, key, lse_only, threads_of(g, options.threads), result.lse,
              static_cast<Array<Real, 3>*>(nullptr), &weights);
  return weights;
}

}  // namespace

bool attend_pages(const View<const float, 4>& query, const View<const float, 4>& key,
                  const View<const float, 4>& value, const AttentionOptions& options, AttentionResult& result,
                  Workspace& workspace, const KeyPages& pages) {
  return forward(query, key, value, options, result, workspace, &pages);
}

#define KITH_DEFINE_ATTENTION(T)                                                                        \
  Array<compute_t<T>, 4> attend(View<const T, 4> query, View<const T, 4> key, View<const T, 4> value) { \
    return attend(query, key, value, AttentionOptions{}).out;                                           \
  }                                                                                                     \
  BasicAttentionResult<compute_t<T>> attend(View<const T, 4> query, View<const T, 4> key,               \
                                            View<const T, 4> value, const AttentionOptions& options) {  \
    Result<T> result;                                                                                   \
    Workspace workspace;                                                                                \
    forward(query, key, value, options, result, workspace);                                             \
    return result;                                                                                      \
  }                                                                                                     \
  void attend(View<const T, 4> query, View<const T, 4> key, View<const T, 4> value,                     \
              const AttentionOptions& options, BasicAttentionResult<compute_t<T>>& result,              \
              Workspace& workspace) {                                                                   \
    forward(query, key, value, options, result, workspace);                                             \
  }                                                                                                     \
  BasicAttentionGradients<compute_t<T>> attend_backward(                                                \
      View<const T, 4> query, View<const T, 4> key, View<const T, 4> value,                             \
      const BasicAttentionResult<compute_t<T>>& result, const Upstream<compute_t<T>>& upstream,         \
      const AttentionOptions& options) {                                                                \
    return backward(query, key, value, result, upstream, options);                                      \
  }                                                                                                     \
  BasicAttentionGradients<compute_t<T>> attend_backward(                                                \
      View<const T, 4> query, View<const T, 4> key, View<const T, 4> value,                             \
      const BasicAttentionResult<compute_t<T>>& result, View<const compute_t<T>, 4> d_out,              \
      const AttentionOptions& options, View<const compute_t<T>, 3> d_lse) {                             \
    const Upstream<compute_t<T>> upstream{.out = d_out, .lse = d_lse};                                  \
    return backward(query, key, value, result, upstream, options);                                      \
  }                                                                                                     \
  Array<compute_t<T>, 4> attention_weights(View<const T, 4> query, View<const T, 4> key,                \
                                           const AttentionOptions& options, std::size_t most_bytes) {   \
    return weights(query, key, options, most_bytes);                                                    \
  }

KITH_DEFINE_ATTENTION(float)
KITH_DEFINE_ATTENTION(double)
KITH_DEFINE_ATTENTION(bfloat16)
KITH_DEFINE_ATTENTION(float16)
#undef KITH_DEFINE_ATTENTION

}  // namespace kith
