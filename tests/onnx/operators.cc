#include "onnx/operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <type_traits>
#include <utility>

#include "kith/attention.h"
#include "kith/cache.h"

namespace kith::test::onnx {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

const Tensor& needed(const Case& c, std::size_t place) {
  const Tensor* tensor = c.input(place);
  if (!tensor) throw Error(fmt::format("{}: input {} is missing", c.name, place));
  return *tensor;
}

void refuse_unknown_attributes(const Case& c, const std::set<std::string>& known) {
  for (const auto& [name, attribute] : c.node.attributes) {
    if (!known.contains(name)) throw Error(fmt::format("{}: attribute {} has no translation", c.name, name));
  }
}

/// A tensor with axes as the operator has them, batch, head, row, column. ONNX's inputs of three axes hold
/// the heads side by side, [B, L, H D]: a strided view of the same memory.
template <class T>
struct Heads {
  Array<T, 1> values;
  View<const T, 4> view;

  Heads(const Heads&) = delete;  // the view would stay with the other's memory
  Heads(const Tensor& tensor, Index heads) : values(tensor.values<T>()) {
    const std::vector<Index>& s = tensor.shape;
    if (s.size() == 4) {
      view = {values.data(), {s[0], s[1], s[2], s[3]}};
    } else if (s.size() == 3 && heads > 0 && s[2] % heads == 0) {
      const Index depth = s[2] / heads;
      view = {values.data(), {s[0], heads, s[1], depth}, {s[1] * s[2], depth, s[2], 1}};
    } else {
      throw Error(fmt::format("{}: {} axes and {} heads; needs 4 axes, or 3 that hold heads", tensor.name,
                              s.size(), heads));
    }
  }
};

template <class To, class T>
Array<To, 4> dense(View<const T, 4> view) {
  Array<To, 4> result(view.shape);
  To* to = result.data();
  for (Index b = 0; b < view.shape[0]; ++b)
    for (Index h = 0; h < view.shape[1]; ++h)
      for (Index i = 0; i < view.shape[2]; ++i)
        for (Index c = 0; c < view.shape[3]; ++c) *to++ = static_cast<To>(view(b, h, i, c));
  return result;
}

/// The rows of `past`, then those of `fresh`; without a past, `fresh`.
template <class T>
Array<T, 4> appended(const Tensor* past, View<const T, 4> fresh) {
  if (!past) return dense<T>(fresh);
  const Heads<T> before(*past, 0);
  const Index past_length = before.view.shape[2];
  Shape<4> shape = fresh.shape;
  shape[2] += past_length;
  Array<T, 4> result(shape);
  T* to = result.data();
  for (Index b = 0; b < shape[0]; ++b)
    for (Index h = 0; h < shape[1]; ++h)
      for (Index i = 0; i < shape[2]; ++i)
        for (Index c = 0; c < shape[3]; ++c)
          *to++ = i < past_length ? before.view(b, h, i, c) : fresh(b, h, i - past_length, c);
  return result;
}

/// Rounds to the type T, as ONNX's outputs are stored.
template <class T, class Real>
Output output(const Array<Real, 4>& array) {
  Output result;
  result.shape.assign(array.shape().begin(), array.shape().end());
  for (const Real x : array) result.values.push_back(static_cast<double>(static_cast<T>(x)));
  return result;
}

/// [B, H, L, D] with the heads side by side again: [B, L, H D].
Output heads_joined(const Output& by_head) {
  const Index batch = by_head.shape[0], heads = by_head.shape[1], rows = by_head.shape[2],
              depth = by_head.shape[3];
  Output result;
  result.shape = {batch, rows, heads * depth};
  for (Index b = 0; b < batch; ++b)
    for (Index i = 0; i < rows; ++i)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < depth; ++c)
          result.values.push_back(
              by_head.values[static_cast<std::size_t>(((b * heads + h) * rows + i) * depth + c)]);
  return result;
}

