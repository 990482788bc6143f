// What makes a query and a key alike: the logit of one pair, before masks and positions.
#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "kith/view.h"

namespace kith {

/// logit = scale q.k; the scale is 1/sqrt(D) unless given (Vaswani et al. 2017, eq. 1).
struct Dot {
  std::optional<double> scale{};
};

/// logit = q.k / (|q| |k| temperature). A zero vector has cosine 0 with everything.
struct Cosine {
  double temperature = 1.0;
};

/// logit = -|q-k|^2 / (2 bandwidth^2), the Nadaraya-Watson kernel; as a temperature, tau = 2 bandwidth^2.
struct Gaussian {
  double bandwidth = 1.0;
};

/// logit = -|q-k| / temperature, with the Euclidean length.
struct Euclidean {
  double temperature = 1.0;
};

/// logit = -sum_c |q_c - k_c| / bandwidth, the Laplace kernel on the city-block distance.
struct Laplace {
  double bandwidth = 1.0;
};

/// Kernels K(u) that are 0 for u >= 1, up to a constant that cancels (Wand & Jones 1995, table 2.1).
enum class CompactKernel {
  epanechnikov,  ///< 1 - u^2
  boxcar,        ///< 1
  triangular,    ///< 1 - u
  biweight,      ///< (1 - u^2)^2
  tricube,       ///< (1 - u^3)^3 (Cleveland 1979)
};

/// logit = log K(|q-k| / bandwidth). A query outside every key's support sees no key: the empty row.
struct Compact {
  CompactKernel kernel = CompactKernel::epanechnikov;
  double bandwidth = 1.0;
};

/// logit = -power log|q-k| (Shepard 1968). An exact hit takes all: a squared distance below kHit gives the
/// logit hit_logit(power), so far above every other that their weights are 0; hits share equally.
struct InverseDistance {
  double power = 2.0;
  static constexpr double kHit = 0x1p-149;
  static constexpr double hit_logit(double power) { return (74.5 * power + 128) * 0.6931471805599453094; }
};

/// logit = scale q W k with W [Dq, Dk]; scale 1 unless given (Luong et al. 2015, "general").
struct Bilinear {
  View<const double, 2> matrix{};
  double scale = 1.0;
};

/// logit = u . tanh(Wq q + Wk k) with Wq [A, Dq], Wk [A, Dk], u [A] (Bahdanau et al. 2015).
struct Additive {
  View<const double, 2> query_weight{};
  View<const double, 2> key_weight{};
  View<const double, 1> score{};
};

/// logit = 0: the plain average of the visible values. The numbers in query and key do not matter.
struct Uniform {};

using Similarity = std::variant<Dot, Cosine, Gaussian, Euclidean, Laplace, Compact, InverseDistance, Bilinear,
                                Additive, Uniform>;

/// What is done to queries and keys alike before they are compared, after any rotation: columns divided by a
/// bandwidth each, or a product with a matrix (a learned metric: |qA - kA| or qA.kA). At most one is given.
struct LearnedMetric {
  std::vector<double> column_bandwidth{};  ///< [D], each positive
  View<const double, 2> matrix{};          ///< A [D, R]
};

/// Multiplies bandwidth or temperature for single queries and keys (variable kernels, Abramson 1982): pair
/// (i, j) has bandwidth * query(b, h, i) * key(b, h, j). Axes of extent 1 are repeated; empty: 1 everywhere.
/// For dot and bilinear the logit is divided by it. Not for additive and uniform. No factor 1/h^d is added:
/// where a density estimate wants it, it goes into a bias.
struct AdaptiveBandwidth {
  View<const double, 3> query{};  ///< [B or 1, Hq or 1, N], positive
  View<const double, 3> key{};    ///< [B or 1, Hk or 1, M], positive
};

}  // namespace kith
