// Compact kernels on a line: each is a polynomial in the distance, so a window's sum follows from the moments
// sum_j m_j t_j^p of the keys in it. Below lengths are in bandwidths.
//
// Differences of running sums over all keys would lose digits, so nothing is subtracted. The line is cut into
// cells of width w, 4/5 < w < 1 (so neither a window nor its half, where the kernel has a crease at 0, lies
// inside one cell), and a window is: the end of one cell, whole cells, and the beginning of one. Moments are
// kept for the whole cell and, at every 8th key, for the keys of its cell before and from there on; the up to
// 7 keys between such a mark and the window's edge are summed one by one.
//
// Error: kernels are polynomials in s = 1 - distance, since K is small where s is, and the moments are about
// the cell's middle key c, since most keys of a tight cluster are near it: the sum over a part is
//     sum_p K^(p)(s_c) / p! sum_j m_j t_j^p.
// Both factors of a term are known to a few roundings (marks are summed with compensation), so rounding is at
// most kRounding = 10 * 2^-53 of sum_p |K^(p)(s_c)| / p! sum_j m_j |t_j|^p, where odd absolute moments are at
// most the mean of their even neighbors. This is computed along with the sum. Where it exceeds 1e-8 of the
// sum of weights, the window is summed key by key: all its keys lie close to its edges, and far from the
// middle key of their cell.
//
// Whether a key is in the window is decided as the plain formula does, by the rounded difference of the
// coordinates in double against h: a key at distance h is outside.
//
// Memory: 2 (degree + 1) bytes a key and column, and 8 (degree + 1) a cell and column. Cost a query: 2 to 5
// parts, each a shifted polynomial and an inner product a column.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "array/threads.h"
#include "attention/points/line_method.h"

namespace kith::points {
namespace {

constexpr Index kStep = 8;  // keys between marks

// K as a polynomial in s = 1 - distance, and whether its other half is another one.
template <Kernel kKernel>
struct Shape;
template <>
struct Shape<Kernel::boxcar> {
  static constexpr std::array<double, 1> kCoefficients{1};
  static constexpr bool kCrease = false;
  static double weight(double) { return 1; }
};
template <>
struct Shape<Kernel::epanechnikov> {
  static constexpr std::array<double, 3> kCoefficients{0, 2, -1};
  static constexpr bool kCrease = false;
  static double weight(double s) { return s * (2 - s); }
};
template <>
struct Shape<Kernel::triangular> {
  static constexpr std::array<double, 2> kCoefficients{0, 1};
  static constexpr bool kCrease = true;
  static double weight(double s) { return s; }
};
template <>
struct Shape<Kernel::biweight> {
  static constexpr std::array<double, 5> kCoefficients{0, 0, 4, -4, 1};
  static constexpr bool kCrease = false;
  static double weight(double s) {
    const double epanechnikov = s * (2 - s);
    return epanechnikov * epanechnikov;
  }
};
template <>
struct Shape<Kernel::tricube> {
  static constexpr std::array<double, 10> kCoefficients{0, 0, 0, 27, -81, 108, -81, 36, -9, 1};
  static constexpr bool kCrease = true;
  static double weight(double s) {
    const double base = s * (3 - s * (3 - s));  // 1 - (1 - s)^3
    return base * base * base;
  }
};

struct Cell {
  double center = 0;  // the coordinate of its middle key
  Index first = 0;    // key
};

template <Kernel kKernel>
class LineCompact final : public LineMethod {
 public:
  void prepare(const LineKeys& keys, double bandwidth, int threads) override;
  void sum(const LineBlock& block) override;

 private:
  using K = Shape<kKernel>;
  static constexpr Index kTerms = static_cast<Index>(K::kCoefficients.size());
  using Terms = std::array<double, static_cast<std::size_t>(kTerms)>;

  struct Sums {
    std::array<double, static_cast<std::size_t>(kLineColumns)> column{};
    double terms = 0;  // sum of the absolute terms of column 0, where they may cancel
  };
  static constexpr double kRounding = 10 * 0x1p-53, kTolerance = 1e-8;

  void find_cells();
  void sum_cell(Index cell);
  Index series() const { return keys_.columns * kTerms; }
  const Cell& cell(Index i) const { return cells_[static_cast<std::size_t>(i)]; }
  const double* whole(Index i) const { return whole_.data() + i * series(); }
  // Of the keys of key kStep i's cell: those before it, and it and those behind it.
  const double* before(Index i) const { return marks_.data() + 2 * i * series(); }
  const double* behind(Index i) const { return marks_.data() + (2 * i + 1) * series(); }

