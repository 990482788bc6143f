// What is computed, in words that Kith's side and every peer's adapter understand alike.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "kith/dtype.h"
#include "kith/view.h"

namespace kith::bench {

enum class Task { forward, backward };

/// One thing that makes the logits other than scaled dot products.
enum class Variant { dot, gaussian, cosine, bias, relative, window, soft_cap };

enum class Data {
  normal,      ///< queries, keys and values all N(0, 1)
  growing,     ///< every block of keys raises every row's maximum, by more than a lazy maximum tolerates
  uniform,     ///< points uniform in [0, 1]
  clustered,   ///< points in 20 clumps 0.002 wide in [0, 1]
  far,         ///< every query 50 bandwidths from all keys
  gaps,        ///< keys in two clumps, a third of the queries in the empty stretch between them
  duplicates,  ///< each key there 100 times
  underflow,   ///< near keys for every query, and all others where exp(logit) is a subnormal float
};

struct Problem {
  Task task = Task::forward;
  Dtype dtype = Dtype::float32;
  Index heads = 8, queries = 2048, keys = 2048, depth = 64, value_depth = 64;
  bool is_causal = false;
  Variant variant = Variant::dot;
  double bandwidth = 0;  ///< Gaussian's; 0: that which makes logits as large as dot's
  Data data = Data::normal;
  bool direct = false;         ///< over all pairs, though there be a cheaper method
  bool round_weights = false;  ///< as the option
  int threads = 1;
  std::string instruction_set{};  ///< empty: the best

  /// Windows see this many keys before the query's own.
  static constexpr Index kWindow = 256;
};

Problem transformer(Index rows, Index depth, bool is_causal = false);
Problem decode(Dtype dtype);
Problem regression(Index queries, Index keys, Index depth, double bandwidth, Data data = Data::normal);
Problem direct(Problem problem);

/// Bandwidth in use.
double bandwidth(const Problem& problem);
/// Pairs of a query and a key it sees, in all heads.
double visible_pairs(const Problem& problem);
/// 2 (D + Dv) a visible pair forward; 2 (3 D + 2 Dv) backward, where the weights are computed again.
double operations(const Problem& problem);
/// Of inputs and outputs, each touched once.
double bytes(const Problem& problem);

/// "8 heads, 2048 x 2048, d 64, float32"
std::string shape_text(const Problem& problem);
nlohmann::json to_json(const Problem& problem);

}  // namespace kith::bench