/// A mask's axes stand below the logits' last ones, and one shorter than all keys goes on with `beyond`.
template <class To, class From>
Array<To, 4> four_axes(const Tensor& mask, Index keys, To beyond) {
  Shape<4> shape{1, 1, 1, 1};
  if (mask.shape.empty() || mask.shape.size() > 4 || mask.shape.back() > keys)
    throw Error(
        fmt::format("{}: {} axes; needs 1 to 4, the last at most {}", mask.name, mask.shape.size(), keys));
  std::copy_backward(mask.shape.begin(), mask.shape.end(), shape.end());
  const Index given = std::exchange(shape[3], keys);
  const Array<From, 1> values = mask.values<From>();
  Array<To, 4> result(shape);
  for (Index k = 0; k < result.size(); ++k) {
    const Index row = k / keys, j = k % keys;
    result.data()[k] = j < given ? static_cast<To>(values.data()[row * given + j]) : beyond;
  }
  return result;
}

/// The options of a call with the memory that they point into.
template <class Real>
struct Call {
  AttentionOptions options;
  Array<Real, 4> bias;
  Array<bool, 4> allowed;
  Array<double, 2> relative;

  void set_bias(Array<Real, 4> array) {
    bias = std::move(array);
    if constexpr (std::is_same_v<Real, double>)
      options.bias.array64 = bias;
    else
      options.bias.array = bias;
  }
};

template <class T>
void add_mask(Call<compute_t<T>>& call, const Tensor& mask, Index keys) {
  using Real = compute_t<T>;
  if (mask.dtype == Dtype::boolean) {
    call.allowed = four_axes<bool, bool>(mask, keys, false);
    call.options.mask.allowed = call.allowed;
  } else {
    call.set_bias(four_axes<Real, T>(mask, keys, static_cast<Real>(-kInfinity)));
  }
}

/// Every pair's logit, from what the operator gives: its weights and their denominators.
template <class T>
Array<compute_t<T>, 4> logits(View<const T, 4> query, View<const T, 4> key, View<const T, 4> value,
                              AttentionOptions options) {
  options.want = {.lse = true};
  const auto lse = attend(query, key, value, options).lse;
  auto weight = attention_weights(query, key, options);
  const Shape<4>& s = weight.shape();
  for (Index b = 0; b < s[0]; ++b)
    for (Index h = 0; h < s[1]; ++h)
      for (Index i = 0; i < s[2]; ++i)
        for (Index j = 0; j < s[3]; ++j) weight(b, h, i, j) = std::log(weight(b, h, i, j)) + lse(b, h, i);
  return weight;
}

template <class T>
Output inspected(std::int64_t mode, View<const T, 4> query, View<const T, 4> key, View<const T, 4> value,
                 const AttentionOptions& options) {
  AttentionOptions without_mask{.similarity = options.similarity};
  switch (mode) {
    case 0:
      return output<T>(logits(query, key, value, without_mask));
    case 1:
      without_mask.soft_cap = options.soft_cap;
      return output<T>(logits(query, key, value, without_mask));
    case 2:
      return output<T>(logits(query, key, value, options));
    case 3:
      return output<T>(attention_weights(query, key, options));
    default:
      throw Error(fmt::format("qk_matmul_output_mode: {}; needs 0 to 3", mode));
  }
}

void set_scale(AttentionOptions& options, const Node& node) {
  if (const auto scale = node.number("scale")) options.similarity = Dot{.scale = static_cast<double>(*scale)};
}

/// What Attention's attributes, mask and lengths say for so many keys; with is_causal, query i sees keys
/// j <= i + causal_offset.
template <class T>
void set_options(Call<compute_t<T>>& call, const Case& c, Index causal_offset, Index keys) {
  refuse_unknown_attributes(
      c, {"scale", "softcap", "is_causal", "q_num_heads", "kv_num_heads", "qk_matmul_output_mode"});
  set_scale(call.options, c.node);
  call.options.soft_cap = static_cast<double>(c.node.number("softcap").value_or(0.0F));
  if (c.node.integer("is_causal").value_or(0) != 0) call.options.mask.causal_offset = causal_offset;
  if (const Tensor* mask = c.input(3)) add_mask<T>(call, *mask, keys);
  if (const Tensor* lengths = c.input(6)) {
    const Array<std::int64_t, 1> length = lengths->values<std::int64_t>();
    call.options.mask.key_length.assign(length.begin(), length.end());
  }
}

/// Attention's Q, K and V.
template <class T>
struct Inputs {
  Heads<T> query, key, value;

