// Losses and their gradients.
#pragma once

#include <cstdint>
#include <span>

#include "kith/view.h"

namespace kith {

/// The weighted mean over rows of -log softmax(logits)[label], in nats. logits [n, classes], label [n] in
/// [0, classes), weight [n] not negative, or empty: all 1. d_logits is overwritten (it may be logits); an
/// empty view: not wanted. 0 for no rows or when all weights are 0. Sums are in double.
double softmax_cross_entropy(View<const float, 2> logits, std::span<const std::uint32_t> label,
                             View<float, 2> d_logits, std::span<const float> weight = {}, int threads = 0);

/// The weighted mean over rows of the mean over columns of (prediction - target)^2. d_prediction is
/// overwritten (it may be prediction); an empty view: not wanted. Weights as above.
double squared_error(View<const float, 2> prediction, View<const float, 2> target,
                     View<float, 2> d_prediction, std::span<const float> weight = {}, int threads = 0);

}  // namespace kith
