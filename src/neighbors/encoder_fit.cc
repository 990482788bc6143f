#include "neighbors/encoder_fit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kith::neighbors {
namespace {

/// Copies of some rows.
void gather(View<const float, 2> from, const std::vector<Index>& order, Array<float, 2>& to) {
  const Shape<2> shape{static_cast<Index>(order.size()), from.shape[1]};
  if (to.shape() != shape) to = Array<float, 2>(shape);
  for (std::size_t i = 0; i < order.size(); ++i) {
    std::copy_n(from.data + order[i] * from.stride[0], shape[1],
                to.data() + static_cast<Index>(i) * shape[1]);
  }
}

class Training {
 public:
  Training(KeyLoss& loss, const SearchProblem& problem, const std::vector<bool>& is_number,
           double prior_log_weight, const EncoderFit& options)
      : loss_(loss),
        rows_(problem.train),
        held_out_(problem.held_out),
        options_(options),
        random_(options.seed),
        encoder_(is_number, options.shape, random_),
        prior_("prior", {1, 1}, false),
        optimizer_(parameters(), {.rate = options.rate, .decay = options.decay}),
        order_(static_cast<std::size_t>(rows_.count())) {
    std::iota(order_.begin(), order_.end(), Index{0});
    prior_.value(0, 0) = static_cast<float>(prior_log_weight);
  }

  /// Steps over all rows in a random order; their mean loss.
  double pass() {
    random_.shuffle(order_.begin(), order_.end());
    double sum = 0;
    const Index n = rows_.count(),
                batch = std::min(options_.batch, std::max(kLeastBatch, n / options_.least_steps));
    for (Index first = 0; first < n; first += batch) {
      const Index count = std::min(batch, n - first);
      sum += step(first, count) * static_cast<double>(count);
    }
    return sum / static_cast<double>(n);
  }

  Loss held_out_loss() {
    const Array<float, 2> key = encoder_.keys(rows_.key, loss_.threads());
    const Array<float, 2> query = encoder_.keys(held_out_.key, loss_.threads());
    return loss_.evaluate(query, held_out_.value, key, rows_.value, std::nullopt, log_weight(), false).loss;
  }

  const Encoder& encoder() const { return encoder_; }
  double log_weight() const { return static_cast<double>(prior_.value(0, 0)); }

 private:
  Parameters parameters() {
    Parameters all = encoder_.parameters();
    all.push_back(&prior_);
    return all;
  }

  /// Rows order_[first, first + count) from each other and a sample of the rest.
  double step(Index first, Index count) {
    chosen_.assign(order_.begin() + first, order_.begin() + first + count);
    sample_rest(first, count);
    gather(rows_.key, chosen_, x_);
    gather(rows_.value, chosen_, value_);
    encoder_.forward(x_, pass_, loss_.threads());
    const Index width = encoder_.width();
    const View<const float, 2> query(pass_.key.data(), {count, width});
    const View<const float, 2> truth(value_.data(), {count, value_.shape()[1]});
    KeyLoss::Value found = loss_.evaluate(query, truth, pass_.key, value_, 0, log_weight(), true);
    float* d_key = found.by_row.key.data();
    const float* d_query = found.by_row.query.data();
    for (Index i = 0; i < count * width; ++i) d_key[i] += d_query[i];
    encoder_.backward(pass_, {d_key, pass_.key.shape()}, loss_.threads());
    prior_.gradient(0, 0) += static_cast<float>(found.by_prior_log_weight);
    const Parameters all = parameters();
    if (std::isfinite(clip_gradients(all, kLongestGradient))) {
      optimizer_.step(1.0, loss_.threads());
    } else {
      clear_gradients(all);
    }
    return found.loss.mean;
  }