  explicit Inputs(const Case& c)
      : query(needed(c, 0), c.node.integer("q_num_heads").value_or(0)),
        key(needed(c, 1), c.node.integer("kv_num_heads").value_or(0)),
        value(needed(c, 2), c.node.integer("kv_num_heads").value_or(0)) {}
};

/// With the heads side by side where the first input has them so.
Output in_layout_of_input(const Case& c, const Output& out) {
  return needed(c, 0).shape.size() == 3 ? heads_joined(out) : out;
}

template <class T>
std::vector<Output> attention(const Case& c) {
  const Inputs<T> in(c);
  const Tensor* past_key = c.input(4);
  const Tensor* past_value = c.input(5);
  const Array<T, 4> all_keys = appended(past_key, in.key.view);
  const Array<T, 4> all_values = appended(past_value, in.value.view);
  // Without a past the views go in as they are, strided where ONNX's inputs have three axes.
  const View<const T, 4> key = past_key ? all_keys.view() : in.key.view;
  const View<const T, 4> value = past_value ? all_values.view() : in.value.view;
  Call<compute_t<T>> call;
  set_options<T>(call, c, key.shape[2] - in.key.view.shape[2], key.shape[2]);

  std::vector<Output> outputs;
  if (c.output(0))
    outputs.push_back(in_layout_of_input(c, output<T>(attend(in.query.view, key, value, call.options).out)));
  if (c.output(1)) outputs.push_back(output<T>(all_keys));
  if (c.output(2)) outputs.push_back(output<T>(all_values));
  if (c.output(3))
    outputs.push_back(inspected<T>(c.node.integer("qk_matmul_output_mode").value_or(0), in.query.view, key,
                                   value, call.options));
  return outputs;
}

template <class T>
std::vector<Output> attention_from_cache(const Case& c, KeyValueCache::Storage storage) {
  const Inputs<T> in(c);
  const Heads<T> past_key(needed(c, 4), 0), past_value(needed(c, 5), 0);
  const Shape<4>& shape = past_key.view.shape;
  KeyValueCache cache(shape[0], shape[1], shape[3], past_value.view.shape[3], storage);
  cache.append(dense<float>(past_key.view), dense<float>(past_value.view));
  cache.append(dense<float>(in.key.view), dense<float>(in.value.view));

  // The cache takes the queries for the last of its rows; ONNX lets them begin where the past ends.
  const Index first_query = cache.length() - in.query.view.shape[2];
  Call<compute_t<T>> call;
  set_options<T>(call, c, shape[2] - first_query, cache.length());
  const Array<float, 4> out = cache.attend(dense<float>(in.query.view), call.options).out;
  return {in_layout_of_input(c, output<T>(out)), output<T>(cache.key()), output<T>(cache.value())};
}

/// The only constant of a modifier's graph.
double constant(const Graph& graph) {
  if (graph.constants.size() != 1) throw Error("modifier: needs one constant");
  const Array<float, 1> values = graph.constants[0].values<float>();
  if (values.size() != 1) throw Error("modifier: needs a constant of one element");
  return static_cast<double>(values.data()[0]);
}

/// A FlexAttention's score_mod, known by the operations it is made of.
template <class Real>
void add_score_modifier(Call<Real>& call, const Graph& graph, Index queries, Index keys) {
  std::string operations;
  for (const Node& node : graph.nodes) operations += node.op + " ";
  const std::string positions = "Shape Gather Gather Range Reshape Range Reshape ";
  if (operations == "Add ") {
    Array<Real, 4> bias({1, 1, 1, 1});
    *bias.data() = static_cast<Real>(constant(graph));
    call.set_bias(std::move(bias));
  } else if (operations == "Div Tanh Mul ") {
    call.options.soft_cap = constant(graph);
  } else if (operations == positions + "GreaterOrEqual Where ") {
    call.options.mask.causal_offset = 0;
  } else if (operations == positions + "Sub Cast Add ") {
    call.relative = Array<double, 2>({1, queries + keys - 1});
    for (Index k = 0; k < call.relative.size(); ++k)
      call.relative.data()[k] = static_cast<double>(queries - 1 - k);
    call.options.bias.relative = RelativeTable{.table = call.relative, .left = queries - 1};
  } else {
    throw Error(fmt::format("score_mod: {}has no translation", operations));
  }
}

