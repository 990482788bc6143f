// The options of a call, but the mask, against its sizes.
#include <fmt/format.h>

#include <cmath>

#include "attention/checks.h"
#include "attention/rotation.h"

namespace kith::checks {
namespace {

void check_similarity(const Dot& s, const Geometry&) {
  if (s.scale) check_number("scale", *s.scale, Numbers::finite);
}
void check_similarity(const Cosine& s, const Geometry&) {
  check_number("temperature", s.temperature, Numbers::positive);
}
void check_similarity(const Gaussian& s, const Geometry&) {
  check_number("bandwidth", s.bandwidth, Numbers::positive);
}
void check_similarity(const Euclidean& s, const Geometry&) {
  check_number("temperature", s.temperature, Numbers::positive);
}
void check_similarity(const Laplace& s, const Geometry&) {
  check_number("bandwidth", s.bandwidth, Numbers::positive);
}
void check_similarity(const Compact& s, const Geometry&) {
  if (s.kernel < CompactKernel::epanechnikov || s.kernel > CompactKernel::tricube) {
    throw Error(
        fmt::format("kernel: number {}; it needs to be one of CompactKernel", static_cast<int>(s.kernel)));
  }
  check_number("bandwidth", s.bandwidth, Numbers::positive);
}
void check_similarity(const InverseDistance& s, const Geometry&) {
  check_number("power", s.power, Numbers::positive);
}
void check_similarity(const Bilinear& s, const Geometry& g) {
  check_array("bilinear.matrix", s.matrix, {{g.depth}, {g.key_depth}});
  check_numbers("bilinear.matrix", s.matrix, Numbers::finite);
  check_number("scale", s.scale, Numbers::finite);
}
void check_similarity(const Additive& s, const Geometry& g) {
  const Index units = s.score.shape[0];
  if (units < 1) throw Error(fmt::format("additive.score: {} numbers; it needs at least 1", units));
  check_array("additive.query_weight", s.query_weight, {{units}, {g.depth}});
  check_array("additive.key_weight", s.key_weight, {{units}, {g.key_depth}});
  check_memory("additive.score", s.score);
  check_size("additive: the mapped queries", {g.batch, g.heads, g.queries, units});
  check_size("additive: the mapped keys", {g.batch, g.key_heads, g.keys, units});
  check_numbers("additive.query_weight", s.query_weight, Numbers::finite);
  check_numbers("additive.key_weight", s.key_weight, Numbers::finite);
  check_numbers("additive.score", s.score, Numbers::finite);
}
void check_similarity(const Uniform&, const Geometry&) {}

const char* name(const Similarity& similarity) {
  static constexpr const char* kNames[] = {"dot",     "cosine",           "Gaussian", "Euclidean", "Laplace",
                                           "compact", "inverse distance", "bilinear", "additive",  "uniform"};
  static_assert(std::variant_size_v<Similarity> == std::size(kNames));
  return kNames[similarity.index()];
}

template <class... Kinds>
bool is_any(const Similarity& similarity) {
  return (std::holds_alternative<Kinds>(similarity) || ...);
}

void check_metric(const AttentionOptions& options, const Geometry& g) {
  const LearnedMetric& metric = options.metric;
  const bool columns = !metric.column_bandwidth.empty(), matrix = given(metric.matrix);
  if (!columns && !matrix) return;
  if (columns && matrix)
    throw Error("metric: column bandwidths and a matrix are given; it needs one of the two");
  if (is_any<Bilinear, Additive, Uniform>(options.similarity)) {
    throw Error(fmt::format("metric: given with {} similarity; it needs dot, cosine or a distance",
                            name(options.similarity)));
  }
  if (columns) {
    if (std::ssize(metric.column_bandwidth) != g.depth) {
      throw Error(
          fmt::format("metric.column_bandwidth: {} numbers; it needs one for each of query's {} columns",
                      metric.column_bandwidth.size(), g.depth));
    }
    for (const double x : metric.column_bandwidth)
      check_number("metric.column_bandwidth", x, Numbers::positive);
    return;
  }
  check_array("metric.matrix", metric.matrix, {{g.depth}, {-1}});
  const Index rank = metric.matrix.shape[1];
  if (rank < 1) throw Error("metric.matrix: 0 columns; it needs at least 1");
  check_size("metric: the mapped queries", {g.batch, g.heads, g.queries, rank});
  check_size("metric: the mapped keys", {g.batch, g.key_heads, g.keys, rank});
  check_numbers("metric.matrix", metric.matrix, Numbers::finite);
}

void check_adaptive(const AttentionOptions& options, const Geometry& g) {
  const AdaptiveBandwidth& adaptive = options.adaptive;
  if (!given(adaptive.query) && !given(adaptive.key)) return;
  if (is_any<Additive, Uniform>(options.similarity)) {
    throw Error(
        fmt::format("adaptive: given with {} similarity; it needs one with a bandwidth, temperature or scale",
                    name(options.similarity)));
  }
  const auto check_side = [&](const char* side, const View<const double, 3>& x, Index heads, Index rows) {
    if (!given(x)) return;
    check_array(side, x, {{g.batch, true}, {heads, true}, {rows}});
    check_numbers(side, x, Numbers::positive);
  };
  check_side("adaptive.query", adaptive.query, g.heads, g.queries);
  check_side("adaptive.key", adaptive.key, g.key_heads, g.keys);
}

void check_rotary(const Rotary& rotary, const Geometry& g) {
  kith::check_rotary(rotary, "query", g.depth);
  kith::check_rotary(rotary, "key", g.key_depth);
  if (given(rotary.query_position)) {
    check_array("rotary.query_position", rotary.query_position, {{g.batch, true}, {g.queries}});
  }
  if (given(rotary.key_position)) {
    check_array("rotary.key_position", rotary.key_position, {{g.batch, true}, {g.keys}});
  }
}

void check_bias(const Bias& bias, const Geometry& g) {
  const std::initializer_list<Axis> pairs{
      {g.batch, true}, {g.heads, true}, {g.queries, true}, {g.keys, true}};
  if (given(bias.array) && given(bias.array64))
    throw Error("bias: array and array64 are given; it needs one of the two");
  if (given(bias.array)) check_array("bias.array", bias.array, pairs);
  if (given(bias.array64)) check_array("bias.array64", bias.array64, pairs);
  if (bias.relative) {
    const auto& [table, left] = *bias.relative;
    check_array("bias.relative.table", table, {{g.heads, true}, {-1}});
    if (left < 0 || left >= table.shape[1]) {
      throw Error(fmt::format("bias.relative.left: {}; it needs to be one of the table's {} columns", left,
                              table.shape[1]));
    }
    check_numbers("bias.relative.table", table, Numbers::finite);
  }
  if (bias.t5) {
    const T5Buckets& t5 = *bias.t5;
    check_array("bias.t5.table", t5.table, {{g.heads, true}, {-1}});
    const Index buckets = t5.table.shape[1];
    if (buckets < 2 || (t5.bidirectional && buckets % 2 != 0)) {
      throw Error(fmt::format("bias.t5.table: {} buckets; it needs at least 2{}", buckets,
                              t5.bidirectional ? ", an even number for both directions" : ""));
    }
    const Index exact = (t5.bidirectional ? buckets / 2 : buckets) / 2;
    if (t5.max_distance <= exact) {
      throw Error(fmt::format("bias.t5.max_distance: {}; it needs to be above the {} exact distances",
                              t5.max_distance, exact));
    }
    check_numbers("bias.t5.table", t5.table, Numbers::finite);
  }
  if (!bias.alibi.empty() && bias.alibi.size() != 1 && std::ssize(bias.alibi) != g.heads) {
    throw Error(fmt::format("bias.alibi: {} slopes; it needs 1 or one for each of query's {} heads",
                            bias.alibi.size(), g.heads));
  }
  for (const double x : bias.alibi) check_number("bias.alibi", x, Numbers::finite);
  check_offset("bias.offset", bias.offset);
}

void check_sink(const std::vector<double>& sink, const Geometry& g) {
  if (!sink.empty() && sink.size() != 1 && std::ssize(sink) != g.heads) {
    throw Error(
        fmt::format("sink: {} logits; it needs 1 or one for each of query's {} heads", sink.size(), g.heads));
  }
  for (const double x : sink) {
    if (std::isnan(x) || x == HUGE_VAL)
      throw Error(fmt::format("sink: {}; it needs to be a finite number or -inf", x));
  }
}

}  // namespace

void check_options(const AttentionOptions& options, const Geometry& g) {
  std::visit([&](const auto& s) { check_similarity(s, g); }, options.similarity);
  check_metric(options, g);
  check_adaptive(options, g);
  if (options.rotary) check_rotary(*options.rotary, g);
  if (!std::isfinite(options.soft_cap) || options.soft_cap < 0) {
    throw Error(fmt::format("soft_cap: {}; it needs to be a finite positive number, or 0 for none",
                            options.soft_cap));
  }
  check_bias(options.bias, g);
  check_sink(options.sink, g);
  const Dropout& dropout = options.dropout;
  if (!(dropout.rate >= 0 && dropout.rate < 1))
    throw Error(fmt::format("dropout.rate: {}; it needs to be at least 0 and below 1", dropout.rate));
  check_offset("dropout.first_batch", dropout.first_batch);
  check_least("dropout.first_batch", dropout.first_batch, 0);
  if (options.want.top < 0)
    throw Error(fmt::format("top: {} is negative; it needs 0 to key's {} rows", options.want.top, g.keys));
  if (options.want.top > g.keys)
    throw Error(fmt::format("top: {} is more than key's {} rows", options.want.top, g.keys));
  if (options.threads < 0)
    throw Error(fmt::format("threads: {} is negative; it needs a number, or 0 for all", options.threads));
}

}  // namespace kith::checks
