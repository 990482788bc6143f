#include "attention/row_map.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>

#include "attention/rotation.h"

namespace kith {
namespace {

/// Memory for one call, handed out in pieces: on the stack for the usual depths, since a warm call allocates
/// nothing.
class Scratch {
 public:
  explicit Scratch(Index count) {
    if (count > static_cast<Index>(near_.size())) far_.resize(static_cast<std::size_t>(count));
    next_ = far_.empty() ? near_.data() : far_.data();
  }
  double* take(Index count) {
    double* piece = next_;
    next_ += count;
    return piece;
  }

 private:
  std::array<double, 3072> near_;
  std::vector<double> far_;
  double* next_;
};

/// The length of a row as value 2^exponent.
struct Length {
  double value = 0;
  int exponent = 0;
};

/// Eight running sums, so that none waits for the one before it and they fit into vectors.
double sum_of_squares(const double* row, Index columns) {
  constexpr Index kSums = 8;
  std::array<double, kSums> sums{};
  Index c = 0;
  for (; c + kSums <= columns; c += kSums) {
    for (Index i = 0; i < kSums; ++i) sums[static_cast<std::size_t>(i)] += row[c + i] * row[c + i];
  }
  for (; c < columns; ++c) sums[0] += row[c] * row[c];
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

/// Divides a row by its length, which it returns; a zero row stays. Numbers whose squares would leave the
/// range of double are moved into it first.
Length normalize(double* row, Index columns) {
  Length length;
  double squares = sum_of_squares(row, columns);
  if (!(squares > 0x1p-900 && squares < 0x1p900)) {
    double most = 0;
    for (Index c = 0; c < columns; ++c) most = std::max(most, std::fabs(row[c]));
    if (std::isfinite(most) && most > 0) {
      length.exponent = std::ilogb(most);
      for (Index c = 0; c < columns; ++c) row[c] = std::scalbn(row[c], -length.exponent);
      squares = sum_of_squares(row, columns);
    }
  }
  length.value = std::sqrt(squares);
  if (length.value == 0) return length;
  const double shorter = 1 / length.value;
  for (Index c = 0; c < columns; ++c) row[c] *= shorter;
  return length;
}

/// What `normalize` does to gradients: d to (d - u (u.d)) / length; 0 where the length is.
void normalize_backward(const double* unit, const Length& length, Index columns, double* d) {
  if (length.value == 0) {
    std::fill_n(d, columns, 0.0);
    return;
  }
  double along = 0;
  for (Index c = 0; c < columns; ++c) along += unit[c] * d[c];
  for (Index c = 0; c < columns; ++c) {
    d[c] = std::scalbn((d[c] - unit[c] * along) / length.value, -length.exponent);
  }
}

/// The stages of one side, in order. At most one of `bandwidth` and `matrix` is there.
struct Stages {
  const Rotary* rotary = nullptr;
  Index offset = 0;
  View<const Index, 2> positions{};
  const double* bandwidth = nullptr;
  View<const double, 2> matrix{};  ///< [depth in, depth out]
  bool normal = false, uniform = false;

  Stages(const AttentionOptions& options, RowMap::Side side) {
    const bool query = side == RowMap::Side::query;
    uniform = std::holds_alternative<Uniform>(options.similarity);
    if (uniform) return;
    if (options.rotary) {
      rotary = &*options.rotary;
      offset = query ? rotary->query_offset : rotary->key_offset;
      positions = query ? rotary->query_position : rotary->key_position;
    }
    if (const auto* bilinear = std::get_if<Bilinear>(&options.similarity)) {
      if (query) matrix = bilinear->matrix;
    } else if (const auto* additive = std::get_if<Additive>(&options.similarity)) {
      const View<const double, 2>& w = query ? additive->query_weight : additive->key_weight;
      matrix = {w.data, {w.shape[1], w.shape[0]}, {w.stride[1], w.stride[0]}};
    } else if (!options.metric.column_bandwidth.empty()) {
      bandwidth = options.metric.column_bandwidth.data();
    } else {
      matrix = options.metric.matrix;
    }
    normal = std::holds_alternative<Cosine>(options.similarity);
  }

  bool none() const {
    return rotary == nullptr && bandwidth == nullptr && matrix.data == nullptr && !normal && !uniform;
  }
};

/// Runs the stages on single rows of one sequence.
class RowWork {
 public:
  RowWork(const Stages& stages, const Sequence& s, RowMap::Side side, Index depth_in, Index depth_out)
      : stages_(stages),
        batch_(s.batch),
        first_(side == RowMap::Side::query ? s.first_query : s.first_key),
        in_(depth_in),
        out_(depth_out),
        scratch_(4 * depth_in + 2 * depth_out),
        raw_(scratch_.take(in_)),
        d_raw_(scratch_.take(in_)),
        mapped_(scratch_.take(out_)),
        d_mapped_(scratch_.take(out_)) {
    if (stages_.rotary == nullptr) return;
    pairs_ = RotaryPairs(in_, *stages_.rotary);
    frequency_ = scratch_.take(pairs_.pairs);
    cosine_ = scratch_.take(pairs_.pairs);
    sine_ = scratch_.take(pairs_.pairs);
    rotary_frequencies(*stages_.rotary, pairs_.pairs, frequency_);
  }

  double* raw() { return raw_; }
  double* d_raw() { return d_raw_; }
  double* mapped() { return mapped_; }
  double* d_mapped() { return d_mapped_; }

  /// raw(), row i of the sequence, turned in place.
  void rotate(Index i) {
    if (stages_.rotary == nullptr) return;
    const View<const Index, 2>& given = stages_.positions;
    const Index position =
        given.data != nullptr ? given(given.shape[0] == 1 ? 0 : batch_, first_ + i) : stages_.offset + i;
    rotary_angles(*stages_.rotary, frequency_, pairs_.pairs, position, cosine_, sine_);
    turn(pairs_, cosine_, sine_, false, raw_);
  }

  /// mapped() from the turned row.
  Length map() {
    if (stages_.matrix.data != nullptr) {
      std::fill_n(mapped_, out_, 0.0);
      for (Index c = 0; c < in_; ++c) {
        for (Index r = 0; r < out_; ++r) mapped_[r] += raw_[c] * stages_.matrix(c, r);
      }
    } else {
      for (Index c = 0; c < in_; ++c)
        mapped_[c] = stages_.bandwidth != nullptr ? raw_[c] / stages_.bandwidth[c] : raw_[c];
    }
    return stages_.normal ? normalize(mapped_, out_) : Length{};
  }

  /// d_raw() from d_mapped(), which it changes; raw() is turned. Adds to the sums, of which null ones are not
  /// wanted: of the bandwidths [in], of the matrix as `d_matrix`.
  void backward(const double* origin, double* d_bandwidth, const View<double, 2>& d_matrix) {
    if (stages_.normal) {
      const Length length = map();
      normalize_backward(mapped_, length, out_, d_mapped_);
    }
    for (Index c = 0; c < in_; ++c) {
      const double x = origin == nullptr ? raw_[c] : raw_[c] - origin[c];
      if (stages_.matrix.data != nullptr) {
        double sum = 0;
        for (Index r = 0; r < out_; ++r) {
          sum += stages_.matrix(c, r) * d_mapped_[r];
          d_matrix(c, r) += x * d_mapped_[r];
        }
        d_raw_[c] = sum;
      } else if (stages_.bandwidth != nullptr) {
        const double h = stages_.bandwidth[c];
        d_raw_[c] = d_mapped_[c] / h;
        d_bandwidth[c] -= d_raw_[c] * (x / h);
      } else {
        d_raw_[c] = d_mapped_[c];
      }
    }
    if (stages_.rotary != nullptr) turn(pairs_, cosine_, sine_, true, d_raw_);
  }

 private:
  const Stages& stages_;
  Index batch_, first_, in_, out_;
  Scratch scratch_;
  double *raw_, *d_raw_, *mapped_, *d_mapped_;
  RotaryPairs pairs_;
  double *frequency_ = nullptr, *cosine_ = nullptr, *sine_ = nullptr;
};

}  // namespace

RowMap::RowMap(const AttentionOptions& options, const Geometry& g, Side side)
    : options_(&options), g_(g), side_(side) {}

bool RowMap::identity() const { return Stages(*options_, side_).none(); }

Index RowMap::depth_in() const { return side_ == Side::query ? g_.depth : g_.key_depth; }

Index RowMap::depth_out() const {
  const Stages stages(*options_, side_);
  if (stages.uniform) return 0;
  return stages.matrix.data != nullptr ? stages.matrix.shape[1] : depth_in();
}

template <class T>
void RowMap::apply(const T* from, Index stride, const Sequence& s, Index rows, compute_t<T>* to,
                   Index to_stride) const {
  using Real = compute_t<T>;
  const Stages stages(*options_, side_);
  const Index in = depth_in(), out = depth_out();
  if (stages.uniform) return;
  if (stages.none()) {
    for (Index i = 0; i < rows; ++i) {
      std::transform(from + i * stride, from + i * stride + in, to + i * to_stride,
                     [](T x) { return static_cast<Real>(x); });
    }
    return;
  }
  RowWork work(stages, s, side_, in, out);
  for (Index i = 0; i < rows; ++i) {
    for (Index c = 0; c < in; ++c) work.raw()[c] = static_cast<double>(from[i * stride + c]);
    work.rotate(i);
    work.map();
    for (Index r = 0; r < out; ++r) to[i * to_stride + r] = static_cast<Real>(work.mapped()[r]);
  }
}

void RowMap::Parameters::add(const Parameters& other) {
  const auto add_to = [](std::vector<double>& sums, const std::vector<double>& more) {
    std::transform(sums.begin(), sums.end(), more.begin(), sums.begin(), std::plus<>{});
  };
  add_to(column_bandwidth, other.column_bandwidth);
  add_to(metric, other.metric);
  add_to(matrix, other.matrix);
}

RowMap::Parameters RowMap::parameters() const {
  const auto zeros = [](const View<const double, 2>& matrix) {
    return std::vector<double>(matrix.data == nullptr ? 0 : static_cast<std::size_t>(matrix.size()));
  };
  Parameters sums;
  sums.column_bandwidth.resize(options_->metric.column_bandwidth.size());
  sums.metric = zeros(options_->metric.matrix);
  if (const auto* bilinear = std::get_if<Bilinear>(&options_->similarity)) {
    if (side_ == Side::query) sums.matrix = zeros(bilinear->matrix);
  } else if (const auto* additive = std::get_if<Additive>(&options_->similarity)) {
    sums.matrix = zeros(side_ == Side::query ? additive->query_weight : additive->key_weight);
  }
  return sums;
}

template <class T>
void RowMap::backward(const T* from, Index stride, const Sequence& s, Index rows, const compute_t<T>* d_to,
                      Index d_to_stride, const double* origin, compute_t<T>* d_from, Index d_from_stride,
                      Parameters& sums) const {
  using Real = compute_t<T>;
  const Stages stages(*options_, side_);
  const Index in = depth_in(), out = depth_out();
  // The stages' matrix is [in, out] whichever it is; the additive form's weights are its transpose.
  View<double, 2> d_matrix(sums.metric.data(), {in, out});
  if (std::holds_alternative<Bilinear>(options_->similarity)) d_matrix.data = sums.matrix.data();
  if (std::holds_alternative<Additive>(options_->similarity)) {
    d_matrix = {sums.matrix.data(), {in, out}, {1, in}};
  }
  RowWork work(stages, s, side_, in, out);
  for (Index i = 0; i < rows; ++i) {
    const Real* d = d_to + i * d_to_stride;
    Real* d_row = d_from + i * d_from_stride;
    // Rows without influence may hold NaN; they must not reach the sums.
    if (std::all_of(d, d + out, [](Real x) { return x == 0; })) {
      std::fill_n(d_row, in, Real{0});
      continue;
    }
    for (Index c = 0; c < in; ++c) work.raw()[c] = static_cast<double>(from[i * stride + c]);
    for (Index r = 0; r < out; ++r) work.d_mapped()[r] = static_cast<double>(d[r]);
    work.rotate(i);
    work.backward(origin, sums.column_bandwidth.data(), d_matrix);
    for (Index c = 0; c < in; ++c) d_row[c] = static_cast<Real>(work.d_raw()[c]);
  }
}

#define KITH_INSTANTIATE(T)                                                                           \
  template void RowMap::apply(const T*, Index, const Sequence&, Index, compute_t<T>*, Index) const;   \
  template void RowMap::backward(const T*, Index, const Sequence&, Index, const compute_t<T>*, Index, \
                                 const double*, compute_t<T>*, Index, Parameters&) const;
KITH_INSTANTIATE(float)
KITH_INSTANTIATE(double)
KITH_INSTANTIATE(bfloat16)
KITH_INSTANTIATE(float16)
#undef KITH_INSTANTIATE

}  // namespace kith
