#include "attention/case_values.h"

#include <algorithm>
#include <cmath>

#include "attention/plain_float.h"

namespace kith::test {
namespace {

/// Memory that lives as long as the values; never null, since a null view would mean "not given".
template <class T, int R>
View<T, R> make(Values& values, const Shape<R>& shape) {
  auto array = std::make_shared<Array<T, 1>>(Shape<1>{std::max<Index>(1, element_count<R>(shape))});
  const View<T, R> view(array->data(), shape);
  values.memory.push_back(std::move(array));
  return view;
}

template <class T, int R, class Draw>
View<T, R> make(Values& values, const Shape<R>& shape, const Draw& draw) {
  const View<T, R> view = make<T, R>(values, shape);
  for (Index i = 0; i < view.size(); ++i) view.data[i] = static_cast<T>(draw());
  return view;
}

double round_to(Dtype dtype, double x) {
  switch (dtype) {
    case Dtype::float64:
      return x;
    case Dtype::bfloat16:
      return static_cast<double>(static_cast<float>(bfloat16(x)));
    case Dtype::float16:
      return static_cast<double>(static_cast<float>(float16(x)));
    default:
      return static_cast<double>(static_cast<float>(x));
  }
}
Dtype compute_dtype(Dtype dtype) { return dtype == Dtype::float64 ? dtype : Dtype::float32; }

double draw(Data data, Random& random) {
  switch (data) {
    case Data::shifted:
      return 1000 + random.normal();
    case Data::large:
      return 100 * random.normal();
    case Data::duplicate:
      return static_cast<double>(random.below(3) - 1);
    case Data::spread:
      return 12 * random.normal();
    default:
      return random.normal();
  }
}

/// Numbers far below the smallest normal one of the dtype, or nearly so in bfloat16's range.
double tiny(Dtype dtype) { return dtype == Dtype::float64 ? 1e-310 : dtype == Dtype::float16 ? 1e-6 : 1e-40; }
double huge(Dtype dtype) { return dtype == Dtype::float16 ? 1e4 : 1e15; }

void draw_rows(const Case& c, Values& v, Random& random) {
  v.query = Array<double, 4>({c.batch, c.query_heads, c.queries, c.depth});
  v.key = Array<double, 4>({c.batch, c.key_heads, c.keys, key_depth(c)});
  v.value = Array<double, 4>({c.batch, c.key_heads, c.keys, c.value_depth});
  v.d_out = Array<double, 4>({c.batch, c.query_heads, c.queries, c.value_depth});
  v.d_second_moment = v.d_out;
  v.d_lse = Array<double, 3>({c.batch, c.query_heads, c.queries});
  v.d_entropy = v.d_lse;
  for (double& x : v.query) x = round_to(c.dtype, draw(c.data, random));
  for (double& x : v.key) x = draw(c.data, random);
  if (c.data == Data::giant && c.keys > 0) {
    for (Index x = 0; x < v.key.shape()[3]; ++x) v.key(0, 0, c.keys / 2, x) *= huge(c.dtype);
  }
  for (double& x : v.key) x = round_to(c.dtype, x);
  const double unit = c.data == Data::denormal ? tiny(c.dtype) : 1;
  for (double& x : v.value) x = round_to(c.dtype, unit * random.normal());
  const Dtype upstream_dtype = compute_dtype(c.dtype);
  const auto fill = [&](auto& array) {
    for (double& x : array) x = round_to(upstream_dtype, random.normal());
  };
  fill(v.d_out), fill(v.d_second_moment), fill(v.d_lse), fill(v.d_entropy);
}

// --- Similarity, metric, adaptive bandwidths, rotation.

void draw_similarity(const Case& c, Values& v, Random& random) {
  const double root = std::sqrt(static_cast<double>(c.depth)), some = 0.8 + 0.4 * random.uniform();
  const Index keys_depth = key_depth(c);
  const auto matrix = [&](Index rows, Index columns) {
    const double size = 1 / std::sqrt(static_cast<double>(columns));
    return make<double, 2>(v, {rows, columns}, [&] { return size * random.normal(); });
  };
  Similarity& s = v.options.similarity;
  switch (c.similarity) {
    case SimilarityKind::dot:
      s = Dot{};
      break;
    case SimilarityKind::dot_scale:
      s = Dot{.scale = some / root};
      break;
    case SimilarityKind::cosine:
      s = Cosine{.temperature = 0.3 * some};
      break;
    case SimilarityKind::gaussian:
      s = Gaussian{.bandwidth = 0.6 * root * some};
      break;
    case SimilarityKind::euclidean:
      s = Euclidean{.temperature = 0.5 * some};
      break;
    case SimilarityKind::laplace:
      s = Laplace{.bandwidth = root * some};
      break;
    case SimilarityKind::epanechnikov:
    case SimilarityKind::boxcar:
    case SimilarityKind::triangular:
    case SimilarityKind::biweight:
    case SimilarityKind::tricube:
      s = Compact{.kernel = static_cast<CompactKernel>(static_cast<int>(c.similarity) -
                                                       static_cast<int>(SimilarityKind::epanechnikov)),
                  .bandwidth = 1.4 * root * some};
      break;
    case SimilarityKind::inverse_1:
      s = InverseDistance{.power = 1};
      break;
    case SimilarityKind::inverse_2:
      s = InverseDistance{.power = 2};
      break;
    case SimilarityKind::inverse_3_5:
      s = InverseDistance{.power = 3.5};
      break;
    case SimilarityKind::bilinear:
      s = Bilinear{.matrix = matrix(c.depth, keys_depth), .scale = some};
      break;
    case SimilarityKind::additive: {
      const Index hidden = 1 + static_cast<Index>(c.seed % 9);
      s = Additive{.query_weight = matrix(hidden, c.depth),
                   .key_weight = matrix(hidden, keys_depth),
                   .score = make<double, 1>(v, {hidden}, [&] { return random.normal(); })};
      break;
    }
    case SimilarityKind::uniform:
      s = Uniform{};
      break;
  }
}

void draw_metric(const Case& c, Values& v, Random& random) {
  if (c.metric == MetricKind::columns) {
    for (Index x = 0; x < c.depth; ++x) v.options.metric.column_bandwidth.push_back(0.5 + random.uniform());
  } else if (c.metric == MetricKind::matrix) {
    const Index columns = 1 + static_cast<Index>(c.seed) % std::min<Index>(c.depth + 2, 40);
    const double size = 1 / std::sqrt(static_cast<double>(columns));
    v.options.metric.matrix = make<double, 2>(v, {c.depth, columns}, [&] { return size * random.normal(); });
  }
  const auto factor = [&] { return 0.7 + 0.6 * random.uniform(); };
  const bool shared = c.seed % 2 == 0;
  if (c.adaptive == AdaptiveKind::query || c.adaptive == AdaptiveKind::both) {
    v.options.adaptive.query =
        make<double, 3>(v, {shared ? 1 : c.batch, shared ? c.query_heads : 1, c.queries}, factor);
  }
  if (c.adaptive == AdaptiveKind::key || c.adaptive == AdaptiveKind::both) {
    v.options.adaptive.key =
        make<double, 3>(v, {shared ? c.batch : 1, shared ? 1 : c.key_heads, c.keys}, factor);
  }
}

void draw_rotary(const Case& c, Values& v, Random& random) {
  if (c.rotary == RotaryKind::none) return;
  Rotary r;
  r.interleaved = c.rotary == RotaryKind::interleaved || c.seed % 2 == 0;
  if (c.rotary == RotaryKind::half) r.interleaved = false;
  r.query_offset = c.keys - c.queries;
  if (c.rotary == RotaryKind::partial) {
    r.columns = std::max<Index>(2, c.depth / 2 / 2 * 2);
    r.base = 500;
  }
  if (c.rotary == RotaryKind::scaled) r.scaling = 4;
  if (c.rotary == RotaryKind::frequency) {
    r.columns = c.depth / 2 * 2;
    for (Index p = 0; p < r.columns / 2; ++p) r.frequency.push_back(random.uniform());
  }
  if (c.rotary == RotaryKind::positions) {
    r.query_position = make<Index, 2>(v, {c.batch, c.queries}, [&] { return random.below(1000); });
    r.key_position = make<Index, 2>(v, {1, c.keys}, [&] { return random.below(1000); });
  }
  v.options.rotary = r;
}

// --- Bias and sink.

void draw_bias(const Case& c, Values& v, Random& random) {
  Bias& bias = v.options.bias;
  bias.offset = c.seed % 3 == 0 ? 0 : c.keys - c.queries;
  const auto heads = [&](bool each) { return each ? c.query_heads : Index{1}; };
  const auto array = [&](const Shape<4>& shape, bool hidden) {
    const auto one = [&] {
      if (hidden && random.chance(1.0 / 3)) return -std::numeric_limits<double>::infinity();
      return random.normal();
    };
    if (c.seed % 4 == 0 || c.dtype == Dtype::float64)
      bias.array64 = make<double, 4>(v, shape, one);
    else
      bias.array = make<float, 4>(v, shape, one);
  };
  const auto number = [&] { return random.normal(); };
  const Index heads_all = c.query_heads;
  for (const BiasPart part : c.bias) {
    switch (part) {
      case BiasPart::array:
        array({c.batch, heads_all, c.queries, c.keys}, false);
        break;
      case BiasPart::array_rows:
        array({1, 1, c.queries, c.keys}, false);
        break;
      case BiasPart::array_heads:
        array({1, heads_all, 1, c.keys}, false);
        break;
      case BiasPart::array_column:
        array({c.batch, 1, c.queries, 1}, false);
        break;
      case BiasPart::array_hidden:
        array({1, heads_all, c.queries, c.keys}, true);
        break;
      case BiasPart::relative:
      case BiasPart::relative_heads: {
        const Index left = random.below(40), right = random.below(40);
        bias.relative = RelativeTable{
            make<double, 2>(v, {heads(part == BiasPart::relative_heads), left + 1 + right}, number), left};
        break;
      }
      case BiasPart::t5:
      case BiasPart::t5_causal:
        bias.t5 = T5Buckets{make<double, 2>(v, {heads(c.seed % 2 == 0), c.seed % 5 == 0 ? 8 : 32}, number),
                            part == BiasPart::t5, 64};
        break;
      case BiasPart::alibi:
        bias.alibi = {0.1};
        break;
      case BiasPart::alibi_heads:
        bias.alibi = alibi_slopes(c.query_heads);
        break;
    }
  }
  v.options.soft_cap = c.soft_cap;
  if (c.sink != SinkKind::none) {
    for (Index h = 0; h < heads(c.sink == SinkKind::heads); ++h) v.options.sink.push_back(random.normal());
  }
}

// --- Mask.

std::vector<Index> cuts(Index length, Index parts, Random& random) {
  std::vector<Index> at = {0, length};
  for (Index p = 1; p < parts; ++p) at.push_back(random.below(length + 1));
  std::sort(at.begin(), at.end());
  return at;
}

/// Runs of equal ids, or ids at random.
View<const std::int64_t, 2> ids(Values& v, const Shape<2>& shape, bool runs, Random& random) {
  std::int64_t id = 0;
  return make<std::int64_t, 2>(v, shape, [&] {
    if (!runs) return static_cast<std::int64_t>(random.below(4));
    if (random.chance(0.03)) ++id;
    return id;
  });
}

BlockMap random_blocks(const Case& c, Random& random) {
  BlockMap map{.query_block = 1 + random.below(40), .key_block = 1 + random.below(200)};
  map.allowed = Array<bool, 4>({c.seed % 2 == 0 ? 1 : c.batch, c.seed % 3 == 0 ? 1 : c.query_heads,
                                (c.queries + map.query_block - 1) / map.query_block,
                                (c.keys + map.key_block - 1) / map.key_block});
  for (bool& x : map.allowed) x = random.chance(0.4);
  return map;
}

View<const bool, 4> boolean_array(const Case& c, Values& v, MaskPart part, Random& random) {
  const auto one = [&] { return random.chance(0.6); };
  switch (part) {
    case MaskPart::array_rows:
      return make<bool, 4>(v, {1, 1, c.queries, c.keys}, one);
    case MaskPart::array_keys:
      return make<bool, 4>(v, {c.batch, 1, 1, c.keys}, one);
    case MaskPart::array_strided: {
      View<bool, 4> view = make<bool, 4>(v, {c.keys, 1, c.query_heads, c.queries}, one);
      return View<const bool, 4>(view.data, {1, c.query_heads, c.queries, c.keys},
                                 {0, c.queries, 1, c.queries * c.query_heads});
    }
    default:
      return make<bool, 4>(v, {c.batch, c.query_heads, c.queries, c.keys}, one);
  }
}

void draw_mask(const Case& c, Values& v, Random& random) {
  Mask& mask = v.options.mask;
  if (has(c.mask, MaskPart::ragged)) {
    const Index sequences = 1 + random.below(4);
    mask.ragged = {cuts(c.queries, sequences, random), cuts(c.keys, sequences, random)};
  }
  const auto per_row = [&](Index most, const std::vector<Index>& ends) {
    std::vector<Index> length;
    const auto rows = ends.empty() ? c.batch : static_cast<Index>(ends.size()) - 1;
    for (Index b = 0; b < rows; ++b) {
      const auto s = static_cast<std::size_t>(b);
      const Index all = ends.empty() ? most : ends[s + 1] - ends[s];
      length.push_back(b == 1 ? 0 : random.chance(0.3) ? all : random.below(all + 1));
    }
    return length;
  };
  for (const MaskPart part : c.mask) {
    switch (part) {
      case MaskPart::causal:
        mask.causal_offset = 0;
        break;
      case MaskPart::causal_end:
        mask.causal_offset = c.keys - c.queries;
        break;
      case MaskPart::causal_early:
        mask.causal_offset = -2;
        break;
      case MaskPart::window:
        mask.window =
            Window{random.below(1 + c.keys / 3), random.below(30), c.seed % 2 == 0 ? 0 : c.keys - c.queries};
        break;
      case MaskPart::key_length:
        mask.key_length = per_row(c.keys, mask.ragged.key);
        break;
      case MaskPart::query_length:
        mask.query_length = per_row(c.queries, mask.ragged.query);
        break;
      case MaskPart::ragged:
        break;
      case MaskPart::documents:
        mask.documents = {ids(v, {c.batch, c.queries}, true, random), ids(v, {1, c.keys}, true, random)};
        break;
      case MaskPart::prefix:
        mask.causal_offset = 0;
        mask.prefix = c.seed % 2 == 0 ? std::vector<Index>{c.keys / 3} : per_row(c.keys, mask.ragged.key);
        break;
      case MaskPart::self:
        mask.self_offset = c.seed % 2 == 0 ? 0 : 5;
        break;
      case MaskPart::groups:
        mask.groups = {ids(v, {1, c.queries}, false, random), ids(v, {c.batch, c.keys}, false, random)};
        break;
      case MaskPart::times: {
        const auto stamp = [&] {
          return random.chance(0.05) ? std::nan("") : std::floor(50 * random.uniform());
        };
        mask.times.query = make<double, 2>(v, {c.batch, c.queries}, stamp);
        mask.times.key = make<double, 2>(v, {1, c.keys}, stamp);
        break;
      }
      case MaskPart::blocks:
        mask.blocks = std::make_shared<const BlockMap>(random_blocks(c, random));
        break;
      case MaskPart::dilated:
        mask.blocks =
            dilated(c.queries, c.keys, 1 + random.below(50), 1 + random.below(3), random.below(3)).blocks;
        break;
      case MaskPart::global:
        mask.blocks =
            global_tokens(c.queries, c.keys, 1 + random.below(50), random.below(2), random.below(3)).blocks;
        break;
      case MaskPart::array:
      case MaskPart::array_rows:
      case MaskPart::array_keys:
      case MaskPart::array_strided:
        mask.allowed = boolean_array(c, v, part, random);
        break;
    }
  }
}

/// A compact kernel ends where its bandwidth does: rounding must not decide who is inside. So the bandwidth
/// goes into the widest gap between the distances near the wanted share of pairs.
void place_bandwidth(const Case& c, Values& v) {
  if (!compact(c.similarity)) return;
  std::vector<double> distance = pair_distances(v);
  distance.erase(
      std::remove_if(distance.begin(), distance.end(), [](double x) { return !(x > 0) || x > 1e300; }),
      distance.end());
  if (distance.size() < 2) return;
  std::sort(distance.begin(), distance.end());
  const double share = 0.1 + 0.1 * static_cast<double>(c.seed % 6);
  const auto size = static_cast<double>(distance.size());
  const auto first = static_cast<std::size_t>(size * share * 0.9);
  const auto last = static_cast<std::size_t>(size * share * 1.1) + 2;
  double& bandwidth = std::get<Compact>(v.options.similarity).bandwidth;
  bandwidth = distance.back() * 1.1;
  double widest = 1 + 1e-4;  // among equal distances there is no gap: then the next one will do
  for (std::size_t n = first; n + 1 < distance.size() && (n < last || widest == 1 + 1e-4); ++n) {
    const double gap = distance[n + 1] / distance[n];
    if (gap <= widest) continue;
    widest = gap;
    bandwidth = distance[n] * std::sqrt(gap);
  }
}

}  // namespace

Index key_depth(const Case& c) {
  const bool own = c.similarity == SimilarityKind::bilinear || c.similarity == SimilarityKind::additive;
  return own ? c.depth + 2 * static_cast<Index>(c.seed % 3) : c.depth;
}

Values make_values(const Case& c) {
  Random random(c.seed * 1000003);
  Values v;
  draw_rows(c, v, random);
  draw_similarity(c, v, random);
  draw_metric(c, v, random);
  draw_rotary(c, v, random);
  draw_bias(c, v, random);
  draw_mask(c, v, random);
  place_bandwidth(c, v);
  v.options.dropout = {.rate = c.dropout, .seed = c.seed, .first_batch = static_cast<Index>(c.seed % 3)};
  const auto wants = [&](Output output) { return (c.outputs & output) != 0; };
  v.options.want = {
      .lse = wants(kLse),
      .top = wants(kTop) ? static_cast<int>(std::min<Index>(c.keys, 1 + static_cast<Index>(c.seed % 9))) : 0,
      .entropy = wants(kEntropy),
      .largest = wants(kLargest),
      .received = wants(kReceived),
      .position = wants(kPosition),
      .second_moment = wants(kMoment)};
  v.options.threads = c.threads;
  return v;
}

Upstream<double> upstream(const Case& c, const Values& v) {
  Upstream<double> u;
  u.out = v.d_out;
  if ((c.upstream & kLse) != 0) u.lse = v.d_lse;
  if ((c.upstream & kEntropy) != 0) u.entropy = v.d_entropy;
  if ((c.upstream & kMoment) != 0) u.second_moment = v.d_second_moment;
  u.bias = v.options.bias.has_array();
  return u;
}

AttentionOptions backward_options(const Case& c, const Values& v) {
  AttentionOptions options = v.options;
  options.want = {
      .lse = true, .entropy = (c.upstream & kEntropy) != 0, .second_moment = (c.upstream & kMoment) != 0};
  return options;
}

}  // namespace kith::test
