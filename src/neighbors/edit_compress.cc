// Fewer rows that do the work of all.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kith/edit.h"
#include "neighbors/assess.h"
#include "neighbors/key_map.h"
#include "neighbors/own_rows.h"
#include "neighbors/prototypes.h"

namespace kith {
namespace {

using neighbors::Asked;

/// Rows whose errors decide on the bandwidths, at most, beside the kept ones.
constexpr std::size_t kSearchRows = 30'000;
/// By what the bandwidths are widened, and the prior's log weight raised, from one trial to the next.
constexpr double kWiden = 1.1, kPriorStep = 0.5;
constexpr int kTrials = 16;

/// Rows to be predicted from the kept ones, which come first: one mask then keeps each of them from
/// predicting itself.
std::vector<Index> kept_first(const Model::Impl& all, const std::vector<Index>& kept,
                              std::size_t most_others) {
  std::vector<bool> is_kept(static_cast<std::size_t>(all.rows()), false);
  for (Index i : kept) is_kept[static_cast<std::size_t>(i)] = true;
  std::vector<Index> others, order = kept;
  for (Index i = 0; i < all.rows(); ++i) {
    if (!is_kept[static_cast<std::size_t>(i)]) others.push_back(i);
  }
  const std::size_t count = std::min(most_others, others.size());
  for (std::size_t i = 0; i < count; ++i) order.push_back(others[i * others.size() / count]);
  return order;
}

Array<float, 2> gather(View<const float, 2> keys, const std::vector<Index>& order, double divisor) {
  Array<float, 2> out({static_cast<Index>(order.size()), keys.shape[1]});
  const auto inverse = static_cast<float>(1 / divisor);
  float* to = out.data();
  for (Index i : order) {
    const float* from = keys.data + i * keys.stride[0];
    for (Index c = 0; c < keys.shape[1]; ++c) *to++ = from[c] * inverse;
  }
  return out;
}

Asked asked(const Model::Impl& all, const std::vector<Index>& order) {
  Asked out;
  for (Index i : order) {
    if (all.task == Task::regression) {
      out.number.push_back(all.target_number(i));
    } else {
      out.code.push_back(all.target_code(i));
    }
  }
  return out;
}

/// Tries bandwidths and the prior's weight on the kept rows.
class Trials {
 public:
  Trials(const Model::Impl& all, const std::vector<Index>& kept, Model::Impl model, int threads)
      : all_(all),
        order_(kept_first(all, kept, kSearchRows)),
        asked_(asked(all, order_)),
        kept_(static_cast<Index>(kept.size())),
        model_(std::move(model)),
        threads_(threads) {}

  double operator()(double wider, double prior_log_weight) {
    const Array<float, 2> query = gather(all_.key, order_, wider);
    asked_.query = query.view();
    model_.key = query.view();
    model_.key.shape[0] = kept_;
    model_.prior.log_weight = prior_log_weight;
    neighbors::judge(model_, {asked_}, threads_);
    const Errors& errors = model_.leave_one_out;
    return model_.task == Task::regression ? errors.rmse : errors.log_loss;
  }

 private:
  const Model::Impl& all_;
  std::vector<Index> order_;
  Asked asked_;
  Index kept_;
  Model::Impl model_;
  int threads_;
};

/// Steps a number up, or else down, while the loss falls. Returns the least loss.
template <class Loss>
double descend(double least, double& at, double step_up, double step_down, bool multiply, const Loss& loss) {
  for (const double step : {step_up, step_down}) {
    bool moved = false;
    for (int trial = 0; trial < kTrials; ++trial) {
      const double next = multiply ? at * step : at + step;
      const double value = loss(next);
      if (!(value < least)) break;
      least = value;
      at = next;
      moved = true;
    }
    if (moved) break;
  }
  return least;
}

}  // namespace

Compressed compress(const Model& model, const CompressOptions& options) {
  const Model::Impl& all = model.impl();
  if (options.rows < 2 || options.rows > model.rows()) {
    throw Error(
        fmt::format("rows: {} to keep of {}; from 2 to all of them can be kept", options.rows, model.rows()));
  }
  if (options.rows == model.rows()) return {model, model.leave_one_out(), model.leave_one_out(), 1};
  const auto count = static_cast<Index>(options.rows);
  const std::vector<Index> kept = neighbors::choose_prototypes(all, count, options.threads);
  auto next = std::make_shared<Model::Impl>(all);
  const auto put = [&] {
    neighbors::put_rows(*next, neighbors::copy_rows(all, kept));
    // Those of all rows: the kept ones are less noisy.
    next->center = all.center;
    next->deviation = all.deviation;
    next->prepare();
  };
  put();

  // Fewer rows weigh less in all against the prior, which would win where they are still near.
  const double fewer = std::log(static_cast<double>(count) / static_cast<double>(all.rows()));
  double wider = 1, prior = all.prior_log_weight + fewer;
  Trials loss(all, kept, *next, options.threads);
  double least = loss(wider, prior);
  for (int round = 0; round < 2; ++round) {
    if (all.task == Task::classification) {
      least = descend(least, prior, kPriorStep, -kPriorStep, false, [&](double p) { return loss(wider, p); });
    }
    // A network's keys have no bandwidths to widen.
    if (all.metric == Metric::encoder) continue;
    least = descend(least, wider, kWiden, 1 / kWiden, true, [&](double w) { return loss(w, prior); });
  }
  for (Feature& feature : next->features) {
    if (!std::isfinite(feature.bandwidth)) continue;
    feature.bandwidth =
        std::clamp(feature.bandwidth * wider, neighbors::kMinBandwidth, neighbors::kMaxBandwidth);
  }
  if (all.task == Task::classification) next->prior_log_weight = prior;
  put();

  const std::vector<Index> order = kept_first(all, kept, static_cast<std::size_t>(all.rows()));
  const Array<float, 2> keys = neighbors::keys_of(*next, all.cells);
  const Array<float, 2> query = gather(keys, order, 1);
  Asked everyone = asked(all, order);
  everyone.query = query.view();
  neighbors::judge(*next, {everyone}, options.threads);
  neighbors::count_effective_neighbors(*next, options.threads);
  next->notes.push_back(
      fmt::format("{} of {} rows kept; errors and intervals are those of all of them", count, all.rows()));
  const Errors after = next->leave_one_out;
  return {Model(std::move(next)), model.leave_one_out(), after, wider};
}

}  // namespace kith
