// Gaussian sums on a line. Three ways, chosen by the keys around the cell of a grid that a query lies in; the
// grid is laid from zero with cells of width w, 1/2 h < w <= 5/8 h, so the choice knows nothing of other
// queries.
//
// Below lengths are in bandwidths, N is the number of keys, g(z) = exp(-z^2/2), S the sum of weights.
//
// Near: some key lies in the cell or at most 2 cells away, so S >= g(3 w) >= 0.17. Keys further than a reach
// with N g(reach) <= 1e-9 * 0.17 are left out: 1e-9 of S.
//   Few keys in reach: their direct sum.
//   More: moments of each cell about its center, translated into one series about the query's cell.
//     g(D + x - y) = sum_p sum_q g^(p+q)(D) x^p / p! (-y)^q / q!,   |x|, |y| <= w / 2 = 0.3125,
//   truncated to p, q < P = 16. With |g^(n)(z)| <= 1.09 sqrt(n!) exp(-z^2/4) (Cramer's inequality) and (p+q)!
//   <= 2^(p+q) p! q! what is left out is at most 1.09 * 2 * a^P / sqrt(P!) * sum_n a^n / sqrt(n!), a =
//   sqrt(2) w / 2 = 0.442: 1.8e-12 exp(-D^2/4) a key. The worst keys make N g(r) = S, at r = 5.7 for N = 1e6
//   and S = 0.17: N exp(-(r - 0.63)^2 / 4) / S * 1.8e-12 = 2e-8 of S; 3e-7 for N = 1e8. (Found: below 1e-12,
//   since the bound takes all signs to agree.) Rounding: 16 terms of each series, 1e-15 of the same sum.
//
// Far: no key within 2 cells, so the nearest keys to the left and to the right, at distances Z, are at least
// 2 w = 1 away. Of each side, with y the distance of a key from the nearest one,
//     S = g(Z) sum_j exp(-y_j Z - y_j^2 / 2) = g(Z) G(Z):
//   G is at least 1 and smooth: its logarithm changes with log Z. Distances are cut into 4 intervals an
//   octave, [Z0 - r, Z0 + r] with r <= (Z0 - r) / 8; on each, G is one Taylor series of P terms about Z0,
//   from the keys with exp(-y (Z0 - r) - y^2/2) > 1e-9 / N. It leaves out at most
//     sup_y exp(-y (Z0 - r)) (r y)^P / P! <= (1/8)^P P^P exp(-P) / P! = 4e-16 a key,
//   4e-10 of G for N = 1e6. Intervals are summed when a query asks and kept while sorted queries stay in
//   them. A gap between keys is cut into few of them however wide it is, and a key is in reach of few gaps.
//   Intervals that few keys reach are summed directly. The sides are added with factors g(Z - nearer Z); the
//   query's shift is the exponent of the nearer one.
//
// Memory: 8 * 16 bytes a column for each cell that a series may need (cells with more than kDirectNear keys
// within twice the reach), 24 bytes for each other.
//
// Cost a cell of n keys and m queries: 16 (n + m) multiplications and additions a column, and 16 * 16 for
// each of the occupied cells in reach, about 31 for N = 1e6.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "array/threads.h"
#include "attention/points/line_series.h"

namespace kith::points {
namespace {

constexpr double kWidestCell = 0.625;
constexpr Index kNear = 2;          // cells
constexpr Index kDirectNear = 128;  // keys in reach; more are summed by series
// A series costs as much as the direct sums of this many keys for a few queries.
constexpr Index kDirectFar = 64;
constexpr double kCut = 20.7;       // -log 1e-9
constexpr double kNearLoss = 1.76;  // -log S of the emptiest near cell: (3 w)^2 / 2
constexpr Index kMaxReach = 20;     // cells: sqrt(2 (log 2^31 + kCut + kNearLoss)) / (1/2) rounded up

struct Cell {
  double id = 0;
  Index first = 0;    // key
  Index series = -1;  // its moments, where a series may need them
};

/// G of the keys on one side of a gap, on the interval asked for last.
struct Side {
  const LineKeys* keys;
  double bandwidth, cut;
  double side;            // 1: keys to the left of the queries
  Index nearest = -1;     // key; -1: there is none
  double z0 = -1, r = 0;  // the interval
  bool direct = false;
  LineStretch stretch{};
  double series[kLineColumns * kLineTerms] = {};

