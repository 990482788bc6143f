#include "attention/small_call.h"

#include "attention/cases.h"

namespace kith::test {
namespace {

template <int R>
Array<double, R> random_array(const Shape<R>& shape, Random& random, double scale = 1) {
  Array<double, R> a(shape);
  for (double& x : a) x = scale * random.normal();
  return a;
}

/// Between 0.8 and 1.4.
template <int R>
Array<double, R> random_widths(const Shape<R>& shape, Random& random) {
  Array<double, R> a(shape);
  for (double& x : a) x = 0.8 + 0.6 * random.uniform();
  return a;
}

Similarity similarity_of(int kind, const SmallCall& c) {
  switch (kind) {
    case 0:
      return Dot{};
    case 1:
      return Dot{.scale = 0.7};
    case 2:
      return Cosine{.temperature = 0.4};
    case 3:
      return Gaussian{.bandwidth = 1.3};
    case 4:
      return Euclidean{.temperature = 0.6};
    case 5:
      return Laplace{.bandwidth = 1.1};
    // Wide enough for most pairs.
    case 6:
      return Compact{.kernel = CompactKernel::epanechnikov, .bandwidth = 5};
    case 7:
      return Compact{.kernel = CompactKernel::boxcar, .bandwidth = 5};
    case 8:
      return Compact{.kernel = CompactKernel::triangular, .bandwidth = 5};
    case 9:
      return Compact{.kernel = CompactKernel::biweight, .bandwidth = 5};
    case 10:
      return Compact{.kernel = CompactKernel::tricube, .bandwidth = 5};
    case 11:
      return InverseDistance{.power = 1.7};
    case 12:
      return Bilinear{.matrix = c.bilinear, .scale = 0.8};
    case 13:
      return Additive{.query_weight = c.query_weight, .key_weight = c.key_weight, .score = c.score};
    default:
      return Uniform{};
  }
}

}  // namespace

Array<double, 2> table(Rows rows) {
  Array<double, 2> a({static_cast<Index>(rows.size()), static_cast<Index>(rows.begin()->size())});
  double* to = a.data();
  for (const auto& row : rows) to = std::copy(row.begin(), row.end(), to);
  return a;
}

Array<double, 1> numbers(std::initializer_list<double> list) {
  Array<double, 1> a({static_cast<Index>(list.size())});
  std::copy(list.begin(), list.end(), a.begin());
  return a;
}

Array<double, 4> filled(const Shape<4>& shape, double x) {
  Array<double, 4> a(shape);
  std::fill(a.begin(), a.end(), x);
  return a;
}

Array<double, 4> random_rows(const Shape<4>& shape, std::uint64_t seed) {
  Random random(seed);
  return random_array<4>(shape, random);
}

Array<double, 3> random_numbers(const Shape<3>& shape, std::uint64_t seed) {
  Random random(seed);
  return random_array<3>(shape, random);
}

SmallCall small_call(int similarity, Parts parts, std::uint64_t seed, const SmallSizes& n) {
  Random random(seed);
  SmallCall c;
  const bool bilinear = similarity == 12, additive = similarity == 13, uniform = similarity == 14;
  const Index key_depth = bilinear || additive ? n.depth + 2 : n.depth;
  c.query = random_array<4>({n.batch, n.heads, n.queries, n.depth}, random);
  c.key = random_array<4>({n.batch, n.key_heads, n.keys, key_depth}, random);
  c.value = random_array<4>({n.batch, n.key_heads, n.keys, n.value_depth}, random);
  if (bilinear) c.bilinear = random_array<2>({n.depth, key_depth}, random, 0.5);
  if (additive) {
    c.query_weight = random_array<2>({3, n.depth}, random, 0.5);
    c.key_weight = random_array<2>({3, key_depth}, random, 0.5);
    c.score = random_array<1>({3}, random);
  }
  AttentionOptions& options = c.options;
  options.similarity = similarity_of(similarity, c);

  const bool with_matrix = parts == Parts::matrix || parts == Parts::all;
  if ((parts == Parts::columns || with_matrix) && !uniform) {
    options.rotary = Rotary{.base = 100, .interleaved = with_matrix, .columns = 2, .query_offset = 1};
    if (!bilinear && !additive) {
      if (with_matrix) {
        c.metric = random_array<2>({n.depth, 3}, random, 0.6);
        options.metric.matrix = c.metric;
      } else {
        const auto widths = random_widths<1>({n.depth}, random);
        options.metric.column_bandwidth.assign(widths.begin(), widths.end());
      }
    }
    if (!additive) {
      c.query_bandwidth = random_widths<3>({n.batch, with_matrix ? 1 : n.heads, n.queries}, random);
      c.key_bandwidth = random_widths<3>({1, n.key_heads, n.keys}, random);
      options.adaptive = {.query = c.query_bandwidth, .key = c.key_bandwidth};
    }
  }
  if (parts == Parts::logits || parts == Parts::all) {
    options.soft_cap = 1.5;
    c.bias = random_array<4>({1, n.heads, n.queries, n.keys}, random);
    c.relative = random_array<2>({n.heads, 4}, random);
    options.bias = {.array64 = c.bias,
                    .relative = RelativeTable{.table = c.relative, .left = 2},
                    .alibi = {0.3},
                    .offset = 1};
    for (Index h = 0; h < n.heads; ++h) options.sink.push_back(random.normal());
  }
  if (parts == Parts::all) {
    c.t5 = random_array<2>({1, 6}, random);
    options.bias.t5 = T5Buckets{.table = c.t5, .max_distance = 8};
    options.dropout = {.rate = 0.25, .seed = seed};
    options.mask = causal(n.keys - n.queries) & window(3, 3);
  }
  return c;
}

double* parameter(SmallCall& c) {
  struct Of {
    double* operator()(Dot& s) const { return s.scale ? &*s.scale : nullptr; }
    double* operator()(Cosine& s) const { return &s.temperature; }
    double* operator()(Gaussian& s) const { return &s.bandwidth; }
    double* operator()(Euclidean& s) const { return &s.temperature; }
    double* operator()(Laplace& s) const { return &s.bandwidth; }
    double* operator()(Compact& s) const { return &s.bandwidth; }
    double* operator()(InverseDistance& s) const { return &s.power; }
    double* operator()(Bilinear& s) const { return &s.scale; }
    double* operator()(Additive&) const { return nullptr; }
    double* operator()(Uniform&) const { return nullptr; }
  };
  return std::visit(Of{}, c.options.similarity);
}

std::vector<Movable> movables(SmallCall& c) {
  using G = reference::Gradients;
  std::vector<Movable> list;
  const auto add = [&](const char* name, auto& x, auto member) {
    const auto count = static_cast<Index>(x.size());
    if (count == 0) return;
    list.push_back({name, x.data(), count, [=](const G& g) {
                      const auto& gradient = g.*member;
                      return static_cast<Index>(gradient.size()) == count ? gradient.data() : nullptr;
                    }});
  };
  add("query", c.query, &G::query);
  add("key", c.key, &G::key);
  add("value", c.value, &G::value);
  add("column_bandwidth", c.options.metric.column_bandwidth, &G::column_bandwidth);
  add("metric", c.metric, &G::metric);
  add("query_bandwidth", c.query_bandwidth, &G::query_bandwidth);
  add("key_bandwidth", c.key_bandwidth, &G::key_bandwidth);
  add("bilinear", c.bilinear, &G::bilinear);
  add("query_weight", c.query_weight, &G::query_weight);
  add("key_weight", c.key_weight, &G::key_weight);
  add("score", c.score, &G::score);
  add("bias", c.bias, &G::bias);
  add("relative", c.relative, &G::relative);
  add("t5", c.t5, &G::t5);
  add("alibi", c.options.bias.alibi, &G::alibi);
  add("sink", c.options.sink, &G::sink);
  if (double* const at = parameter(c)) {
    list.push_back({"parameter", at, 1, [](const G& g) { return &g.parameter; }});
  }
  if (c.options.soft_cap != 0) {
    list.push_back({"soft_cap", &c.options.soft_cap, 1, [](const G& g) { return &g.soft_cap; }});
  }
  return list;
}

double slope(double& x, const std::function<double()>& f, double step) {
  const double at = x;
  x = at + step;
  const double above = f();
  x = at - step;
  const double below = f();
  x = at;
  return (above - below) / (2 * step);
}

}  // namespace kith::test