  void add_moments(const double* moments, double s, double side, Sums& to) const;
  void add_keys(double query, Index first, Index last, Sums& to) const;
  void add_range(double query, double side, Index first, Index last, Index at, Sums& to) const;

  LineKeys keys_;
  double bandwidth_ = 1, inverse_ = 1;
  LineGrid grid_;
  Index cell_count_ = 0;
  std::vector<Cell> cells_;    // occupied ones, and one behind them
  std::vector<double> whole_;  // [cell][columns][kTerms]
  std::vector<double> marks_;  // [key / kStep][before, behind][columns][kTerms]
};

// Adds with the rounding error kept: to + lost is the sum to twice the digits.
void add_compensated(double x, double& to, double& lost) {
  const double sum = to + x;
  lost += std::fabs(to) >= std::fabs(x) ? (to - sum) + x : (x - sum) + to;
  to = sum;
}

template <Kernel kKernel>
void LineCompact<kKernel>::prepare(const LineKeys& keys, double bandwidth, int threads) {
  keys_ = keys;
  bandwidth_ = bandwidth;
  inverse_ = 1 / bandwidth;
  grid_ = LineGrid(0.999 * bandwidth);  // less, so that rounding at a cell's edge does no harm
  find_cells();
  const auto grow = [](std::vector<double>& memory, Index size) {
    if (memory.size() < static_cast<std::size_t>(size)) memory.resize(static_cast<std::size_t>(size));
  };
  grow(whole_, cell_count_ * series());
  grow(marks_, (keys.count / kStep + 1) * 2 * series());
  constexpr Index kCells = 64;
  parallel_for(threads, (cell_count_ + kCells - 1) / kCells, [&](Index task) {
    for (Index i = task * kCells; i < std::min(cell_count_, (task + 1) * kCells); ++i) sum_cell(i);
  });
}

template <Kernel kKernel>
void LineCompact<kKernel>::find_cells() {
  Index count = 0;
  for (Index j = 0; j < keys_.count; ++count) {
    if (static_cast<std::size_t>(count) + 1 >= cells_.size())
      cells_.resize(std::max<std::size_t>(1024, cells_.size() * 2));
    const double id = grid_.cell(keys_.x[j]), end = (id + 1) * grid_.width;
    const Index first = j;
    for (++j; j < keys_.count && keys_.x[j] < end; ++j) {
    }
    cells_[static_cast<std::size_t>(count)] = {keys_.x[first + (j - first) / 2], first};
  }
  cell_count_ = count;
  cells_[static_cast<std::size_t>(count)] = {0, keys_.count};
}

template <Kernel kKernel>
void LineCompact<kKernel>::sum_cell(Index index) {
  const Index first = cell(index).first, last = cell(index + 1).first;
  const double center = cell(index).center;
  for (Index c = 0; c < keys_.columns; ++c) {
    const double* mass = keys_.column(c);
    // From either end: the keys up to the next mark plainly, then onto the sum of those before.
    for (const bool forward : {true, false}) {
      Terms sum{}, lost{}, step{};
      for (Index n = 0; n < last - first; ++n) {
        const Index j = forward ? first + n : last - 1 - n;
        const double t = (keys_.x[j] - center) * inverse_;
        double power = mass[j];
        for (double& s : step) {
          s += power;
          power *= t;
        }
        const Index mark = forward ? j + 1 : j;
        const bool at_end = n + 1 == last - first;
        if (mark % kStep != 0 && !at_end) continue;
        double* to = at_end ? forward ? whole_.data() + index * series() : nullptr
                            : marks_.data() + (mark / kStep * 2 + (forward ? 0 : 1)) * series();
        for (std::size_t p = 0; p < step.size(); ++p) {
          add_compensated(step[p], sum[p], lost[p]);
          if (to != nullptr) to[static_cast<std::size_t>(c * kTerms) + p] = sum[p] + lost[p];
        }
        step = {};
      }
    }
  }
}

// The kernel about the cell's center, where it is at s, times the moments. Keys right of the query, side 1,
// lie at s - t, left of it at s + t.
template <Kernel kKernel>
void LineCompact<kKernel>::add_moments(const double* moments, double s, double side, Sums& to) const {
  Terms shifted = K::kCoefficients;
  for (std::size_t p = 1; p < shifted.size(); ++p) {
    for (std::size_t k = shifted.size() - 1; k >= p; --k) shifted[k - 1] += s * shifted[k];
  }
  for (std::size_t p = 1; p < shifted.size(); p += 2) shifted[p] *= -side;
  for (std::size_t p = 0; p < shifted.size(); p += 2) {
    double terms = std::fabs(shifted[p]);
    if (p > 0) terms += 0.5 * std::fabs(shifted[p - 1]);
    if (p + 1 < shifted.size()) terms += (p + 2 < shifted.size() ? 0.5 : 1) * std::fabs(shifted[p + 1]);
    to.terms += terms * moments[p];
  }
  for (Index c = 0; c < keys_.columns; ++c) {
    double sum = 0;
    for (std::size_t p = 0; p < shifted.size(); ++p)
      sum += shifted[p] * moments[static_cast<std::size_t>(c * kTerms) + p];
    to.column[static_cast<std::size_t>(c)] += sum;
  }
}

template <Kernel kKernel>
void LineCompact<kKernel>::add_keys(double query, Index first, Index last, Sums& to) const {
  for (Index j = first; j < last; ++j) {
    // The distance to the window's edge is exact where it is small.
    const double weight = K::weight((bandwidth_ - std::fabs(keys_.x[j] - query)) * inverse_);
    for (Index c = 0; c < keys_.columns; ++c)
      to.column[static_cast<std::size_t>(c)] += weight * keys_.column(c)[j];
  }
}

// Keys [first, last), whose first is in cell `at`. With a crease they lie on one side of the query; else
// either side's polynomial is right, and that of the nearer edge has the smaller terms.
template <Kernel kKernel>
void LineCompact<kKernel>::add_range(double query, double side, Index first, Index last, Index at,
                                     Sums& to) const {
  for (; first < last; ++at) {
    const Index begin = cell(at).first, end = cell(at + 1).first, stop = std::min(end, last);
    if (!K::kCrease) side = cell(at).center < query ? -1 : 1;
    const double s = (bandwidth_ - side * (cell(at).center - query)) * inverse_;
    const Index next = (first + kStep - 1) / kStep, before_last = stop / kStep;
    // NOLINTNEXTLINE(bugprone-branch-clone): two reasons for the same
    if (stop - first <= kStep) {
      add_keys(query, first, stop, to);
    } else if (first == begin && stop == end) {
      add_moments(whole(at), s, side, to);
    } else if (stop == end && next * kStep < end) {
      add_keys(query, first, next * kStep, to);
      add_moments(behind(next), s, side, to);
    } else if (first == begin && before_last * kStep > begin) {
      add_moments(before(before_last), s, side, to);
      add_keys(query, before_last * kStep, stop, to);
    } else {
      add_keys(query, first, stop, to);
    }
    first = stop;
  }
}

template <Kernel kKernel>
void LineCompact<kKernel>::sum(const LineBlock& block) {
  Index first = 0, middle = 0, last = 0, first_cell = 0, middle_cell = 0;
  for (Index i = 0; i < block.count; ++i) {
    const double q = block.query[i];
    first = advance(first, keys_.count, [&](Index j) { return q - keys_.x[j] < bandwidth_; });
    last = advance(std::max(first, last), keys_.count, [&](Index j) { return keys_.x[j] - q >= bandwidth_; });
    const auto cell_of = [&](Index key) { return [this, key](Index c) { return cell(c + 1).first > key; }; };
    Sums sums;
    if (first < last) {
      first_cell = advance(first_cell, cell_count_, cell_of(first));
      if constexpr (K::kCrease) {
        middle = advance(std::max(first, middle), last, [&](Index j) { return keys_.x[j] >= q; });
        add_range(q, -1, first, middle, first_cell, sums);
        if (middle < last) {
          middle_cell = advance(std::max(first_cell, middle_cell), cell_count_, cell_of(middle));
          add_range(q, 1, middle, last, middle_cell, sums);
        }
      } else {
        add_range(q, 1, first, last, first_cell, sums);
      }
      if (kRounding * sums.terms > kTolerance * sums.column[0]) {
        sums = {};
        add_keys(q, first, last, sums);
      }
    }
    block.shift[i] = 0;
    for (Index c = 0; c < keys_.columns; ++c) block.column(c)[i] = sums.column[static_cast<std::size_t>(c)];
  }
}

}  // namespace

std::unique_ptr<LineMethod> make_line_compact(Kernel kernel) {
  switch (kernel) {
    case Kernel::boxcar:
      return std::make_unique<LineCompact<Kernel::boxcar>>();
    case Kernel::epanechnikov:
      return std::make_unique<LineCompact<Kernel::epanechnikov>>();
    case Kernel::triangular:
      return std::make_unique<LineCompact<Kernel::triangular>>();
    case Kernel::biweight:
      return std::make_unique<LineCompact<Kernel::biweight>>();
    default:
      return std::make_unique<LineCompact<Kernel::tricube>>();
  }
}

}  // namespace kith::points