  void move_to(Index key) {
    if (key != nearest) z0 = -1;
    nearest = key;
  }
  double distance(double query) const { return side * (query - keys->x[nearest]) / bandwidth; }
  void reach_interval(double z) {
    int exponent = 0;
    const double mantissa = std::frexp(z, &exponent);  // in [1/2, 1)
    const double center = std::ldexp(0.5 + (std::floor((mantissa - 0.5) * 8) + 0.5) / 8, exponent);
    if (center == z0) return;
    z0 = center;
    r = std::ldexp(0.0625, exponent);
    const double low = z0 - r, y = 2 * cut / (low + std::sqrt(low * low + 2 * cut));
    const double bound = keys->x[nearest] - side * y * bandwidth;
    stretch.origin = keys->x[nearest];
    stretch.side = side;
    stretch.inverse_bandwidth = 1 / bandwidth;
    if (side > 0) {
      stretch.first = std::lower_bound(keys->x, keys->x + nearest, bound) - keys->x;
      stretch.last = nearest + 1;
    } else {
      stretch.first = nearest;
      stretch.last = std::upper_bound(keys->x + nearest + 1, keys->x + keys->count, bound) - keys->x;
    }
    direct = stretch.last - stretch.first <= kDirectFar;
    if (!direct) line_transform(*keys, stretch, z0, r, series);
  }
  /// G(z) of every column.
  void sum(double z, double* sums) {
    reach_interval(z);
    const Index columns = keys->columns;
    if (direct) {
      line_direct(*keys, stretch, z, sums);
      return;
    }
    const double t = (z - z0) / r;
    for (Index c = 0; c < columns; ++c) {
      const double* coefficient = series + c * kLineTerms;
      double value = coefficient[kLineTerms - 1];
      for (Index p = kLineTerms - 1; p-- > 0;) value = value * t + coefficient[p];
      sums[c] = value;
    }
  }
};

class LineGaussian final : public LineMethod {
 public:
  void prepare(const LineKeys& keys, double bandwidth, int threads) override;
  void sum(const LineBlock& block) override;

 private:
  struct Range {
    Index first, last;
  };

  void find_cells();
  void mark_dense();
  void tabulate_derivatives();
  Index keys_in(Range cells) const {
    return cells_[static_cast<std::size_t>(cells.last)].first -
           cells_[static_cast<std::size_t>(cells.first)].first;
  }
  const Cell& cell(Index i) const { return cells_[static_cast<std::size_t>(i)]; }
  void sum_near(const LineBlock& block, Range queries, double id, Range cells) const;
  void sum_far(const LineBlock& block, Range queries, Side& left, Side& right) const;

