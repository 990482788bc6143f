// What a layer learns.
#pragma once

#include <string>
#include <utility>

#include "kith/view.h"

namespace kith {

/// Numbers with a name and the loss's gradient with respect to them. Layers add to the gradient; an optimizer
/// reads it and sets it to 0.
struct Parameter {
  std::string name;  ///< "key.weight": unique in a network, the name in its file
  Array<float, 2> value, gradient;
  bool decays = true;  ///< whether weight decay applies: not to biases, gains and frequencies

  Parameter() = default;
  Parameter(std::string called, const Shape<2>& shape, bool with_decay = true)
      : name(std::move(called)), value(shape), gradient(shape), decays(with_decay) {}
  bool empty() const { return value.empty(); }
};

}  // namespace kith
