#include "attention/geometry.h"

#include <fmt/format.h>

#include "attention/checks.h"

namespace kith {

using checks::check_array;
using checks::check_contiguous;
using checks::check_memory;
using checks::check_size;

namespace {

template <class T>
void check_rows(const char* name, const View<const T, 4>& x) {
  check_memory(name, x);
  check_contiguous(name, x);
}

/// Bilinear and additive forms have matrices between queries and keys, which then have columns of their own.
bool own_key_depth(const Similarity& similarity) {
  return std::holds_alternative<Bilinear>(similarity) || std::holds_alternative<Additive>(similarity);
}

}  // namespace

template <class T>
Geometry check(const View<const T, 4>& query, const View<const T, 4>& key, const View<const T, 4>& value,
               const AttentionOptions& options) {
  check_rows("query", query);
  check_rows("key", key);
  check_rows("value", value);
  const Geometry g{query.shape[0], query.shape[1], key.shape[1],   query.shape[2],
                   key.shape[2],   query.shape[3], value.shape[3], key.shape[3]};
  if (g.depth < 1) throw Error("query: 0 columns; it needs at least 1");
  if (g.key_depth < 1) throw Error("key: 0 columns; it needs at least 1");
  if (g.value_depth < 1) throw Error("value: 0 columns; it needs at least 1");
  if (key.shape[0] != g.batch)
    throw Error(fmt::format("key: batch is {}; it needs query's {}", key.shape[0], g.batch));
  if (value.shape[0] != g.batch)
    throw Error(fmt::format("value: batch is {}; it needs query's {}", value.shape[0], g.batch));
  if (g.key_heads < 1 ? g.heads > 0 : g.heads % g.key_heads != 0)
    throw Error(fmt::format("key: {} heads do not divide query's {}", g.key_heads, g.heads));
  if (value.shape[1] != g.key_heads)
    throw Error(fmt::format("value: {} heads; it needs key's {}", value.shape[1], g.key_heads));
  if (g.key_depth != g.depth && !own_key_depth(options.similarity))
    throw Error(fmt::format("key: {} columns; it needs query's {}", g.key_depth, g.depth));
  if (value.shape[2] != g.keys)
    throw Error(fmt::format("value: {} rows; it needs key's {}", value.shape[2], g.keys));

  checks::check_options(options, g);
  check_mask(options.mask, g.batch, g.heads, g.queries, g.keys);
  // Results are dense, also where the inputs repeat rows with strides of 0.
  check_size("out", {g.batch, g.heads, g.queries, g.value_depth});
  if (options.want.top > 0) check_size("top", {g.batch, g.heads, g.queries, options.want.top});
  if (options.want.received) check_size("received", {g.batch, g.heads, g.keys});
  return g;
}

template Geometry check(const View<const float, 4>&, const View<const float, 4>&, const View<const float, 4>&,
                        const AttentionOptions&);
template Geometry check(const View<const double, 4>&, const View<const double, 4>&,
                        const View<const double, 4>&, const AttentionOptions&);
template Geometry check(const View<const bfloat16, 4>&, const View<const bfloat16, 4>&,
                        const View<const bfloat16, 4>&, const AttentionOptions&);
template Geometry check(const View<const float16, 4>&, const View<const float16, 4>&,
                        const View<const float16, 4>&, const AttentionOptions&);

template <class Real>
void check_backward(const Geometry& g, const BasicAttentionResult<Real>& result,
                    const Upstream<Real>& upstream) {
  const auto check_result = [](const char* name, const char* want, const auto& array,
                               std::initializer_list<checks::Axis> needed) {
    Index count = 1;
    for (const checks::Axis& axis : needed) count *= axis.extent;
    if (count == 0) return;
    if (array.empty())
      throw Error(fmt::format("{}: empty; the forward call needs want.{} = true", name, want));
    checks::check_shape(name, array.shape(), needed);
  };
  const std::initializer_list<checks::Axis> row{{g.batch}, {g.heads}, {g.queries}};
  const std::initializer_list<checks::Axis> values{{g.batch}, {g.heads}, {g.queries}, {g.value_depth}};

  check_array("d_out", upstream.out, values);
  check_contiguous("d_out", upstream.out);
  checks::check_shape("result.out", result.out.shape(), values);
  check_result("result.lse", "lse", result.lse, row);
  if (checks::given(upstream.lse)) check_array("d_lse", upstream.lse, row);
  if (checks::given(upstream.entropy)) {
    check_array("d_entropy", upstream.entropy, row);
    check_result("result.entropy", "entropy", result.entropy, row);
  }
  if (checks::given(upstream.second_moment)) {
    check_array("d_second_moment", upstream.second_moment, values);
    check_contiguous("d_second_moment", upstream.second_moment);
    check_result("result.second_moment", "second_moment", result.second_moment, values);
  }
}

template void check_backward(const Geometry&, const BasicAttentionResult<float>&, const Upstream<float>&);
template void check_backward(const Geometry&, const BasicAttentionResult<double>&, const Upstream<double>&);

void check_weights_size(const Geometry& g, std::size_t element_bytes, std::size_t most_bytes) {
  check_size("weights", {g.batch, g.heads, g.queries, g.keys});
  const std::size_t bytes = static_cast<std::size_t>(g.batch * g.heads * g.queries * g.keys) * element_bytes;
  if (bytes > most_bytes) {
    throw Error(fmt::format("weights: [{}, {}, {}, {}] are {} bytes; it needs most_bytes ({}) to allow them",
                            g.batch, g.heads, g.queries, g.keys, bytes, most_bytes));
  }
}

}  // namespace kith
