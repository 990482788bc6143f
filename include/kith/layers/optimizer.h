// Changing parameters by their gradients.
#pragma once

#include <span>
#include <vector>

#include "kith/layers/parameter.h"

namespace kith {

/// Where the parameters are must not change while an optimizer knows them.
using Parameters = std::vector<Parameter*>;

struct AdamWOptions {
  double rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;  ///< how much of the mean of gradients, of their squares, is kept a step
  double epsilon = 1e-8;
  double decay = 0.01;  ///< of parameters that decay: value *= 1 - rate decay, each step
};

/// Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization: Adam with bias-corrected means; decay
/// apart from the gradient. Does not depend on the number of threads.
class AdamW {
 public:
  AdamW(Parameters parameters, const AdamWOptions& options);
  /// One step with the rate times `factor` (a schedule's), then sets the gradients to 0.
  void step(double factor = 1.0, int threads = 0);

 private:
  Parameters parameters_;
  AdamWOptions options_;
  std::vector<Array<float, 2>> mean_, square_;
  long long steps_ = 0;
};

struct SgdOptions {
  double rate = 1e-2;
  double momentum = 0;  ///< velocity = momentum velocity + gradient; value -= rate velocity
  double decay = 0;     ///< as AdamW's: decoupled
};

/// Stochastic gradient descent.
class Sgd {
 public:
  Sgd(Parameters parameters, const SgdOptions& options);
  void step(double factor = 1.0, int threads = 0);

 private:
  Parameters parameters_;
  SgdOptions options_;
  std::vector<Array<float, 2>> velocity_;
};

/// Scales all gradients by max_norm / norm where their common Euclidean norm is larger. Returns the norm
/// before, in double; a NaN or an infinity in a gradient makes it NaN or infinite, and then nothing is
/// scaled: skip that step.
double clip_gradients(std::span<Parameter* const> parameters, double max_norm, int threads = 0);

/// Sets the gradients to 0, where a step is skipped.
void clear_gradients(std::span<Parameter* const> parameters);

/// The factor of a rate: from 0 linearly to 1 over `warm_up` steps, then along a cosine to `floor` at
/// `steps`.
struct Schedule {
  long long warm_up = 0;
  long long steps = 1;
  double floor = 0;

  /// Of step 0, 1, ...; step 0 of a warm-up already moves. `floor` from `steps` on.
  double operator()(long long step) const;
};

}  // namespace kith
