#include "rows.h"

#include <cmath>

#include <fmt/format.h>

namespace kith::bench {
namespace {

// On AMD's CPUs MKL takes its AVX2 path.
const PeerTarget kTorch{.adapter = "libtorch_sdpa", .at_least = 2.4, .intel = 1.3};
constexpr double kOnnxFull = 1.15, kBestCausal = 2.2;

Problem with(Problem problem, auto&& change) {
  change(problem);
  return problem;
}
Problem as(Problem problem, Dtype dtype) {
  problem.dtype = dtype;
  return problem;
}
Problem as(Problem problem, Variant variant) {
  problem.variant = variant;
  return problem;
}
Problem on(Problem problem, int threads) {
  problem.threads = threads;
  return problem;
}
Problem backward(Problem problem) {
  problem.task = Task::backward;
  return problem;
}
Problem one_head(Problem problem) {
  problem.heads = 1;
  return problem;
}

using Rows = std::vector<Row>;

std::vector<PeerTarget> forward_peers(bool is_causal) {
  if (is_causal)
    return {kTorch,
            {"onnx_mha", kBestCausal},
            {"onnx_attention", kBestCausal},
            {"flex_attention", kBestCausal},
            {"onednn"},
            {"openblas"}};
  return {kTorch,      {"onnx_mha", kOnnxFull}, {"onnx_attention", kOnnxFull}, {"flex_attention"}, {"onednn"},
          {"openblas"}};
}

void add_forward(Rows& rows) {
  struct Cell {
    Index n, d;
    bool is_causal;
    Target target;
  };
  const Cell cells[] = {
      {2048, 64, false, {0.88, 0.92, 0.77, 0.84}}, {2048, 128, false, {0.90, 0.94, 0.79, 0.87}},
      {2048, 64, true, {0.86, 0.91, 0.73, 0.80}},  {2048, 128, true, {0.88, 0.93, 0.76, 0.84}},
      {512, 64, false, {0.86, 0.91, 0.72, 0.91}},  {512, 64, true, {0.80, 0.87, 0.64, 0.87}},
      {256, 64, false, {0.82, 0.89, 0.66, 0.89}},  {256, 64, true, {0.72, 0.81, 0.56, 0.81}},
  };
  for (const auto& [n, d, is_causal, target] : cells) {
    const char* kind = is_causal ? "causal" : "full";
    rows.push_back({.name = fmt::format("forward/{}/{}/{}", kind, n, d),
                    .what = fmt::format("forward {}, N = {}, d = {}", kind, n, d),
                    .target = target,
                    .kith = transformer(n, d, is_causal),
                    .peers = forward_peers(is_causal)});
  }
  // Once more in a process of its own, so that every run tells whether that makes a difference.
  rows.front().peers.push_back({"torch_sdpa"});
}

void add_forward_ratios(Rows& rows) {
  const auto add = [&](const char* name, const char* what, Target target, const Problem& kith,
                       const Problem& baseline, std::vector<PeerTarget> peers = {}) {
    rows.push_back({fmt::format("forward/{}", name), what, Measure::speed_ratio, target, kith, baseline,
                    std::move(peers)});
  };
  const Problem full = transformer(2048, 64), full128 = transformer(2048, 128);
  const Problem odd = with(transformer(1000, 80), [](Problem& p) {
    p.keys = 777;
    p.value_depth = 48;
  });
  const Problem round = with(transformer(1024, 80), [](Problem& p) {
    p.keys = 768;
    p.value_depth = 48;
  });
  add("odd", "odd sizes: N = 1000, M = 777, d = 80, Dv = 48, against 1024 x 768", {0.94, 0.98}, odd, round);
  add("odd/64", "odd sizes: N = 1000, M = 777, d = 80, Dv = 48, against 1024 x 768, d = Dv = 64",
      {0.94, 0.98}, odd, with(round, [](Problem& p) { p.depth = p.value_depth = 64; }));
  add("growing", "every block raises the maximum, against ordinary logits", {0.75, 0.9},
      with(full, [](Problem& p) { p.data = Data::growing; }), full);
  for (Index d : {64, 128}) {
    rows.push_back({.name = fmt::format("forward/avx2/{}", d),
                    .what = fmt::format("AVX2 forced, full, N = 2048, d = {}, of the AVX2 peak", d),
                    .target = d == 64 ? Target{0.72, 0.80} : Target{0.75, 0.80},
                    .kith = with(transformer(2048, d), [](Problem& p) { p.instruction_set = "AVX2"; })});
  }
  add("gaussian", "Gaussian against dot, N = 2048, d = 64", {0.95, 0.98}, as(full, Variant::gaussian), full);
  add("gaussian/128", "Gaussian against dot, N = 2048, d = 128", {0.95, 0.98}, as(full128, Variant::gaussian),
      full128);
  add("cosine", "cosine against dot, N = 2048, d = 64", {0.95, 0.98}, as(full, Variant::cosine), full);
  add("cosine/128", "cosine against dot, N = 2048, d = 128", {0.95, 0.98}, as(full128, Variant::cosine),
      full128);
  add("bias", "additive bias array against dot", {0.8, 0.9}, as(full, Variant::bias), full);
  add("relative", "relative bias against dot", {0.8, 0.9}, as(full, Variant::relative), full);
  add("window", "window of 256, causal, per visible operation, against dot", {0.8, 0.9},
      as(full, Variant::window), full, {{"flex_attention"}});
  add("soft_cap", "soft cap against dot", {0.8, 0.9}, as(full, Variant::soft_cap), full,
      {{"flex_attention"}});
}

void add_backward(Rows& rows) {
  struct Cell {
    Index n, d;
    bool is_causal;
    Target target;
  };
  const Cell cells[] = {
      {2048, 64, false, {0.88, 0.94, 0.74, 0.82}},
      {2048, 128, false, {0.90, 0.95, 0.76, 0.84}},
      {2048, 64, true, {0.86, 0.92, 0.70, 0.78}},
      {512, 64, true, {0.78, 0.86, 0.62, 0.72}},
  };
  for (const auto& [n, d, is_causal, target] : cells) {
    const char* kind = is_causal ? "causal" : "full";
    rows.push_back({.name = fmt::format("backward/{}/{}/{}", kind, n, d),
                    .what = fmt::format("backward {}, N = {}, d = {}", kind, n, d),
                    .target = target,
                    .kith = backward(transformer(n, d, is_causal)),
                    .peers = {kTorch}});
  }
}

void add_types(Rows& rows) {
  const Problem full = transformer(2048, 64), wide = transformer(2048, 128);
  rows.push_back({.name = "float64/forward",
                  .what = "float64 forward, N = 2048, d = 64, of half the peak",
                  .target = {0.80, 0.87},
                  .kith = as(full, Dtype::float64),
                  .peers = {{"libtorch_sdpa", 2}, {"openblas"}}});
  rows.push_back({.name = "float64/backward",
                  .what = "float64 backward, N = 2048, d = 64, of half the peak",
                  .target = {0.80, 0.90},
                  .kith = as(backward(full), Dtype::float64),
                  .peers = {{"libtorch_sdpa", 2}}});
  const Problem bfloat = as(wide, Dtype::bfloat16);
  rows.push_back({"bfloat16/forward",
                  "bf16, weights rounded to bf16, full, N = 2048, d = 128, against own f32",
                  Measure::speed_ratio,
                  {1.5, 1.9},
                  with(bfloat, [](Problem& p) { p.round_weights = true; }),
                  wide,
                  {{"libtorch_sdpa"}, {"onednn"}}});
  rows.push_back({"bfloat16/forward/exact",
                  "bf16, weights as floats, full, N = 2048, d = 128, against own f32",
                  Measure::speed_ratio,
                  {},
                  bfloat,
                  wide,
                  {{"libtorch_sdpa"}, {"onednn"}}});
  rows.push_back({"float16/forward",
                  "f16, full, N = 2048, d = 128, against own f32",
                  Measure::speed_ratio,
                  {},
                  as(wide, Dtype::float16),
                  wide,
                  {{"libtorch_sdpa"}}});
}

void add_threads(Rows& rows) {
  const auto add = [&](const char* name, const char* what, const Problem& problem,
                       std::vector<PeerTarget> peers) {
    rows.push_back({fmt::format("threads/{}", name),
                    fmt::format("two threads against one: {}", what),
                    Measure::speed_ratio,
                    {1.88, 1.95},
                    on(problem, 2),
                    on(problem, 1),
                    std::move(peers)});
  };
  const Problem full = transformer(2048, 64);
  add("forward", "forward", full, {kTorch, {"onnx_mha", kOnnxFull}});
  add("forward/one_head", "forward with one head", one_head(full), {kTorch});
  add("backward/one_head", "backward with one head", one_head(backward(full)), {kTorch});
  add("decode/one_head", "decode with one head, M = 262144",
      with(decode(Dtype::float32),
           [](Problem& p) {
             p.heads = 1;
             p.keys = 262144;
           }),
      {{"libtorch_sdpa", 2.5}});
}

void add_decode(Rows& rows) {
  const auto add = [&](Dtype dtype, Target target, std::vector<PeerTarget> peers) {
    rows.push_back({fmt::format("decode/{}", kith::name(dtype)),
                    fmt::format("decode, M = 8192, H = 32, d = 128, {}", kith::name(dtype)),
                    Measure::share_of_read,
                    target,
                    decode(dtype),
                    {},
                    std::move(peers)});
  };
  add(Dtype::float32, {0.88, 0.95}, {{"libtorch_sdpa", 2.5}, {"onnx_mha"}});
  add(Dtype::bfloat16, {0.85, 0.92}, {{"libtorch_sdpa", 8}});
  add(Dtype::float16, {0.85, 0.92}, {{"libtorch_sdpa", 8}});
}

constexpr Index kMany = 100000, kMillion = 1000000;
// Silverman's rule for N(0, 1): (4 / (d + 2))^(1 / (d + 4)) n^(-1 / (d + 4)).
double silverman(Index n, Index d) {
  const double power = 1.0 / static_cast<double>(d + 4);
  return std::pow(4.0 / static_cast<double>(d + 2), power) * std::pow(static_cast<double>(n), -power);
}

void add_regression(Rows& rows) {
  struct Cell {
    Index d;
    Target target;
    double keops;
  };
  for (const auto& [d, target, keops] :
       {Cell{1, {12, 14}, 50}, {3, {9.5, 11}, 45}, {8, {6.8, 7.8}, 40}, {64, {1.5, 1.8}, 35}}) {
    // So wide that every key counts: a sum over all pairs is the best there is, except at d = 1.
    const double h = std::sqrt(static_cast<double>(d));
    std::vector<PeerTarget> peers = {{"keops", keops, 2000}};
    if (d >= 8) peers.push_back({"faiss_flat", 0, 2000});
    rows.push_back({fmt::format("regression/direct/{}", d),
                    fmt::format("regression, direct sums, 10⁵ x 10⁵, d = {}, G pairs/s a core", d),
                    Measure::pairs_rate,
                    target,
                    direct(regression(kMany, kMany, d, h)),
                    {},
                    std::move(peers)});
  }
  for (const Data data : {Data::uniform, Data::clustered})
    for (const double h : {1e-4, 1e-3, 1e-2, 1e-1}) {
      const char* kind = data == Data::uniform ? "uniform" : "clustered";
      rows.push_back(
          {.name = fmt::format("regression/million/1/{}/{:.0e}", kind, h),
           .what = fmt::format("regression, n = m = 10⁶, d = 1, {}, h = {:g} of the range, s", kind, h),
           .measure = Measure::seconds,
           .target = {0.3, 0.1},
           .kith = regression(kMillion, kMillion, 1, h, data)});
    }
  for (Index d : {2, 3}) {
    std::vector<PeerTarget> peers = {{"keops", 0, 100}};
    if (d == 3) {
      peers.push_back({"sklearn_kde", 0, 100});
      peers.push_back({"sklearn_neighbors", 0, 2000});
    }
    rows.push_back({fmt::format("regression/million/{}", d),
                    fmt::format("regression, n = m = 10⁶, d = {}, Silverman's h, s", d),
                    Measure::seconds,
                    d == 2 ? Target{1, 0.3} : Target{5, 2},
                    regression(kMillion, kMillion, d, silverman(kMillion, d)),
                    {},
                    std::move(peers)});
  }
}

void add_hard_data(Rows& rows) {
  const auto add = [&](const char* name, const char* what, Target target, Index d, Data data) {
    const double h = silverman(kMany, d);
    rows.push_back({fmt::format("regression/{}/{}", name, d),
                    fmt::format("{}, d = {}: time against ordinary data", what, d), Measure::time_ratio,
                    target, regression(20000, kMany, d, h, data), regression(20000, kMany, d, h)});
  };
  for (Index d : {1, 2, 3, 8}) {
    add("far", "queries far from all keys", {5, 2}, d, Data::far);
    add("gaps", "gaps", {5, 2}, d, Data::gaps);
    add("clusters", "clusters", {5, 2}, d, Data::clustered);
    add("duplicates", "duplicates", {5, 2}, d, Data::duplicates);
  }
  for (Index d : {1, 3, 8})
    add("underflow", "weights in the underflow range", {1.2, 1.05}, d, Data::underflow);
}

}  // namespace

std::vector<Row> rows() {
  Rows rows;
  add_forward(rows);
  add_forward_ratios(rows);
  add_backward(rows);
  add_types(rows);
  add_threads(rows);
  add_decode(rows);
  add_regression(rows);
  add_hard_data(rows);
  return rows;
}

}  // namespace kith::bench