  LineKeys keys_;
  double bandwidth_ = 1, inverse_ = 1, cut_ = 1;
  LineGrid grid_;
  Index reach_ = 1;  // cells
  Index cell_count_ = 0, dense_count_ = 0;
  std::vector<Cell> cells_;      // occupied ones, and one behind them
  std::vector<double> moments_;  // [dense][columns][kLineTerms]
  std::array<double, static_cast<std::size_t>((2 * kMaxReach + 1) * kLineDerivatives)> derivatives_{};
  std::vector<std::pair<Side, Side>> sides_;  // a worker's, kept from block to block: left, right
};

void LineGaussian::prepare(const LineKeys& keys, double bandwidth, int threads) {
  keys_ = keys;
  bandwidth_ = bandwidth;
  inverse_ = 1 / bandwidth;
  cut_ = std::log(keys.total) + kCut;
  grid_ = LineGrid(kWidestCell * bandwidth);
  reach_ = std::min(
      kMaxReach, static_cast<Index>(std::ceil(std::sqrt(2 * (cut_ + kNearLoss)) * bandwidth / grid_.width)));
  tabulate_derivatives();
  find_cells();
  mark_dense();
  const Side left{&keys_, bandwidth, cut_, 1}, right{&keys_, bandwidth, cut_, -1};
  sides_.assign(static_cast<std::size_t>(std::max(threads, 1)), {left, right});
  const Index series = keys.columns * kLineTerms;
  if (moments_.size() < static_cast<std::size_t>(dense_count_ * series))
    moments_.resize(static_cast<std::size_t>(dense_count_ * series));
  constexpr Index kCells = 256;
  parallel_for(threads, (cell_count_ + kCells - 1) / kCells, [&](Index task) {
    for (Index i = task * kCells; i < std::min(cell_count_, (task + 1) * kCells); ++i) {
      const Cell& at = cell(i);
      if (at.series < 0) continue;
      line_moments(keys_, {at.first, cell(i + 1).first, grid_.center(at.id), 1, inverse_},
                   moments_.data() + at.series * series);
    }
  });
}

void LineGaussian::tabulate_derivatives() {
  for (Index offset = -reach_; offset <= reach_; ++offset) {
    const double z = static_cast<double>(offset) * (grid_.width * inverse_);
    double* g = derivatives_.data() + (offset + reach_) * kLineDerivatives;
    g[0] = std::exp(-z * z / 2);
    g[1] = -z * g[0];
    for (Index n = 1; n + 1 < kLineDerivatives; ++n) g[n + 1] = -z * g[n] - static_cast<double>(n) * g[n - 1];
  }
}

void LineGaussian::find_cells() {
  Index count = 0;
  for (Index j = 0; j < keys_.count; ++count) {
    if (static_cast<std::size_t>(count) + 1 >= cells_.size())
      cells_.resize(std::max<std::size_t>(1024, cells_.size() * 2));
    const double id = grid_.cell(keys_.x[j]), end = (id + 1) * grid_.width;
    cells_[static_cast<std::size_t>(count)] = {id, j, -1};
    for (++j; j < keys_.count && keys_.x[j] < end; ++j) {
    }
  }
  cell_count_ = count;
  cells_[static_cast<std::size_t>(count)] = {0, keys_.count, -1};
}

// Every cell in reach of one that is summed by series lies in this neighborhood of itself, with all its keys.
void LineGaussian::mark_dense() {
  const auto wide = static_cast<double>(2 * reach_);
  Index first = 0, last = 0;
  dense_count_ = 0;
  for (Index i = 0; i < cell_count_; ++i) {
    while (cell(first).id < cell(i).id - wide) ++first;
    while (last < cell_count_ && cell(last).id <= cell(i).id + wide) ++last;
    if (keys_in({first, last}) > kDirectNear) cells_[static_cast<std::size_t>(i)].series = dense_count_++;
  }
}

void LineGaussian::sum_near(const LineBlock& block, Range queries, double id, Range cells) const {
  std::fill(block.shift + queries.first, block.shift + queries.last, 0.0);
  if (keys_in(cells) <= kDirectNear) {
    for (Index i = queries.first; i < queries.last; ++i) {
      double sums[kLineColumns];
      line_direct(keys_, {cell(cells.first).first, cell(cells.last).first, block.query[i], 1, inverse_}, 0,
                  sums);
      for (Index c = 0; c < keys_.columns; ++c) block.column(c)[i] = sums[c];
    }
    return;
  }
  const double* moments[2 * kMaxReach + 1];
  const double* derivatives[2 * kMaxReach + 1];
  LineTranslation translation{keys_.columns, 0, moments, derivatives};
  for (Index i = cells.first; i < cells.last; ++i) {
    const auto offset = static_cast<Index>(id - cell(i).id);
    moments[translation.boxes] = moments_.data() + cell(i).series * keys_.columns * kLineTerms;
    derivatives[translation.boxes++] = derivatives_.data() + (offset + reach_) * kLineDerivatives;
  }
  double series[kLineColumns * kLineTerms];
  line_translate(translation, series);
  line_evaluate({keys_.columns, queries.last - queries.first, block.query + queries.first, grid_.center(id),
                 inverse_, 0, block.sum + queries.first},
                series);
}

void LineGaussian::sum_far(const LineBlock& block, Range queries, Side& left, Side& right) const {
  for (Index i = queries.first; i < queries.last; ++i) {
    const double q = block.query[i];
    const bool left_is_nearer =
        right.nearest < 0 || (left.nearest >= 0 && left.distance(q) <= right.distance(q));
    Side& near = left_is_nearer ? left : right;
    Side& far = left_is_nearer ? right : left;
    const double z = near.distance(q);
    double sums[kLineColumns];
    near.sum(z, sums);
    if (far.nearest >= 0) {
      const double z_far = far.distance(q), less = (z_far - z) * (0.5 * (z_far + z));
      if (less < cut_) {
        double others[kLineColumns];
        far.sum(z_far, others);
        const double factor = std::exp(-less);
        for (Index c = 0; c < keys_.columns; ++c) sums[c] += factor * others[c];
      }
    }
    block.shift[i] = -0.5 * z * z;
    for (Index c = 0; c < keys_.columns; ++c) block.column(c)[i] = sums[c];
  }
}

void LineGaussian::sum(const LineBlock& block) {
  auto& [left, right] = sides_[static_cast<std::size_t>(worker_index())];
  const auto reach = static_cast<double>(reach_);
  const auto cell_past = [&](double id) { return [this, id](Index i) { return cell(i).id >= id; }; };
  Index first = 0, near = 0, last = 0;
  for (Index i = 0, next = 0; i < block.count; i = next) {
    const double id = grid_.cell(block.query[i]), end = (id + 1) * grid_.width;
    for (next = i + 1; next < block.count && block.query[next] < end; ++next) {
    }
    near = advance(std::max(near, first), cell_count_, cell_past(id - static_cast<double>(kNear)));
    if (near < cell_count_ && cell(near).id <= id + static_cast<double>(kNear)) {
      first = advance(first, cell_count_, cell_past(id - reach));
      last = std::max(last, near);
      last = advance(last, cell_count_, [&](Index c) { return cell(c).id > id + reach; });
      sum_near(block, {i, next}, id, {first, last});
    } else {
      left.move_to(near > 0 ? cell(near).first - 1 : -1);
      right.move_to(near < cell_count_ ? cell(near).first : -1);
      sum_far(block, {i, next}, left, right);
    }
  }
}

}  // namespace

std::unique_ptr<LineMethod> make_line_gaussian() { return std::make_unique<LineGaussian>(); }

}  // namespace kith::points
