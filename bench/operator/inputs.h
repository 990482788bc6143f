// Random inputs of a problem, the same in every run.
#pragma once

#include "kith/view.h"
#include "problem.h"

namespace kith::bench {

struct Inputs {
  Array<double, 4> query, key, value, d_out;  ///< [1, H, N, D], [1, H, M, D], [1, H, M, Dv], [1, H, N, Dv]
};

Inputs make_inputs(const Problem& problem);

}  // namespace kith::bench
