#include "attention/method.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <type_traits>
#include <vector>

#include "attention/lowering.h"
#include "attention/points/line.h"
#include "attention/points/plane.h"
#include "attention/points/skip.h"
#include "attention/points/space.h"
#include "attention/prepared_rows.h"
#include "kith/error.h"

namespace kith {
namespace {

constexpr Index kMostSkipDepth = 16;

/// Below this many pairs a head the direct sum takes about a millisecond, whatever the data.
constexpr double kFewPairs = 1 << 22;

// Seconds of one core at 3.7 GHz that issues one 512-bit multiply-add a cycle: only their ratios count.
double direct_seconds(const points::Task& t) {
  const double a_pair = 0.16e-9 + 0.021e-9 * static_cast<double>(t.depth);
  return a_pair * static_cast<double>(t.queries) * static_cast<double>(t.keys);
}
double line_seconds(const points::Task& t) { return 45e-9 * static_cast<double>(t.queries + t.keys); }
double skip_seconds(const points::Task& t) {
  const double a_pair = 0.12e-9 * static_cast<double>(std::max<Index>(t.depth, 3));
  return 0.25e-6 * static_cast<double>(t.keys) + 0.16e-6 * static_cast<double>(t.queries) +
         a_pair * static_cast<double>(t.queries) * points::skip_visits(t);
}

std::optional<points::Kernel> kernel_of(const Similarity& similarity, Index depth) {
  using points::Kernel;
  if (std::holds_alternative<Gaussian>(similarity)) return Kernel::gaussian;
  if (std::holds_alternative<Euclidean>(similarity)) return Kernel::laplace;
  // The city-block distance is the Euclidean one in one dimension.
  if (std::holds_alternative<Laplace>(similarity) && depth == 1) return Kernel::laplace;
  if (const auto* compact = std::get_if<Compact>(&similarity)) {
    switch (compact->kernel) {
      case CompactKernel::boxcar:
        return Kernel::boxcar;
      case CompactKernel::epanechnikov:
        return Kernel::epanechnikov;
      case CompactKernel::triangular:
        return Kernel::triangular;
      case CompactKernel::biweight:
        return Kernel::biweight;
      case CompactKernel::tricube:
        return Kernel::tricube;
    }
  }
  return {};
}

double bandwidth_of(const Similarity& similarity) {
  if (const auto* s = std::get_if<Gaussian>(&similarity)) return s->bandwidth;
  if (const auto* s = std::get_if<Euclidean>(&similarity)) return s->temperature;
  if (const auto* s = std::get_if<Laplace>(&similarity)) return s->bandwidth;
  return std::get<Compact>(similarity).bandwidth;
}

/// What in the options keeps a call from every method but direct; null: nothing.
const char* obstacle(const AttentionOptions& options) {
  const Want& want = options.want;
  if (!options.mask.empty()) return "no mask";
  if (options.bias.has_array() || options.bias.has_positions()) return "no bias";
  if (options.soft_cap != 0) return "no soft cap";
  if (!options.sink.empty()) return "no sink";
  if (options.adaptive.query.data != nullptr || options.adaptive.key.data != nullptr) {
    return "no adaptive bandwidth";
  }
  if (options.rotary) return "no rotation";
  if (options.dropout.rate > 0) return "no dropout";
  if (want.top > 0 || want.entropy || want.largest || want.received || want.position || want.second_moment) {
    return "no output but out and lse";
  }
  return nullptr;
}

/// The points of the call's heads; mapped rows where there is a metric.
class Points {
 public:
  Points(const Geometry& g, const View<const float, 4>& query, const View<const float, 4>& key,
         const View<const float, 4>& value, const AttentionOptions& options, int threads)
      : g_(g),
        value_(value),
        query_(query, options, g, RowMap::Side::query),
        key_(key, options, g, RowMap::Side::key),
        depth_(query_.map().depth_out()) {
    task_.bandwidth = bandwidth_of(options.similarity);
    task_.kernel = *kernel_of(options.similarity, depth_);
    task_.depth = depth_;
    task_.queries = g.queries;
    task_.keys = g.keys;
    task_.value_depth = g.value_depth;
    task_.threads = threads;
    if (!query_.in_place()) query_rows_.resize(static_cast<std::size_t>(g.queries * depth_));
    if (!key_.in_place()) key_rows_.resize(static_cast<std::size_t>(g.keys * depth_));
  }

