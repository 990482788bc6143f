#include "own.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "check.h"
#include "inputs.h"
#include "kith/npy.h"
#include "memory.h"

namespace kith::bench {
namespace {

/// The instruction set of a problem, while this object lives.
class Forced {
 public:
  explicit Forced(const Problem& problem) : any_(!problem.instruction_set.empty()) {
    if (any_) force_instruction_set(problem.instruction_set.c_str());
  }
  ~Forced() {
    if (any_) force_instruction_set("");
  }
  Forced(const Forced&) = delete;
  Forced& operator=(const Forced&) = delete;

 private:
  bool any_;
};

template <class To>
Array<To, 4> rounded(const Array<double, 4>& from) {
  Array<To, 4> to(from.shape());
  std::transform(from.begin(), from.end(), to.begin(), [](double x) { return static_cast<To>(x); });
  return to;
}

template <class From>
Array<double, 4> widened(const Array<From, 4>& from) {
  Array<double, 4> to(from.shape());
  std::transform(from.begin(), from.end(), to.begin(), [](From x) { return static_cast<double>(x); });
  return to;
}

template <class T>
class TypedOwn final : public Own {
  using Real = compute_t<T>;

 public:
  explicit TypedOwn(const Problem& problem) : problem_(problem) {
    Inputs inputs = make_inputs(problem);
    query_ = rounded<T>(inputs.query);
    key_ = rounded<T>(inputs.key);
    value_ = rounded<T>(inputs.value);
    d_out_ = rounded<Real>(inputs.d_out);
    set_options();
    const Forced forced(problem_);
    forward();
    if (is_backward()) gradients_ = attend_backward(query_, key_, value_, result_, d_out_, options_);
    error_ = check();
    if (!(error_ < tolerance(problem))) {
      throw Error(fmt::format("{}: Kith's error is {:.1e}; not timed", shape_text(problem), error_));
    }
  }

  void run() override {
    const Forced forced(problem_);
    if (is_backward()) {
      gradients_ = attend_backward(query_, key_, value_, result_, d_out_, options_);
    } else {
      forward();
    }
  }

  double error() const override { return error_; }

  void write(const std::string& folder) const override {
    const auto save = [&](const char* name, const auto& array) {
      if (!array.empty()) write_npy(fmt::format("{}/{}.npy", folder, name), array);
    };
    save("query", storable(query_));
    save("key", storable(key_));
    save("value", storable(value_));
    save("d_out", d_out_);
  }

  void compare(const std::string& folder, const std::string& peer) const override {
    for (const auto& [name, own] : compared()) {
      const std::string path = fmt::format("{}/{}.npy", folder, name);
      if (std::filesystem::exists(path)) require_same(read_npy(path).as<double, 4>(), *own, name, peer);
    }
    compare_lse(folder, peer);
    compare_nearest(folder, peer);
  }

  KithProblem in_process(const Problem& problem) const override {
    if (problem.heads > 1 && problem.queries < problem_.queries) throw Error("takes no part of the queries");
    return {.type = peer_type(),
            .is_backward = is_backward(),
            .is_causal = problem.is_causal,
            .threads = problem.threads,
            .heads = problem.heads,
            .queries = problem.queries,
            .keys = problem.keys,
            .depth = problem.depth,
            .value_depth = problem.value_depth,
            .scale = 1 / std::sqrt(static_cast<double>(problem.depth)),
            .query = query_.data(),
            .key = key_.data(),
            .value = value_.data(),
            .d_out = is_backward() ? d_out_.data() : nullptr};
  }

  void compare(const KithResults& results, const Problem& problem, const std::string& peer) const override {
    const std::initializer_list<const void*> theirs = {results.out, results.d_query, results.d_key,
                                                       results.d_value};
    auto their = theirs.begin();
    for (const auto& [name, own] : compared()) {
      const auto* data = static_cast<const Real*>(*their++);
      if ((own == &result_.out) == is_backward()) continue;
      if (data == nullptr) throw Error(fmt::format("{} gave no {}; not timed", peer, name));
      Shape<4> shape = own->shape();
      if (own == &result_.out || own == &gradients_.query) shape[2] = problem.queries;
      Array<double, 4> copy(shape);
      std::copy_n(data, copy.size(), copy.data());
      require_same(copy, *own, name, peer);
    }
  }

  double peak_memory() override {
    const Forced forced(problem_);
    return peak_growth([&] {
      if (is_backward()) {
        attend_backward(query_, key_, value_, result_, d_out_, options_);
      } else {
        attend(query_, key_, value_, options_);
      }
    });
  }

 private:
  bool is_backward() const { return problem_.task == Task::backward; }
  void forward() { attend(query_, key_, value_, options_, result_, workspace_); }

  static KithType peer_type() {
    if constexpr (std::is_same_v<T, double>) return kith_float64;
    if constexpr (std::is_same_v<T, bfloat16>) return kith_bfloat16;
    if constexpr (std::is_same_v<T, float16>) return kith_float16;
    return kith_float32;
  }

  // In the order of KithResults.
  std::array<std::pair<const char*, const Array<Real, 4>*>, 4> compared() const {
    return {{{"out", &result_.out},
             {"d_query", &gradients_.query},
             {"d_key", &gradients_.key},
             {"d_value", &gradients_.value}}};
  }

