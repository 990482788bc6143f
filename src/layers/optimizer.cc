#include "kith/layers/optimizer.h"

#include <cmath>
#include <numbers>

#include "layers/rows.h"

namespace kith {

using namespace layers;

namespace {

/// Blocks of all parameters' numbers, one after another.
struct Block {
  std::size_t parameter;
  Index first, count;
};

std::vector<Block> blocks_of(std::span<Parameter* const> parameters) {
  std::vector<Block> blocks;
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    const Index size = parameters[p]->value.size();
    for (Index first = 0; first < size; first += kTaskNumbers)
      blocks.push_back({p, first, std::min(kTaskNumbers, size - first)});
  }
  return blocks;
}

template <class F>
void for_blocks(const std::vector<Block>& blocks, int threads, F&& body) {
  parallel_for(blocks.size() <= 1 ? 1 : resolve_threads(threads), static_cast<Index>(blocks.size()),
               [&](Index task) { body(static_cast<std::size_t>(task)); });
}

void need_range(const char* optimizer, const char* option, double got, bool holds, const char* needs) {
  if (!holds) throw Error(fmt::format("{}: {}: got {}, needs {}", optimizer, option, got, needs));
}

void check_parameters(const char* optimizer, const Parameters& parameters) {
  for (const Parameter* p : parameters) {
    if (p == nullptr)
      throw Error(fmt::format("{}: parameters: got a null pointer, needs parameters", optimizer));
    if (p->gradient.shape() != p->value.shape())
      throw Error(fmt::format("{}: {}: got a gradient of shape [{}, {}], needs the value's [{}, {}]",
                              optimizer, p->name, p->gradient.shape()[0], p->gradient.shape()[1],
                              p->value.shape()[0], p->value.shape()[1]));
  }
}

std::vector<Array<float, 2>> like(const Parameters& parameters) {
  std::vector<Array<float, 2>> arrays;
  arrays.reserve(parameters.size());
  for (const Parameter* p : parameters) arrays.emplace_back(p->value.shape());
  return arrays;
}

float kept(const Parameter& parameter, double rate, double decay) {
  return static_cast<float>(parameter.decays ? 1 - rate * decay : 1.0);
}

}  // namespace

AdamW::AdamW(Parameters parameters, const AdamWOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  check_parameters("AdamW", parameters_);
  need_range("AdamW", "rate", options.rate, options.rate >= 0, "0 or more");
  need_range("AdamW", "beta1", options.beta1, options.beta1 >= 0 && options.beta1 < 1, "0 <= beta1 < 1");
  need_range("AdamW", "beta2", options.beta2, options.beta2 >= 0 && options.beta2 < 1, "0 <= beta2 < 1");
  need_range("AdamW", "epsilon", options.epsilon, options.epsilon > 0, "more than 0");
  need_range("AdamW", "decay", options.decay, options.decay >= 0, "0 or more");
  mean_ = like(parameters_);
  square_ = like(parameters_);
}

void AdamW::step(double factor, int threads) {
  ++steps_;
  const double rate = factor * options_.rate, count = static_cast<double>(steps_);
  const double correction1 = 1 - std::pow(options_.beta1, count);
  const double correction2 = 1 - std::pow(options_.beta2, count);
  const std::vector<Block> blocks = blocks_of(parameters_);
  for_blocks(blocks, threads, [&](std::size_t task) {
    const Block& block = blocks[task];
    Parameter& p = *parameters_[block.parameter];
    const AdamWStep step{.beta1 = static_cast<float>(options_.beta1),
                         .beta2 = static_cast<float>(options_.beta2),
                         .fresh1 = static_cast<float>(1 - options_.beta1),
                         .fresh2 = static_cast<float>(1 - options_.beta2),
                         .keep = kept(p, rate, options_.decay),
                         .rate = static_cast<float>(rate / correction1),
                         .inverse_square = static_cast<float>(1 / correction2),
                         .epsilon = static_cast<float>(options_.epsilon)};
    adamw_step(step, block.count, p.value.data() + block.first, p.gradient.data() + block.first,
               mean_[block.parameter].data() + block.first, square_[block.parameter].data() + block.first);
  });
}

Sgd::Sgd(Parameters parameters, const SgdOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  check_parameters("Sgd", parameters_);
  need_range("Sgd", "rate", options.rate, options.rate >= 0, "0 or more");
  need_range("Sgd", "momentum", options.momentum, options.momentum >= 0 && options.momentum < 1,
             "0 <= momentum < 1");
  need_range("Sgd", "decay", options.decay, options.decay >= 0, "0 or more");
  if (options.momentum > 0) velocity_ = like(parameters_);
}

void Sgd::step(double factor, int threads) {
  const double rate = factor * options_.rate;
  const std::vector<Block> blocks = blocks_of(parameters_);
  for_blocks(blocks, threads, [&](std::size_t task) {
    const Block& block = blocks[task];
    Parameter& p = *parameters_[block.parameter];
    sgd_step({.rate = static_cast<float>(rate),
              .momentum = static_cast<float>(options_.momentum),
              .keep = kept(p, rate, options_.decay)},
             block.count, p.value.data() + block.first, p.gradient.data() + block.first,
             velocity_.empty() ? nullptr : velocity_[block.parameter].data() + block.first);
  });
}

double clip_gradients(std::span<Parameter* const> parameters, double max_norm, int threads) {
  need_range("clip_gradients", "max_norm", max_norm, max_norm > 0, "more than 0");
  const std::vector<Block> blocks = blocks_of(parameters);
  std::vector<double> squares(blocks.size());
  for_blocks(blocks, threads, [&](std::size_t task) {
    const Block& block = blocks[task];
    squares[task] = sum_of_squares(parameters[block.parameter]->gradient.data() + block.first, block.count);
  });
  double sum = 0;
  for (const double square : squares) sum += square;
  const double norm = std::sqrt(sum);
  if (!std::isfinite(norm) || norm <= max_norm) return norm;
  for_blocks(blocks, threads, [&](std::size_t task) {
    const Block& block = blocks[task];
    scale_numbers(parameters[block.parameter]->gradient.data() + block.first, block.count,
                  static_cast<float>(max_norm / norm));
  });
  return norm;
}

void clear_gradients(std::span<Parameter* const> parameters) {
  for (Parameter* p : parameters) std::fill(p->gradient.begin(), p->gradient.end(), 0.0f);
}

double Schedule::operator()(long long step) const {
  if (step >= steps) return floor;
  if (step < warm_up) return static_cast<double>(step + 1) / static_cast<double>(warm_up);
  const double done = static_cast<double>(step - warm_up) / static_cast<double>(steps - warm_up);
  return floor + (1 - floor) * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace kith
