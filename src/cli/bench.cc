// kith bench: the kernels on this machine, each beside the machine's own limit. A run of the kernel and a
// measurement of the limit take turns, and the median of their ratios is reported, since a shared machine's
// speed wanders.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <random>

#include <fmt/format.h>

#include "array/threads.h"
#include "attention/kernels/limits.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/text.h"
#include "kith/attention.h"
#include "kith/reference.h"

namespace kith::cli {
namespace {

constexpr int kPairs = 9;
constexpr double kLimitSeconds = 0.04;
/// Vector instructions a pair of a query and a 3-dimensional key costs at the least, in fused multiply-adds:
/// 3 for the dot product, 7 for the exponential (range reduction, a polynomial of degree 5, the power of
/// two), one each for the sum of the weights and of the values. The arithmetic limit of `regression` is the
/// FMA peak over these.
constexpr double kRegressionFlops = 2 * 12;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

Array<float, 4> random_array(const Shape<4>& shape, unsigned seed) {
  Array<float, 4> array(shape);
  std::minstd_rand generator(seed);
  std::normal_distribution<float> normal;
  for (float& x : array) x = normal(generator);
  return array;
}

Array<double, 4> as_double(View<const float, 4> view) {
  Array<double, 4> copy(view.shape);
  for (Index b = 0; b < view.shape[0]; ++b)
    for (Index h = 0; h < view.shape[1]; ++h)
      for (Index i = 0; i < view.shape[2]; ++i)
        for (Index c = 0; c < view.shape[3]; ++c) copy(b, h, i, c) = static_cast<double>(view(b, h, i, c));
  return copy;
}

/// One query of every head.
View<const float, 4> query_row(View<const float, 4> query, Index row) {
  Shape<4> shape = query.shape;
  shape[2] = 1;
  return {query.data + row * query.stride[2], shape, query.stride};
}

/// A fast wrong answer must not be timed: one query is compared with the plain double-precision reference.
void check_row(const std::string& kernel, View<const float, 4> query, View<const float, 4> key,
               View<const float, 4> value, const AttentionOptions& options, const AttentionResult& result) {
  const Index row = query.shape[2] / 2;
  Mask mask = options.mask;
  if (mask.causal_offset) mask.causal_offset = *mask.causal_offset + row;
  const auto expected = reference::attend(as_double(query_row(query, row)), as_double(key), as_double(value),
                                          options.similarity, mask);
  for (Index h = 0; h < query.shape[1]; ++h) {
    for (Index c = 0; c < value.shape[3]; ++c) {
      const double got = static_cast<double>(result.out(0, h, row, c));
      if (!(std::abs(got - expected.out(0, h, 0, c)) < 1e-4)) {
        throw Error(fmt::format("bench: {} gives {} where {} is right; not timed", kernel, got,
                                expected.out(0, h, 0, c)));
      }
    }
  }
}

class Bench {
 public:
  explicit Bench(const BenchArguments& arguments) : arguments_(arguments) {}

  void forward(const std::string& name, bool is_causal) {
    const Heads t;
    AttentionOptions options = threads_only();
    if (is_causal) options.mask = causal();
    const double pairs = is_causal ? t.n * (t.n + 1) / 2 : t.n * t.n;
    time_attend(name, t.shape(), t.query, t.key, t.value, options, KernelTime::Unit::gflops,
                4 * pairs * t.d * t.heads, 4 * pairs * t.d * t.heads);
  }

  void backward() {
    const Heads t;
    AttentionOptions options = threads_only();
    options.want.lse = true;
    const AttentionResult result = attend(t.query, t.key, t.value, options);
    const Array<float, 4> d_out = head_array(4);
    const auto work = [&] { return attend_backward(t.query, t.key, t.value, result, d_out, options); };
    check_value_gradient(work(), d_out);
    const double flops = 10 * t.n * t.n * t.d * t.heads;
    time("backward", t.shape(), KernelTime::Unit::gflops, flops, flops, [&] { work(); });
  }

  void decode() {
    constexpr Index kManyHeads = 32, kKeys = 8192, kWide = 128;
    const auto query = random_array({1, kManyHeads, 1, kWide}, 1);
    const auto key = random_array({1, kManyHeads, kKeys, kWide}, 2);
    const auto value = random_array({1, kManyHeads, kKeys, kWide}, 3);
    const double bytes = sizeof(float) * static_cast<double>(key.size() + value.size());
    time_attend("decode", fmt::format("1 query, {} keys, {} heads of {}", kKeys, kManyHeads, kWide), query,
                key, value, threads_only(), KernelTime::Unit::gb_s, bytes, bytes);
  }

  void regression() {
    constexpr Index kQueries = 20000, kKeys = 100000, kColumns = 3;
    const auto query = random_array({1, 1, kQueries, kColumns}, 1);
    const auto key = random_array({1, 1, kKeys, kColumns}, 2);
    const auto value = random_array({1, 1, kKeys, 1}, 3);
    AttentionOptions options = threads_only();
    options.similarity = Gaussian{.bandwidth = 0.25};
    options.method = Method::direct;  // the limit counts all pairs
    const double pairs = static_cast<double>(kQueries) * static_cast<double>(kKeys);
    time_attend("regression", fmt::format("{} queries, {} keys of {}, Gaussian", kQueries, kKeys, kColumns),
                query, key, value, options, KernelTime::Unit::gpairs_s, pairs, pairs * kRegressionFlops);
  }