template <class T>
std::vector<Output> flex_attention(const Case& c) {
  refuse_unknown_attributes(c, {"scale", "score_mod"});
  const Heads<T> query(needed(c, 0), 0), key(needed(c, 1), 0), value(needed(c, 2), 0);
  Call<compute_t<T>> call;
  set_scale(call.options, c.node);
  if (const Graph* modifier = c.node.graph("score_mod"))
    add_score_modifier(call, *modifier, query.view.shape[2], key.view.shape[2]);
  return {output<T>(attend(query.view, key.view, value.view, call.options).out)};
}

/// ONNX's cosines or sines [B, N, R/2]: rows of a table [P, R/2] picked by position, or as they are.
template <class T>
Array<double, 3> picked(const Tensor& table, const Tensor* positions) {
  const Array<T, 1> values = table.values<T>();
  const Index half = table.shape.back();
  if (!positions) {
    Array<double, 3> result({table.shape.at(0), table.shape.at(1), half});
    std::transform(values.begin(), values.end(), result.begin(), [](T x) { return static_cast<double>(x); });
    return result;
  }
  const Array<std::int64_t, 1> position = positions->values<std::int64_t>();
  Array<double, 3> result({positions->shape.at(0), positions->shape.at(1), half});
  for (Index k = 0; k < result.size(); ++k) {
    const Index row = position.data()[k / half];
    if (row < 0 || row >= table.shape.at(0))
      throw Error(fmt::format("position_ids: {}; needs one of {} rows", row, table.shape.at(0)));
    result.data()[k] = static_cast<double>(values.data()[row * half + k % half]);
  }
  return result;
}

template <class T>
std::vector<Output> rotary_embedding(const Case& c) {
  refuse_unknown_attributes(c, {"interleaved", "rotary_embedding_dim", "num_heads"});
  const Heads<T> input(needed(c, 0), c.node.integer("num_heads").value_or(0));
  const Array<double, 3> cosine = picked<T>(needed(c, 1), c.input(3));
  const Array<double, 3> sine = picked<T>(needed(c, 2), c.input(3));
  // 0 means all columns; the tables' width says which turn.
  const Index columns = c.node.integer("rotary_embedding_dim").value_or(0);
  if (cosine.shape()[2] * 2 != (columns == 0 ? input.view.shape[3] : columns))
    throw Error(fmt::format("{}: rotary_embedding_dim {} against tables of {} columns", c.name, columns,
                            cosine.shape()[2]));
  const bool interleaved = c.node.integer("interleaved").value_or(0) != 0;
  return {in_layout_of_input(c, output<T>(rotate(input.view, cosine.view(), sine.view(), interleaved)))};
}

template <class T>
std::vector<Output> run_as(const Case& c) {
  if (c.node.op == "Attention") return attention<T>(c);
  if (c.node.op == "FlexAttention") return flex_attention<T>(c);
  if (c.node.op == "RotaryEmbedding") return rotary_embedding<T>(c);
  throw Error(fmt::format("{}: operator {} has no translation", c.name, c.node.op));
}

}  // namespace

std::vector<Output> run(const Case& c) {
  switch (needed(c, 0).dtype) {
    case Dtype::float32:
      return run_as<float>(c);
    case Dtype::float64:
      return run_as<double>(c);
    case Dtype::float16:
      return run_as<float16>(c);
    case Dtype::bfloat16:
      return run_as<bfloat16>(c);
    default:
      throw Error(fmt::format("{}: {} is no type of attention", c.name, name(needed(c, 0).dtype)));
  }
}

std::vector<Output> run_from_cache(const Case& c) {
  switch (needed(c, 0).dtype) {
    case Dtype::float32:
      return attention_from_cache<float>(c, KeyValueCache::Storage::float32);
    case Dtype::float16:
      return attention_from_cache<float16>(c, KeyValueCache::Storage::float16);
    case Dtype::bfloat16:
      return attention_from_cache<bfloat16>(c, KeyValueCache::Storage::bfloat16);
    default:
      throw Error(fmt::format("{}: {} is no type of a cache", c.name, name(needed(c, 0).dtype)));
  }
}

}  // namespace kith::test::onnx
