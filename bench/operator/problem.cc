#include "problem.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace kith::bench {
namespace {

const char* name(Variant variant) {
  switch (variant) {
    case Variant::dot:
      return "dot";
    case Variant::gaussian:
      return "gaussian";
    case Variant::cosine:
      return "cosine";
    case Variant::bias:
      return "bias";
    case Variant::relative:
      return "relative";
    case Variant::window:
      return "window";
    case Variant::soft_cap:
      return "soft_cap";
  }
  return "";
}

double number(Index n) { return static_cast<double>(n); }

}  // namespace

Problem transformer(Index rows, Index depth, bool is_causal) {
  Problem problem;
  problem.queries = problem.keys = rows;
  problem.depth = problem.value_depth = depth;
  problem.is_causal = is_causal;
  return problem;
}

Problem decode(Dtype dtype) {
  Problem problem;
  problem.dtype = dtype;
  problem.heads = 32;
  problem.queries = 1;
  problem.keys = 8192;
  problem.depth = problem.value_depth = 128;
  return problem;
}

Problem regression(Index queries, Index keys, Index depth, double bandwidth, Data data) {
  Problem problem;
  problem.heads = 1;
  problem.queries = queries;
  problem.keys = keys;
  problem.depth = depth;
  problem.value_depth = 1;
  problem.variant = Variant::gaussian;
  problem.bandwidth = bandwidth;
  problem.data = data;
  return problem;
}

Problem direct(Problem problem) {
  problem.direct = true;
  return problem;
}

double bandwidth(const Problem& problem) {
  return problem.bandwidth > 0 ? problem.bandwidth : std::pow(number(problem.depth), 0.25);
}

double visible_pairs(const Problem& problem) {
  double pairs = 0;
  for (Index i = 0; i < problem.queries; ++i) {
    Index first = 0, end = problem.keys;
    if (problem.is_causal || problem.variant == Variant::window) end = std::min(end, i + 1);
    if (problem.variant == Variant::window) first = std::max(first, i - Problem::kWindow);
    pairs += number(std::max(Index{0}, end - first));
  }
  return pairs * number(problem.heads);
}

double operations(const Problem& problem) {
  const double d = number(problem.depth), dv = number(problem.value_depth);
  return 2 * visible_pairs(problem) * (problem.task == Task::forward ? d + dv : 3 * d + 2 * dv);
}

double bytes(const Problem& problem) {
  const double d = number(problem.depth), dv = number(problem.value_depth);
  const double rows = number(problem.queries) * (d + dv) + number(problem.keys) * (d + dv);
  // Backward reads the output and its gradient, and writes as many gradients as there are inputs.
  const double backward = problem.task == Task::forward ? 0 : rows + number(problem.queries) * dv;
  return (rows + backward) * number(problem.heads) * static_cast<double>(size(problem.dtype));
}

std::string shape_text(const Problem& problem) {
  const std::string heads = problem.heads == 1 ? "" : fmt::format("{} heads, ", problem.heads);
  const std::string values =
      problem.depth == problem.value_depth ? "" : fmt::format(", Dv {}", problem.value_depth);
  return fmt::format("{}{} x {}, d {}{}, {}", heads, problem.queries, problem.keys, problem.depth, values,
                     kith::name(problem.dtype));
}

nlohmann::json to_json(const Problem& problem) {
  return {{"task", problem.task == Task::forward ? "forward" : "backward"},
          {"dtype", kith::name(problem.dtype)},
          {"heads", problem.heads},
          {"queries", problem.queries},
          {"keys", problem.keys},
          {"depth", problem.depth},
          {"value_depth", problem.value_depth},
          {"causal", problem.is_causal},
          {"variant", name(problem.variant)},
          {"bandwidth", problem.variant == Variant::gaussian ? bandwidth(problem) : 0.0},
          {"window", Problem::kWindow},
          {"threads", problem.threads}};
}

}  // namespace kith::bench