  /// Keys and values of a head, for the tasks that follow. False if a number is not finite.
  bool take_keys(Index b, Index h) {
    const HeadRows<float> keys = key_.apply(sequence(b), h, key_rows_.data());
    const HeadRows<float> values = head_rows(value_, b, h);
    task_.key = {keys.data, keys.stride};
    task_.value = {values.data, values.stride};
    return all_finite(keys, g_.keys, depth_) && all_finite(values, g_.keys, g_.value_depth);
  }
  bool take_queries(Index b, Index h) {
    const HeadRows<float> queries = query_.apply(sequence(b), h, query_rows_.data());
    task_.query = {queries.data, queries.stride};
    return all_finite(queries, g_.queries, depth_);
  }
  points::Task& task() { return task_; }

  /// Takes every head in turn.
  bool finite() {
    for (Index b = 0; b < g_.batch; ++b) {
      for (Index h = 0; h < g_.key_heads; ++h) {
        if (!take_keys(b, h)) return false;
      }
      for (Index h = 0; h < g_.heads; ++h) {
        if (!take_queries(b, h)) return false;
      }
    }
    return true;
  }

 private:
  Sequence sequence(Index b) const {
    return {.batch = b, .first_query = 0, .queries = g_.queries, .first_key = 0, .keys = g_.keys};
  }