  void require_same(const Array<double, 4>& theirs, const Array<Real, 4>& own, const char* name,
                    const std::string& peer) const {
    const double error = difference(theirs, widened(own));
    if (!(error < peer_tolerance(problem_.dtype)))
      throw Error(fmt::format("{}'s {} differs from Kith's by {:.1e}; not timed", peer, name, error));
  }

  static const Array<T, 4>& storable(const Array<T, 4>& array) requires(sizeof(T) >= 4) { return array; }
  static Array<float, 4> storable(const Array<T, 4>& array) requires(sizeof(T) < 4) {
    Array<float, 4> copy(array.shape());
    std::copy(array.begin(), array.end(), copy.begin());
    return copy;
  }

  void set_options() {
    const Index heads = problem_.heads, n = problem_.queries, m = problem_.keys;
    options_.threads = problem_.threads;
    options_.want.lse = is_backward();
    if (problem_.is_causal) options_.mask = causal();
    if (problem_.direct) options_.method = Method::direct;
    options_.round_weights = problem_.round_weights;
    switch (problem_.variant) {
      case Variant::dot:
        break;
      case Variant::gaussian:
        options_.similarity = Gaussian{bandwidth(problem_)};
        break;
      case Variant::cosine:
        options_.similarity = Cosine{0.1};
        break;
      case Variant::soft_cap:
        options_.soft_cap = 30;
        break;
      case Variant::window:
        options_.mask = causal() & window(Problem::kWindow, 0);
        break;
      case Variant::bias:
        bias_ = Array<float, 4>({1, 1, n, m});
        for (Index i = 0; i < bias_.size(); ++i)
          bias_.data()[i] = static_cast<float>(i * 7919 % 1000) * 0.002f;
        options_.bias.array = bias_;
        break;
      case Variant::relative:
        constexpr Index kReach = 128;
        table_ = Array<double, 2>({heads, 2 * kReach + 1});
        for (Index i = 0; i < table_.size(); ++i)
          table_.data()[i] = static_cast<double>(i * 7919 % 1000) * 0.002;
        options_.bias.relative = RelativeTable{table_, kReach};
        break;
    }
  }

  // The double-precision reference decides, on the numbers as they are stored.
  double check() const {
    const Array<double, 4> query = widened(query_), key = widened(key_), value = widened(value_);
    const double forward_error = check_forward(query, key, value, widened(result_.out), options_);
    if (!is_backward()) return forward_error;
    const Exact exact{query, key, value, widened(d_out_), widened(result_.out)};
    const DoubleGradients gradients{widened(gradients_.query), widened(gradients_.key),
                                    widened(gradients_.value)};
    return std::max(forward_error, check_backward(exact, gradients, options_));
  }

  void compare_lse(const std::string& folder, const std::string& peer) const {
    const std::string path = folder + "/lse.npy";
    if (!std::filesystem::exists(path)) return;
    AttentionOptions options = options_;
    options.want.lse = true;
    const auto theirs = read_npy(path).as<double, 3>();
    const auto own = attend(query_, key_, value_, options).lse;
    for (Index h = 0; h < theirs.shape()[1]; ++h) {
      for (Index i = 0; i < theirs.shape()[2]; ++i) {
        const double difference = std::abs(theirs(0, h, i) - static_cast<double>(own(0, h, i)));
        if (!(difference < 1e-2))
          throw Error(fmt::format("{}'s log sum differs from Kith's by {:.1e}; not timed", peer, difference));
      }
    }
  }

  // Squared distances to the nearest keys, from searches: [1, 1, queries, 1].
  void compare_nearest(const std::string& folder, const std::string& peer) const {
    const std::string path = folder + "/nearest.npy";
    if (!std::filesystem::exists(path)) return;
    const auto theirs = read_npy(path).as<double, 4>();
    for (Index i = 0; i < std::min(theirs.shape()[2], Index{20}); ++i) {
      double nearest = std::numeric_limits<double>::infinity();
      for (Index j = 0; j < problem_.keys; ++j) {
        double distance = 0;
        for (Index k = 0; k < problem_.depth; ++k) {
          const double apart =
              static_cast<double>(query_(0, 0, i, k)) - static_cast<double>(key_(0, 0, j, k));
          distance += apart * apart;
        }
        nearest = std::min(nearest, distance);
      }
      if (!(std::abs(nearest - theirs(0, 0, i, 0)) < 1e-3 * (1 + nearest)))
        throw Error(fmt::format("{}'s nearest key is {} away, and {} is right; not timed", peer,
                                theirs(0, 0, i, 0), nearest));
    }
  }

  Problem problem_;
  AttentionOptions options_;
  Array<T, 4> query_, key_, value_;
  Array<Real, 4> d_out_;
  Array<float, 4> bias_;
  Array<double, 2> table_;
  Workspace workspace_;
  BasicAttentionResult<Real> result_;
  BasicAttentionGradients<Real> gradients_;
  double error_ = 0;
};

}  // namespace

std::unique_ptr<Own> prepare(const Problem& problem) {
  switch (problem.dtype) {
    case Dtype::float64:
      return std::make_unique<TypedOwn<double>>(problem);
    case Dtype::bfloat16:
      return std::make_unique<TypedOwn<bfloat16>>(problem);
    case Dtype::float16:
      return std::make_unique<TypedOwn<float16>>(problem);
    default:
      return std::make_unique<TypedOwn<float>>(problem);
  }
}

}  // namespace kith::bench
