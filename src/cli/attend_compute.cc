#include "cli/attend_compute.h"

#include <algorithm>

#include <fmt/format.h>

#include "kith/derivatives.h"

namespace kith::cli {
namespace {

/// What the similarity calls its one number; nothing if it has none.
std::string parameter_name(const Similarity& similarity) {
  struct Name {
    std::string operator()(const Dot&) const { return "scale"; }
    std::string operator()(const Cosine&) const { return "temperature"; }
    std::string operator()(const Gaussian&) const { return "bandwidth"; }
    std::string operator()(const Euclidean&) const { return "temperature"; }
    std::string operator()(const Laplace&) const { return "bandwidth"; }
    std::string operator()(const Compact&) const { return "bandwidth"; }
    std::string operator()(const InverseDistance&) const { return "power"; }
    std::string operator()(const Bilinear&) const { return "scale"; }
    std::string operator()(const Additive&) const { return ""; }
    std::string operator()(const Uniform&) const { return ""; }
  };
  return std::visit(Name{}, similarity);
}

/// The gradient with respect to what --query-weight gives is d_query_weight.
std::string gradient_name(const std::string& option) {
  std::string name = fmt::format("d_{}", option.substr(2));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

template <class T>
void write_outputs(const AttendOptions& given, AttendArrays& arrays,
                   BasicAttentionResult<compute_t<T>> result, OutputFiles& files) {
  const OutputArguments& outputs = given.outputs;
  const std::size_t rank = arrays.shape("--query").size();
  files.add("out", std::move(result.out), rank);
  if (outputs.lse) files.add("lse", std::move(result.lse), rank - 1);
  if (outputs.entropy) files.add("entropy", std::move(result.entropy), rank - 1);
  if (outputs.largest) files.add("largest", std::move(result.largest), rank - 1);
  if (outputs.top > 0) {
    files.add("top_weight", std::move(result.top_weight), rank);
    files.add("top_key", std::move(result.top_key), rank);
  }
  if (outputs.received) files.add("received", std::move(result.received), rank - 1);
  if (outputs.position) files.add("position", std::move(result.position), rank - 1);
  if (outputs.second_moment) files.add("second_moment", std::move(result.second_moment), rank);
  if (outputs.weights) {
    files.add("weights",
              attention_weights(arrays.view<T, 4>("--query"), arrays.view<T, 4>("--key"), arrays.options(),
                                outputs.weights_limit),
              rank);
  }
}

template <class T>
void write_gradients(AttendArrays& arrays, const BasicAttentionResult<compute_t<T>>& result,
                     OutputFiles& files) {
  using Real = compute_t<T>;
  const AttentionOptions& options = arrays.options();
  const Upstream<Real> upstream{.out = arrays.view<Real, 4>("--gradient"),
                                .lse = arrays.view<Real, 3>("--gradient-lse"),
                                .entropy = arrays.view<Real, 3>("--gradient-entropy"),
                                .second_moment = arrays.view<Real, 4>("--gradient-second-moment"),
                                .bias = options.bias.has_array()};
  BasicAttentionGradients<Real> gradients =
      attend_backward(arrays.view<T, 4>("--query"), arrays.view<T, 4>("--key"), arrays.view<T, 4>("--value"),
                      result, upstream, options);
  const auto add = [&](const std::string& option, auto& gradient) {
    if (arrays.has(option)) files.add(gradient_name(option), std::move(gradient), arrays.shape(option));
  };
  add("--query", gradients.query);
  add("--key", gradients.key);
  add("--value", gradients.value);
  if (const std::string name = parameter_name(options.similarity); !name.empty())
    files.add(fmt::format("d_{}", name), gradients.parameter);
  add("--column-bandwidths", gradients.column_bandwidth);
  add("--metric-matrix", gradients.metric);
  add("--query-bandwidths", gradients.query_bandwidth);
  add("--key-bandwidths", gradients.key_bandwidth);
  add("--matrix", gradients.bilinear);
  add("--query-weight", gradients.query_weight);
  add("--key-weight", gradients.key_weight);
  add("--score", gradients.score);
  if (options.soft_cap > 0) files.add("d_soft_cap", gradients.soft_cap);
  add(arrays.bias_option(), gradients.bias);
  add("--relative", gradients.relative);
  add("--t5", gradients.t5);
  if (!options.bias.alibi.empty()) files.add("d_alibi", gradients.alibi);
  if (!options.sink.empty()) files.add("d_sink", gradients.sink);
}

/// Derivatives along a direction: of the outputs and, where an upstream gradient is given, of the gradients.
void write_tangents(const AttendOptions& given, AttendArrays& arrays, OutputFiles& files) {
  const auto query = arrays.view<double, 4>("--query");
  const auto key = arrays.view<double, 4>("--key");
  const auto value = arrays.view<double, 4>("--value");
  const Tangent tangent{.query = arrays.view<double, 4>("--tangent-query"),
                        .key = arrays.view<double, 4>("--tangent-key"),
                        .value = arrays.view<double, 4>("--tangent-value"),
                        .parameter = given.derivatives.tangent_parameter.value_or(0)};
  ResultTangent result = attend_jvp(query, key, value, tangent, arrays.options());
  const std::size_t rank = arrays.shape("--query").size();
  files.add("jvp_out", std::move(result.out), rank);
  files.add("jvp_lse", std::move(result.lse), rank - 1);
  if (!arrays.has("--gradient")) return;
  GradientTangent gradient =
      attend_backward_jvp(query, key, value, arrays.view<double, 4>("--gradient"), tangent,
                          arrays.view<double, 4>("--tangent-gradient"), arrays.options());
  files.add("jvp_d_query", std::move(gradient.query), arrays.shape("--query"));
  files.add("jvp_d_key", std::move(gradient.key), arrays.shape("--key"));
  files.add("jvp_d_value", std::move(gradient.value), arrays.shape("--value"));
  if (const std::string name = parameter_name(arrays.options().similarity); !name.empty())
    files.add(fmt::format("jvp_d_{}", name), gradient.parameter);
}

template <class T>
Method compute_as(const AttendOptions& given, AttendArrays& arrays, OutputFiles& files) {
  BasicAttentionResult<compute_t<T>> result = attend(arrays.view<T, 4>("--query"), arrays.view<T, 4>("--key"),
                                                     arrays.view<T, 4>("--value"), arrays.options());
  const Method method = result.method;
  if (!arrays.has("--gradient")) {
    write_outputs<T>(given, arrays, std::move(result), files);
  } else {
    write_outputs<T>(given, arrays, result, files);
    write_gradients<T>(arrays, result, files);
  }
  if (given.derivatives.tangent()) write_tangents(given, arrays, files);
  return method;
}

}  // namespace

Method compute(const AttendOptions& given, AttendArrays& arrays, OutputFiles& files) {
  switch (arrays.dtype()) {
    case Dtype::float64:
      return compute_as<double>(given, arrays, files);
    case Dtype::bfloat16:
      return compute_as<bfloat16>(given, arrays, files);
    case Dtype::float16:
      return compute_as<float16>(given, arrays, files);
    default:
      return compute_as<float>(given, arrays, files);
  }
}

}  // namespace kith::cli