  const Geometry& g_;
  const View<const float, 4>& value_;
  MappedRows<float> query_, key_;
  Index depth_;
  std::vector<float> query_rows_, key_rows_;
  points::Task task_;
};

/// Of a task that all methods but direct can do, by the depth they are for.
Method cheapest(const points::Task& task) {
  Method best = Method::direct;
  double least = direct_seconds(task);
  const auto offer = [&](Method method, double seconds) {
    if (seconds >= least) return;
    least = seconds;
    best = method;
  };
  if (task.depth == 1 && std::max(task.queries, task.keys) < points::kMaxLineRows) {
    offer(Method::line, line_seconds(task));
    return best;
  }
  if (task.depth == 2) {
    const points::PlaneCost cost = points::plane_cost(task);
    if (cost.possible) offer(Method::plane, cost.seconds);
  }
  const double skipping = skip_seconds(task);
  if (task.depth == 3) {
    const points::SpaceCost cost = points::space_cost(task);
    if (cost.possible) offer(Method::space, cost.seconds + cost.far * skipping);
  }
  offer(Method::skip, skipping);
  return best;
}

/// The rows that plane() or space() hands back, as a task of their own.
void skip_rows(const points::Task& task, const std::vector<Index>& rows) {
  if (rows.empty()) return;
  const auto count = static_cast<Index>(rows.size());
  std::vector<float> query(static_cast<std::size_t>(count * task.depth));
  std::vector<double> lse(rows.size()), average(static_cast<std::size_t>(count * task.value_depth));
  for (Index i = 0; i < count; ++i) {
    std::copy_n(task.query[rows[static_cast<std::size_t>(i)]], task.depth, query.data() + i * task.depth);
  }
  points::Task rest = task;
  rest.queries = count;
  rest.query = {query.data(), task.depth};
  rest.lse = lse.data();
  rest.average = average.data();
  points::skip(rest);
  for (Index i = 0; i < count; ++i) {
    const Index row = rows[static_cast<std::size_t>(i)];
    task.lse[row] = lse[static_cast<std::size_t>(i)];
    std::copy_n(average.data() + i * task.value_depth, task.value_depth,
                task.average + row * task.value_depth);
  }
}

}  // namespace

const char* method_name(Method method) {
  switch (method) {
    case Method::automatic:
      return "auto";
    case Method::direct:
      return "direct";
    case Method::line:
      return "line";
    case Method::plane:
      return "plane";
    case Method::space:
      return "space";
    case Method::skip:
      return "skip";
  }
  return "";
}

template <class T>
Method choose_method(const Geometry& g, const View<const T, 4>& query, const View<const T, 4>& key,
                     const View<const T, 4>& value, const AttentionOptions& options, int threads) {
  const Method asked = options.method;
  if (asked == Method::direct) return asked;
  const bool forced = asked != Method::automatic;
  const auto refuse = [&](const std::string& needs) {
    if (forced) throw Error(fmt::format("method: {}; it needs {}", method_name(asked), needs));
    return Method::direct;
  };
  if constexpr (!std::is_same_v<T, float>) {
    return refuse("float32");
  } else {
    const double pairs = static_cast<double>(g.queries) * static_cast<double>(g.keys);
    if (!forced && pairs <= kFewPairs) return Method::direct;
    if (const char* needs = obstacle(options)) return refuse(needs);
    const Index depth = RowMap(options, g, RowMap::Side::query).depth_out();
    const auto kernel = kernel_of(options.similarity, depth);
    if (!kernel) return refuse("a similarity of distances: Gaussian, Euclidean or compact");
    if (asked == Method::line && depth != 1) return refuse(fmt::format("one column, not {}", depth));
    if (asked == Method::plane && depth != 2) return refuse(fmt::format("two columns, not {}", depth));
    if (asked == Method::space && depth != 3) return refuse(fmt::format("three columns, not {}", depth));
    if ((asked == Method::plane || asked == Method::space) && *kernel != points::Kernel::gaussian) {
      return refuse("the Gaussian");
    }
    if (depth > kMostSkipDepth) {
      return refuse(fmt::format("at most {} columns, not {}", kMostSkipDepth, depth));
    }
    if (g.batch * g.heads == 0 || g.queries == 0 || g.keys == 0) return Method::direct;
    Points points(g, query, key, value, options, threads);
    if (!points.finite()) return refuse("finite queries, keys and values");
    return forced ? asked : cheapest(points.task());
  }
}

void run_points(const Geometry& g, const View<const float, 4>& query, const View<const float, 4>& key,
                const View<const float, 4>& value, const AttentionOptions& options, int threads,
                AttentionResult& result) {
  Points points(g, query, key, value, options, threads);
  points::Line line;
  std::vector<double> lse(static_cast<std::size_t>(g.queries));
  std::vector<double> average(static_cast<std::size_t>(g.queries * g.value_depth));
  points::Task& task = points.task();
  task.lse = lse.data();
  task.average = average.data();
  for (Index b = 0; b < g.batch; ++b) {
    for (Index h = 0; h < g.heads; ++h) {
      if (h % g.group() == 0) points.take_keys(b, h / g.group());
      points.take_queries(b, h);
      switch (result.method) {
        case Method::line:
          line.sum(task);
          break;
        case Method::plane:
          skip_rows(task, points::plane(task));
          break;
        case Method::space:
          skip_rows(task, points::space(task));
          break;
        default:
          points::skip(task);
      }
      std::transform(average.begin(), average.end(), &result.out(b, h, 0, 0),
                     [](double x) { return static_cast<float>(x); });
      if (result.lse.empty()) continue;
      std::transform(lse.begin(), lse.end(), &result.lse(b, h, 0),
                     [](double x) { return static_cast<float>(x); });
    }
  }
}

#define KITH_INSTANTIATE(T)                                                                        \
  template Method choose_method(const Geometry&, const View<const T, 4>&, const View<const T, 4>&, \
                                const View<const T, 4>&, const AttentionOptions&, int);
KITH_INSTANTIATE(float)
KITH_INSTANTIATE(double)
KITH_INSTANTIATE(bfloat16)
KITH_INSTANTIATE(float16)
#undef KITH_INSTANTIATE

}  // namespace kith