  /// Appends a random share of the rows outside the batch: a run of the order from a random place on, around
  /// its end and over the batch. The order is random already.
  void sample_rest(Index first, Index count) {
    const Index n = rows_.count(), rest = n - count;
    const auto wanted = std::min<Index>(
        options_.most_keys, static_cast<Index>(std::ceil(options_.share * static_cast<double>(rest))));
    if (rest == 0) return;
    auto at = static_cast<Index>(random_.below(static_cast<std::uint64_t>(rest)));
    for (Index i = 0; i < wanted; ++i, at = at + 1 == rest ? 0 : at + 1) {
      chosen_.push_back(order_[static_cast<std::size_t>((first + count + at) % n)]);
    }
  }

  static constexpr double kLongestGradient = 10;
  static constexpr Index kLeastBatch = 32;

  KeyLoss& loss_;
  const Rows& rows_;
  const Rows& held_out_;
  const EncoderFit& options_;
  Random random_;
  Encoder encoder_;
  Parameter prior_;  // the prior's log weight
  AdamW optimizer_;
  std::vector<Index> order_, chosen_;
  Array<float, 2> x_, value_;
  Encoder::Pass pass_;
};

/// A copy whose coordinates of one feature are 0.
Array<float, 2> without_feature(View<const float, 2> x, const std::vector<std::size_t>& coordinate_feature,
                                std::size_t feature) {
  Array<float, 2> copy({x.shape[0], x.shape[1]});
  for (Index i = 0; i < x.shape[0]; ++i) {
    for (Index c = 0; c < x.shape[1]; ++c) {
      copy(i, c) = coordinate_feature[static_cast<std::size_t>(c)] == feature ? 0.0F : x(i, c);
    }
  }
  return copy;
}

}  // namespace

std::vector<double> rise_without(KeyLoss& loss, const SearchProblem& problem, const Encoder& encoder,
                                 double prior_log_weight, const std::vector<std::size_t>& coordinate_feature,
                                 std::size_t features) {
  constexpr Index kQueries = 1024, kKeys = 16384;
  const Rows train = problem.train.slice(0, std::min(kKeys, problem.train.count()));
  const Rows held_out = problem.held_out.slice(0, std::min(kQueries, problem.held_out.count()));
  const auto mean_loss = [&](View<const float, 2> query, View<const float, 2> key) {
    return loss
        .evaluate(encoder.keys(query, loss.threads()), held_out.value, encoder.keys(key, loss.threads()),
                  train.value, std::nullopt, prior_log_weight, false)
        .loss.mean;
  };
  const double with = mean_loss(held_out.key, train.key);
  std::vector<double> rise(features, 0.0);
  for (std::size_t f = 0; f < features; ++f) {
    if (std::find(coordinate_feature.begin(), coordinate_feature.end(), f) == coordinate_feature.end())
      continue;
    const double ratio = mean_loss(without_feature(held_out.key, coordinate_feature, f),
                                   without_feature(train.key, coordinate_feature, f)) /
                         with;
    rise[f] = std::max(0.0, (loss.classifies() ? ratio : std::sqrt(ratio)) - 1);
    if (!std::isfinite(rise[f])) rise[f] = 0;
  }
  return rise;
}

FittedEncoder fit_encoder(KeyLoss& loss, const SearchProblem& problem, const std::vector<bool>& is_number,
                          double prior_log_weight, const EncoderFit& options, Progress& progress) {
  Training training(loss, problem, is_number, prior_log_weight, options);
  FittedEncoder best{training.encoder(), training.log_weight(), training.held_out_loss(), 0};
  for (int pass = 1; pass <= options.passes && pass - best.passes <= options.patience; ++pass) {
    const double mean = training.pass();
    Loss held_out = training.held_out_loss();
    progress.step(mean, held_out.mean);
    if (held_out.mean < best.held_out.mean) {
      best = {training.encoder(), training.log_weight(), std::move(held_out), pass};
    }
    if (progress.stopped()) break;
  }
  return best;
}

}  // namespace kith::neighbors
