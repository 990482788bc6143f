// The inverse of the normal distribution function.
#pragma once

namespace kith::neighbors {

/// z with P(Z < z) = p for a standard normal Z, for p in [1e-10, 1 - 1e-10]: relative error about 1e-15
/// (Wichura 1988, algorithm AS 241).
double normal_quantile(double p);

}  // namespace kith::neighbors
