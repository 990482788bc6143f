// Prints docs/support.md from the case list: a type stands in a cell because cases for it exist and all of
// them pass. With the name of a file, compares it instead.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include "attention/agree.h"
#include "attention/check.h"
#include "kith/cache.h"
#include "kith/derivatives.h"

namespace kith {
namespace {

using namespace test;

bool agree(const Case& c, const Flat& got, const Flat& expected, Named plain,
           const std::set<std::string>& names) {
  for (const std::string& name : names) {
    const std::string wrong = disagreement(c, name, got.at(name), expected.at(name), plain[name]);
    if (wrong.empty()) continue;
    fmt::print(stderr, "{}{}\n", wrong, replay(c));
    return false;
  }
  return true;
}

template <class T>
bool forward_passes(const Case& c) {
  const Values v = make_values(c);
  const Flat got = outputs_of(Call<T>(c, v).forward(v.options));
  std::set<std::string> names;
  for (const auto& [name, numbers] : got) {
    if (!numbers.empty()) names.insert(name);
  }
  return agree(c, got, outputs_of(reference::attend(v.query, v.key, v.value, v.options)),
               plain_outputs<compute_t<T>>(v), names);
}

template <class T>
bool backward_passes(const Case& c) {
  const Values v = make_values(c);
  const Call<T> call(c, v);
  const AttentionOptions options = backward_options(c, v);
  const Upstream<double> u = upstream(c, v);
  const auto result = reference::attend(v.query, v.key, v.value, options);
  const Flat expected = gradients_of(reference::attend_backward(v.query, v.key, v.value, result, u, options));
  std::set<std::string> names;
  for (const auto& [name, numbers] : expected) names.insert(name);
  return agree(c, gradients_of(call.backward(call.forward(options), options)), expected,
               plain_gradients<compute_t<T>>(v, u), names);
}

// --- Derivatives, on small cases in double, against differences of the reference.

Array<double, 4> moved(const Array<double, 4>& x, const Array<double, 4>& direction, double step) {
  Array<double, 4> y = x;
  for (Index i = 0; i < x.size(); ++i) y.data()[i] += step * direction.data()[i];
  return y;
}
Array<double, 4> direction_like(const Array<double, 4>& x, std::uint64_t seed) {
  Array<double, 4> d(x.shape());
  Random random(seed);
  for (double& e : d) e = random.normal();
  return d;
}

/// `at(step)` against its derivative, by Richardson's extrapolation.
bool is_slope(const Array<double, 4>& slope, const std::function<Array<double, 4>(double)>& at) {
  for (const double step : {1e-3, 1e-4, 1e-5}) {
    const Array<double, 4> a = at(step), b = at(-step), c = at(step / 2), d = at(-step / 2);
    double worst = 0;
    for (Index i = 0; i < slope.size(); ++i) {
      const double wide = (a.data()[i] - b.data()[i]) / (2 * step),
                   narrow = (c.data()[i] - d.data()[i]) / step;
      worst = std::max(worst, std::fabs((4 * narrow - wide) / 3 - slope.data()[i]));
    }
    if (worst <= 1e-5 * (1 + largest_magnitude(slope))) return true;
  }
  return false;
}

struct Directions {
  Array<double, 4> query, key, value;
  explicit Directions(const Values& v)
      : query(direction_like(v.query, 1)), key(direction_like(v.key, 2)), value(direction_like(v.value, 3)) {}
  Tangent tangent() const { return {.query = query, .key = key, .value = value}; }
};

bool jvp_passes(const Case& c) {
  const Values v = make_values(c);
  const Directions d(v);
  const ResultTangent got = attend_jvp(v.query, v.key, v.value, d.tangent(), v.options);
  return is_slope(got.out, [&](double step) {
    return reference::attend(moved(v.query, d.query, step), moved(v.key, d.key, step),
                             moved(v.value, d.value, step), v.options)
        .out;
  });
}

bool double_backward_passes(const Case& c) {
  const Values v = make_values(c);
  const Directions d(v);
  const DoubleBackward got = attend_double_backward(v.query, v.key, v.value, v.d_out, d.tangent(), v.options);
  // The Hessian is symmetric: its product with the cotangent is how the gradients move along it.
  const auto gradients_at = [&](double step) {
    const auto q = moved(v.query, d.query, step), k = moved(v.key, d.key, step),
               x = moved(v.value, d.value, step);
    const auto result = reference::attend(q, k, x, v.options);
    return reference::attend_backward(q, k, x, result, {.out = v.d_out}, v.options);
  };
  return is_slope(got.query, [&](double step) { return gradients_at(step).query; }) &&
         is_slope(got.key, [&](double step) { return gradients_at(step).key; }) &&
         is_slope(got.value, [&](double step) { return gradients_at(step).value; });
}

// --- The cache, against the full pass on what it stores.

template <class T>
bool cache_passes(const Case& c) {
  const Values v = make_values(c);
  const auto storage = std::is_same_v<T, float>      ? KeyValueCache::Storage::float32
                       : std::is_same_v<T, bfloat16> ? KeyValueCache::Storage::bfloat16
                                                     : KeyValueCache::Storage::float16;
  KeyValueCache cache(c.batch, c.key_heads, v.key.shape()[3], c.value_depth, storage);
  const auto query = rounded_to<float>(v.query), key = rounded_to<float>(v.key),
             value = rounded_to<float>(v.value);
  cache.append(key, value);
  AttentionOptions options;
  options.similarity = v.options.similarity;
  const auto got = cache.attend(query, options);
  const auto expected = attend(query, key, value, options);
  if constexpr (std::is_same_v<T, float>) return same_bits(got.out, expected.out);
  return largest_error(got.out, to_double(expected.out)) <= 1e-5 * (1 + largest_magnitude(expected.out));
}

// --- The table.

struct Cell {
  int cases = 0;
  bool passed = true;
};
struct Row {
  std::map<Dtype, Cell> forward, backward, cache;
  Cell jvp, double_backward;
  std::set<std::string> masks, biases;
  std::set<unsigned> outputs;
};

void run(Cell& cell, const Case& c, const std::function<bool()>& check) {
  ++cell.cases;
  try {
    if (check()) return;
    fmt::print(stderr, "wrong{}\n", replay(c));
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}{}\n", error.what(), replay(c));
  }
  cell.passed = false;
}

void add(Row& row, const Case& c) {
  with_type(c.dtype, [&]<class T>() {
    Cell& forward = row.forward[c.dtype];
    run(forward, c, [&] { return forward_passes<T>(c); });
    if (forward.passed)
      row.masks.insert(name(c.mask)), row.biases.insert(name(c.bias)), row.outputs.insert(c.outputs);
    if (c.data == Data::giant) return;
    run(row.backward[c.dtype], c, [&] { return backward_passes<T>(c); });
    if constexpr (!std::is_same_v<T, double>) {
      if (c.data == Data::normal && c.queries <= c.keys && c.queries > 0) {
        run(row.cache[c.dtype], c, [&] { return cache_passes<T>(c); });
      }
    }
  });
  const Index work = c.batch * c.query_heads * c.queries * c.keys * (c.depth + c.value_depth);
  if (c.dtype == Dtype::float64 && c.data == Data::normal && work > 0 && work < 5000) {
    run(row.jvp, c, [&] { return jvp_passes(c); });
    run(row.double_backward, c, [&] { return double_backward_passes(c); });
  }
}

std::string types(const std::map<Dtype, Cell>& cells) {
  std::string text;
  for (const auto& [dtype, label] : {std::pair{Dtype::float32, "f32"},
                                     {Dtype::float64, "f64"},
                                     {Dtype::bfloat16, "bf16"},
                                     {Dtype::float16, "f16"}}) {
    const auto found = cells.find(dtype);
    if (found == cells.end() || found->second.cases == 0) continue;
    text += fmt::format("{}{}{}", text.empty() ? "" : " ", found->second.passed ? "" : "**not** ", label);
  }
  return text;
}

std::string type(const Cell& cell) { return types({{Dtype::float64, cell}}); }

template <class Kinds>
std::string share(std::size_t count, const Kinds& kinds) {
  return fmt::format("{} of {}", count, std::set(kinds.begin(), kinds.end()).size());
}

std::string table() {
  std::map<SimilarityKind, Row> rows;
  for (const Case& c : make_cases(2500)) add(rows[c.similarity], c);
  std::string text =
      "# What is supported\n\n"
      "Generated by `support_table` from the case list that the tests walk (`tests/attention/case_list.cc`); "
      "a test\n"
      "compares. A type stands in a cell because cases for it exist and all of them agree with the "
      "reference. The\n"
      "columns of masks, biases and outputs say how many kinds and combinations in the list were met.\n\n"
      "Derivatives of derivatives are in double precision. A cache stores what a kernel reads as float32.\n"
      "float16 and bfloat16 are storage; arithmetic is in float32.\n\n"
      "| similarity | forward | backward | masks | biases | outputs | JVP | double backward | cache |\n"
      "|---|---|---|---|---|---|---|---|---|\n";
  for (const auto& [kind, row] : rows) {
    text += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n", name(kind), types(row.forward),
                        types(row.backward), share(row.masks.size(), mask_kinds()),
                        share(row.biases.size(), bias_kinds()), share(row.outputs.size(), output_kinds()),
                        type(row.jvp), type(row.double_backward), types(row.cache));
  }
  return text;
}

}  // namespace
}  // namespace kith

int main(int count, char** arguments) {
  const std::string text = kith::table();
  if (count < 2) {
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  std::ifstream file(arguments[1]);
  std::stringstream committed;
  committed << file.rdbuf();
  if (committed.str() == text) return 0;
  fmt::print(stderr, "{} is not what support_table prints; it prints:\n{}", arguments[1], text);
  return 1;
}