  BenchResult result() const {
    return {cpu_name(), instruction_set(), median(peak_), median(read_), kernels_};
  }

 private:
  static constexpr Index kHeads = 8, kRows = 2048, kWidth = 64;

  static Array<float, 4> head_array(unsigned seed) { return random_array({1, kHeads, kRows, kWidth}, seed); }

  /// A transformer layer's heads.
  struct Heads {
    Array<float, 4> query = head_array(1);
    Array<float, 4> key = head_array(2);
    Array<float, 4> value = head_array(3);
    double heads = kHeads, n = kRows, d = kWidth;
    static std::string shape() {
      return fmt::format("{0} queries, {0} keys, {1} heads of {2}", kRows, kHeads, kWidth);
    }
  };

  AttentionOptions threads_only() const {
    AttentionOptions options;
    options.threads = arguments_.threads;
    return options;
  }

  /// Weights of a row sum to 1, so the gradients of all values sum to the gradients of all outputs.
  static void check_value_gradient(const AttentionGradients& gradients, const Array<float, 4>& d_out) {
    for (Index h = 0; h < kHeads; ++h) {
      for (Index c = 0; c < kWidth; ++c) {
        double got = 0, expected = 0;
        for (Index i = 0; i < kRows; ++i) {
          got += static_cast<double>(gradients.value(0, h, i, c));
          expected += static_cast<double>(d_out(0, h, i, c));
        }
        if (!(std::abs(got - expected) < 1e-2)) {
          throw Error(fmt::format("bench: backward's value gradients sum to {} where {} is right; not timed",
                                  got, expected));
        }
      }
    }
  }

  void time_attend(const std::string& name, const std::string& shape, const Array<float, 4>& query,
                   const Array<float, 4>& key, const Array<float, 4>& value, const AttentionOptions& options,
                   KernelTime::Unit unit, double amount, double limit_amount) {
    AttentionResult result;
    Workspace workspace;
    const auto work = [&] { attend(query, key, value, options, result, workspace); };
    work();
    check_row(name, query, key, value, options, result);
    time(name, shape, unit, amount, limit_amount, work);
  }

  /// `amount` of the unit is done by one run; `limit_amount` is what the limit counts of it (operations or
  /// bytes).
  void time(const std::string& name, const std::string& shape, KernelTime::Unit unit, double amount,
            double limit_amount, const std::function<void()>& work) {
    const bool by_memory = unit == KernelTime::Unit::gb_s;
    std::vector<double> rate, share;
    const auto start = std::chrono::steady_clock::now();
    const auto elapsed = [&] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    while (share.size() < kPairs || elapsed() < arguments_.seconds) {
      const double seconds = seconds_of(work);
      const double limit = by_memory ? kernels::measure_read_gb_s(arguments_.threads, kLimitSeconds)
                                     : kernels::measure_fma_gflops(arguments_.threads, kLimitSeconds);
      (by_memory ? read_ : peak_).push_back(limit);
      rate.push_back(amount / seconds * 1e-9);
      share.push_back(limit_amount / seconds * 1e-9 / limit);
    }
    kernels_.push_back({name, shape, arguments_.threads, unit, median(rate), median(share)});
  }

  const BenchArguments& arguments_;
  std::vector<KernelTime> kernels_;
  std::vector<double> peak_, read_;
};

const char* unit_text(KernelTime::Unit unit) {
  switch (unit) {
    case KernelTime::Unit::gflops:
      return "GFLOP/s";
    case KernelTime::Unit::gb_s:
      return "GB/s";
    case KernelTime::Unit::gpairs_s:
      return "G pairs/s";
  }
  return "";
}

std::string text_of(const BenchResult& result) {
  std::string text = fmt::format("{}, {}\nlimits: {:.1f} GFLOP/s of multiply-add, {:.1f} GB/s read\n\n",
                                 result.cpu, result.instructions, result.peak_gflops, result.read_gb_s);
  AlignedTable table;
  table.add({"kernel", "shape", "threads", "speed", "", "of limit"});
  for (const KernelTime& kernel : result.kernels) {
    table.add({kernel.name, kernel.shape, fmt::format("{}", kernel.threads),
               fmt::format("{:.2f}", kernel.rate), unit_text(kernel.unit),
               fmt::format("{:.0f} %", 100 * kernel.of_limit)});
  }
  return text + table.str() +
         "\n  float32. The limit: multiply-adds for forward, backward and causal (visible pairs only), "
         "reading for\n"
         "  decode, and for regression 12 multiply-adds a pair, exponential included. Medians of interleaved "
         "runs.\n";
}

}  // namespace

void run(const BenchArguments& arguments) {
  BenchArguments resolved = arguments;
  resolved.threads = resolve_threads(arguments.threads);
  Bench bench(resolved);
  bench.forward("forward", false);
  bench.backward();
  bench.decode();
  bench.regression();
  bench.forward("causal", true);
  const BenchResult result = bench.result();
  print(arguments.json ? bench_json(result) : text_of(result));
}

}  // namespace kith::cli
