// The public calls: check, lower, run.
#include "kith/attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include "array/threads.h"
#include "attention/geometry.h"
#include "attention/run.h"
#include "attention/workspace.h"

namespace kith {
namespace {

Lowered lower_checked(const Similarity& similarity, Index depth) {
  const Lowered lowered = lower(similarity, depth);
  if (!std::isfinite(lowered.factor2())) {
    throw Error(fmt::format(
        "similarity: a factor of {} on the logits is beyond float32; it needs a larger bandwidth or "
        "temperature, or a smaller scale",
        lowered.factor));
  }
  return lowered;
}

std::string shape_text(std::span<const Index> shape) {
  std::string text = "[";
  for (const Index extent : shape) text += fmt::format("{}{}", text.size() > 1 ? ", " : "", extent);
  return text + "]";
}

void check_same_shape(const char* name, std::span<const Index> got, std::span<const Index> needed) {
  if (!std::equal(got.begin(), got.end(), needed.begin(), needed.end())) {
    throw Error(fmt::format("{}: shape {}; it needs {}", name, shape_text(got), shape_text(needed)));
  }
}

}  // namespace

Workspace::Workspace() : impl_(std::make_unique<Impl>()) {}
Workspace::~Workspace() = default;
Workspace::Workspace(Workspace&&) noexcept = default;
Workspace& Workspace::operator=(Workspace&&) noexcept = default;
std::size_t Workspace::bytes() const { return static_cast<std::size_t>(impl_->memory.size()); }

Array<float, 4> attend(View<const float, 4> query, View<const float, 4> key, View<const float, 4> value) {
  return attend(query, key, value, AttentionOptions{}).out;
}

AttentionResult attend(View<const float, 4> query, View<const float, 4> key, View<const float, 4> value,
                       const AttentionOptions& options) {
  AttentionResult result;
  Workspace workspace;
  attend(query, key, value, options, result, workspace);
  return result;
}

void attend(View<const float, 4> query, View<const float, 4> key, View<const float, 4> value,
            const AttentionOptions& options, AttentionResult& result, Workspace& workspace) {
  const Geometry g = check(query, key, value, options.similarity, options.mask);
  check_want(options.want, g);
  const Lowered lowered = lower_checked(options.similarity, g.depth);
  const int threads = resolve_threads(options.threads);

  const auto fit = [](auto& array, const auto& shape) {
    if (array.shape() != shape || array.empty()) array = std::remove_reference_t<decltype(array)>(shape);
  };
  const Index top = options.want.top;
  fit(result.out, Shape<4>{g.batch, g.heads, g.queries, g.value_depth});
  fit(result.lse, options.want.lse ? Shape<3>{g.batch, g.heads, g.queries} : Shape<3>{});
  fit(result.top_weight, top > 0 ? Shape<4>{g.batch, g.heads, g.queries, top} : Shape<4>{});
  fit(result.top_key, top > 0 ? Shape<4>{g.batch, g.heads, g.queries, top} : Shape<4>{});
  run_forward(g, query, key, value, lowered, options.mask, top, threads, result, workspace);
}

AttentionGradients attend_backward(View<const float, 4> query, View<const float, 4> key,
                                   View<const float, 4> value, const AttentionResult& result,
                                   View<const float, 4> d_out, const AttentionOptions& options,
                                   View<const float, 3> d_lse) {
  const Geometry g = check(query, key, value, options.similarity, options.mask);
  const Lowered lowered = lower_checked(options.similarity, g.depth);
  const Shape<4> out_shape{g.batch, g.heads, g.queries, g.value_depth};
  const Shape<3> lse_shape{g.batch, g.heads, g.queries};
  check_same_shape("d_out", d_out.shape, out_shape);
  if (!d_out.empty() && d_out.data == nullptr) throw Error("d_out: no data (a null pointer)");
  if (!d_out.empty() && d_out.shape[3] > 1 && d_out.stride[3] != 1) {
    throw Error(fmt::format("d_out: the last axis has stride {}; it needs 1 (contiguous)", d_out.stride[3]));
  }
  check_same_shape("result.out", result.out.shape(), out_shape);
  if (result.lse.empty() && element_count<3>(lse_shape) > 0) {
    throw Error("result.lse: empty; the forward call needs want.lse = true");
  }
  if (!result.lse.empty()) check_same_shape("result.lse", result.lse.shape(), lse_shape);
  if (d_lse.data == nullptr && d_lse.shape != Shape<3>{} && !d_lse.empty())
    throw Error("d_lse: no data (a null pointer)");
  if (d_lse.data != nullptr) check_same_shape("d_lse", d_lse.shape, lse_shape);

  AttentionGradients gradients;
  gradients.query = Array<float, 4>(query.shape);
  gradients.key = Array<float, 4>(key.shape);
  gradients.value = Array<float, 4>(value.shape);
  const double d_factor = run_backward(g, query, key, value, lowered, options.mask, result, d_out, d_lse,
                                       resolve_threads(options.threads), gradients);
  // The chain from the factor on the logits to the similarity's own number.
  if (std::holds_alternative<Dot>(options.similarity)) {
    gradients.parameter = d_factor;
  } else if (const auto* cosine = std::get_if<Cosine>(&options.similarity)) {
    gradients.parameter = -d_factor / (cosine->temperature * cosine->temperature);
  } else if (const auto* gaussian = std::get_if<Gaussian>(&options.similarity)) {
    gradients.parameter = d_factor / (gaussian->bandwidth * gaussian->bandwidth * gaussian->bandwidth);
  } else if (const auto* euclidean = std::get_if<Euclidean>(&options.similarity)) {
    gradients.parameter = d_factor / (euclidean->temperature * euclidean->temperature);
  }
  return gradients;
}

}  // namespace kith
