// Training an encoder by the leave-one-out loss of batches.
#pragma once

#include <cstdint>

#include "neighbors/encoder.h"
#include "neighbors/key_loss.h"
#include "neighbors/search.h"

namespace kith::neighbors {

struct EncoderFit {
  EncoderShape shape{};
  double rate = 3e-3, decay = 1e-4;
  Index batch = 1024;       ///< queries a step, at most
  Index least_steps = 12;   ///< of a pass over few rows, whose batches are smaller
  double share = 0.5;       ///< of the rows that are not in the batch: the keys of a step
  Index most_keys = 16384;  ///< a step, whatever the share
  int patience = 12;        ///< passes over the rows without a better held-out loss
  int passes = 120;         ///< at most
  std::uint64_t seed = 0;
};

struct FittedEncoder {
  Encoder encoder;
  double prior_log_weight = -3;  ///< classification
  Loss held_out;                 ///< the least held-out loss
  int passes = 0;                ///< over the rows, until then
};

/// The encoder of the pass whose held-out loss is least: each step moves it by the loss of a random batch of
/// rows, predicted from the batch's other rows and a random share of all others. `problem.held_out` must have
/// rows. `is_number`: as Encoder's.
FittedEncoder fit_encoder(KeyLoss& loss, const SearchProblem& problem, const std::vector<bool>& is_number,
                          double prior_log_weight, const EncoderFit& options, Progress& progress);

/// By how much the held-out error would rise if a feature were the same in all rows.
std::vector<double> rise_without(KeyLoss& loss, const SearchProblem& problem, const Encoder& encoder,
                                 double prior_log_weight, const std::vector<std::size_t>& coordinate_feature,
                                 std::size_t features);

}  // namespace kith::neighbors
