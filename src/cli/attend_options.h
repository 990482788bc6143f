// What `kith attend` was asked for. A member is named like its option. Where it says "numbers", the text is
// the name of a .npy file or numbers with commas between them; an empty text: not given.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kith/attention.h"

namespace kith::cli {

struct SimilarityArguments {
  std::string name = "dot";
  std::optional<double> scale, temperature, bandwidth, tau, power;
  std::string matrix, query_weight, key_weight;  ///< files
  std::string score;                             ///< numbers
  std::string column_bandwidths;                 ///< numbers
  std::string metric_matrix;                     ///< file
  std::string query_bandwidths, key_bandwidths;  ///< numbers
  double soft_cap = 0;
  std::string sink;  ///< numbers
};

struct MaskArguments {
  bool causal = false, exclude_self = false;
  std::optional<std::pair<Index, Index>> window;
  Index first_key = 0;
  std::string prefix, key_lengths, query_lengths, ragged_query, ragged_key;  ///< numbers
  std::string query_documents, key_documents, query_groups, key_groups;      ///< numbers
  std::string query_times, key_times;                                        ///< numbers
  std::string block_map;                                                     ///< file
  std::pair<Index, Index> block_size = {64, 64};
  std::string mask;  ///< file
};

struct BiasArguments {
  std::string bias;          ///< file
  std::string relative, t5;  ///< numbers
  Index relative_left = 0;
  bool t5_one_way = false;
  Index t5_max_distance = T5Buckets{}.max_distance;
  std::string alibi;  ///< numbers, or auto
};

struct RotaryArguments {
  std::string layout;  ///< half or interleaved; empty: no rotation
  double base = Rotary{}.base, scaling = Rotary{}.scaling;
  Index columns = 0;
  std::string frequencies, query_positions, key_positions;  ///< numbers
  std::optional<Index> query_offset, key_offset;
};

struct OutputArguments {
  bool lse = false, entropy = false, largest = false, received = false, position = false;
  bool second_moment = false, weights = false;
  int top = 0;
  std::size_t weights_limit = std::size_t{1} << 30;  ///< bytes
};

/// Files of upstream gradients and of directions.
struct DerivativeArguments {
  std::string gradient, gradient_lse, gradient_entropy, gradient_second_moment;
  std::string tangent_query, tangent_key, tangent_value, tangent_gradient;
  std::optional<double> tangent_parameter;

  bool tangent() const {
    return !tangent_query.empty() || !tangent_key.empty() || !tangent_value.empty() || tangent_parameter;
  }
};

struct AttendOptions {
  std::string query, key, value, out;
  std::optional<Dtype> dtype;
  bool describe = false;
  std::pair<Index, Index> describe_at = {0, 0};
  Index offset = 0;  ///< position of query 0
  SimilarityArguments similarity;
  MaskArguments mask;
  BiasArguments bias;
  RotaryArguments rotary;
  double dropout = 0;
  Index first_batch = 0;
  Method method = Method::automatic;
  bool round_weights = false;
  OutputArguments outputs;
  DerivativeArguments derivatives;
};

}  // namespace kith::cli
