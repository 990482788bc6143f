// The pieces of the plain formula: rows to compare, one pair's logit and its slopes.
#pragma once

#include <cmath>
#include <vector>

#include "attention/case_values.h"
#include "attention/rounded.h"

namespace kith::test {

/// How the columns of a mapped query and key row make the number x.
enum class Form { product, squared, absolute, additive };

/// A row's place: its batch row or sequence, and the index from that one's start.
struct Place {
  Index sequence = 0, index = 0;
};
inline Place place(Index b, Index i, const std::vector<Index>& starts) {
  if (starts.empty()) return {b, i};
  Index s = 0;
  while (i >= starts[static_cast<std::size_t>(s) + 1]) ++s;
  return {s, i - starts[static_cast<std::size_t>(s)]};
}

/// An element of an array some of whose axes are repeated.
template <class T, int R>
const T& broadcast(const View<const T, R>& a, Shape<R> at) {
  Index offset = 0;
  for (std::size_t x = 0; x < R; ++x) offset += (a.shape[x] == 1 ? 0 : at[x]) * a.stride[x];
  return a.data[offset];
}

template <class Number>
using Row = std::vector<Number>;

template <class Number>
Number inner(const Row<Number>& a, const Row<Number>& b) {
  Number sum;
  for (std::size_t c = 0; c < a.size(); ++c) sum += a[c] * b[c];
  return sum;
}

/// y = x A with A [x.size(), columns], or with its transpose.
template <class Number>
Row<Number> times(const Row<Number>& x, const View<const double, 2>& a, bool transposed) {
  Row<Number> y(static_cast<std::size_t>(transposed ? a.shape[0] : a.shape[1]));
  for (std::size_t r = 0; r < y.size(); ++r) {
    for (std::size_t c = 0; c < x.size(); ++c) y[r] += x[c] * Number(transposed ? a(r, c) : a(c, r));
  }
  return y;
}

/// What happens to a row before it is compared: rotation, metric or projection, normalization; and back.
template <class Number>
class RowFormula {
 public:
  enum class Side { query, key };
  RowFormula(const Values& v, Side side) : v_(v), side_(side) {}

  Row<Number> apply(Index b, Index h, Index i) const { return normalized(projected(rotated(b, h, i))); }

  /// Gradients of parameters, flat.
  struct Sums {
    Row<Number> column_bandwidth, metric, matrix;
  };
  Sums sums() const {
    const AttentionOptions& o = v_.options;
    const auto zeros = [](auto size) { return Row<Number>(static_cast<std::size_t>(size)); };
    Sums s{zeros(o.metric.column_bandwidth.size()), zeros(o.metric.matrix.size()), {}};
    if (const auto* b = std::get_if<Bilinear>(&o.similarity)) s.matrix = zeros(b->matrix.size());
    if (const auto* a = std::get_if<Additive>(&o.similarity)) {
      s.matrix = zeros((is_query() ? a->query_weight : a->key_weight).size());
    }
    return s;
  }
  /// From the gradient of the applied row to that of the raw one, and into the sums.
  Row<Number> pull(Index b, Index h, Index i, Row<Number> d, Sums& sums) const {
    const Row<Number> raw = rotated(b, h, i), mapped = projected(raw);
    if (std::holds_alternative<Cosine>(v_.options.similarity)) d = pull_normalized(mapped, d);
    return turned(pull_projected(raw, mapped, d, sums), b, i, -1);
  }

 private:
  bool is_query() const { return side_ == Side::query; }

  Row<Number> rotated(Index b, Index h, Index i) const {
    const Array<double, 4>& rows = is_query() ? v_.query : v_.key;
    Row<Number> row;
    for (Index c = 0; c < rows.shape()[3]; ++c) row.emplace_back(rows(b, h, i, c));
    return turned(row, b, i, 1);
  }

  /// A function of an angle that is itself a product of three rounded numbers, in double.
  static Number of_angle(double value, double slope) {
    Number x(value);
    x.scale += 3 * std::fabs(slope) * 0x1p-53 / Number::kRoundoff;
    return x;
  }

  /// Pair p of columns turned by position times frequency, in the direction of `sign`.
  Row<Number> turned(Row<Number> row, Index b, Index i, double sign) const {
    if (!v_.options.rotary) return row;
    const Rotary& r = *v_.options.rotary;
    const auto& ragged = v_.options.mask.ragged;
    const auto& given = is_query() ? r.query_position : r.key_position;
    const Index local = place(b, i, is_query() ? ragged.query : ragged.key).index;
    const Index position = given.data != nullptr ? broadcast(given, {b, i})
                                                 : local + (is_query() ? r.query_offset : r.key_offset);
    const Index columns = r.columns != 0 ? r.columns : static_cast<Index>(row.size());
    for (Index p = 0; p < columns / 2; ++p) {
      const double frequency =
          r.frequency.empty() ? std::pow(r.base, -2.0 * static_cast<double>(p) / static_cast<double>(columns))
                              : r.frequency[static_cast<std::size_t>(p)];
      const double angle = static_cast<double>(position) / r.scaling * frequency;
      const Number cosine = of_angle(std::cos(angle), std::sin(angle) * angle);
      const Number sine = of_angle(sign * std::sin(angle), std::cos(angle) * angle);
      Number& x = row[static_cast<std::size_t>(r.interleaved ? 2 * p : p)];
      Number& y = row[static_cast<std::size_t>(r.interleaved ? 2 * p + 1 : p + columns / 2)];
      const Number turned_x = x * cosine - y * sine, turned_y = x * sine + y * cosine;
      x = turned_x, y = turned_y;
    }
    return row;
  }

  Row<Number> projected(const Row<Number>& row) const {
    const AttentionOptions& o = v_.options;
    if (const auto* s = std::get_if<Bilinear>(&o.similarity))
      return is_query() ? times(row, s->matrix, false) : row;
    if (const auto* s = std::get_if<Additive>(&o.similarity)) {
      return times(row, is_query() ? s->query_weight : s->key_weight, true);
    }
    if (o.metric.matrix.data != nullptr) return times(row, o.metric.matrix, false);
    Row<Number> scaled = row;
    for (std::size_t c = 0; c < o.metric.column_bandwidth.size(); ++c) {
      scaled[c] = scaled[c] / Number(o.metric.column_bandwidth[c]);
    }
    return scaled;
  }

  Row<Number> pull_projected(const Row<Number>& raw, const Row<Number>& mapped, const Row<Number>& d,
                             Sums& sums) const {
    const AttentionOptions& o = v_.options;
    const auto outer = [](Row<Number>& sum, const Row<Number>& a, const Row<Number>& b) {
      for (std::size_t r = 0; r < a.size(); ++r) {
        for (std::size_t c = 0; c < b.size(); ++c) sum[r * b.size() + c] += a[r] * b[c];
      }
    };
    if (const auto* s = std::get_if<Bilinear>(&o.similarity)) {
      if (!is_query()) return d;
      outer(sums.matrix, raw, d);
      return times(d, s->matrix, true);
    }
    if (const auto* s = std::get_if<Additive>(&o.similarity)) {
      outer(sums.matrix, d, raw);
      return times(d, is_query() ? s->query_weight : s->key_weight, false);
    }
    if (o.metric.matrix.data != nullptr) {
      outer(sums.metric, raw, d);
      return times(d, o.metric.matrix, true);
    }
    Row<Number> back = d;
    for (std::size_t c = 0; c < o.metric.column_bandwidth.size(); ++c) {
      const Number h(o.metric.column_bandwidth[c]);
      back[c] = d[c] / h;
      sums.column_bandwidth[c] += -(d[c] * mapped[c] / h);
    }
    return back;
  }

  Row<Number> normalized(Row<Number> row) const {
    if (!std::holds_alternative<Cosine>(v_.options.similarity)) return row;
    const Number length = sqrt(inner(row, row));
    if (length.value != 0) {
      for (Number& x : row) x = x / length;
    }
    return row;
  }
  static Row<Number> pull_normalized(const Row<Number>& row, const Row<Number>& d) {
    const Number length = sqrt(inner(row, row));
    Row<Number> back(row.size());
    if (length.value == 0) return back;
    const Number along = inner(row, d) / length;
    for (std::size_t c = 0; c < row.size(); ++c) back[c] = (d[c] - row[c] / length * along) / length;
    return back;
  }

  const Values& v_;
  Side side_;
};

/// A pair's logit s, before soft cap and bias, and its slopes.
template <class Number>
struct Logit {
  Number s;
  Number by_x;          ///< ds/dx
  Number by_log_width;  ///< ds/dlog of the pair's factor on bandwidth or temperature
  Number by_parameter;  ///< ds/dparameter
  bool inside = true;   ///< false: outside a compact kernel
};

template <class Number>
class PairFormula {
 public:
  explicit PairFormula(const Values& v)
      : similarity_(v.options.similarity),
        depth_(static_cast<double>(compared_depth(v))),
        form_(form_of(similarity_)) {
    if (const auto* s = std::get_if<Additive>(&similarity_)) {
      for (Index a = 0; a < s->score.shape[0]; ++a) score_.emplace_back(s->score(a));
    }
  }

  Form form() const { return form_; }
  const Row<Number>& score() const { return score_; }

  Number x(const Row<Number>& q, const Row<Number>& k) const {
    Number sum;
    if (std::holds_alternative<Uniform>(similarity_)) return sum;
    switch (form_) {
      case Form::product:
        return inner(q, k);
      case Form::squared:
        for (std::size_t c = 0; c < q.size(); ++c) {
          const Number difference = q[c] - k[c];
          sum += difference * difference;
        }
        break;
      case Form::absolute:
        for (std::size_t c = 0; c < q.size(); ++c) sum += abs(q[c] - k[c]);
        break;
      case Form::additive:
        for (std::size_t c = 0; c < q.size(); ++c) sum += score_[c] * tanh(q[c] + k[c]);
        break;
    }
    return sum;
  }

  Logit<Number> logit(const Number& x, const Number& width) const {
    return std::visit([&](const auto& s) { return of(s, x, width); }, similarity_);
  }

 private:
  /// The depth that Dot's default scale counts.
  static Index compared_depth(const Values& v) {
    const auto& metric = v.options.metric.matrix;
    return metric.data != nullptr ? metric.shape[1] : v.query.shape()[3];
  }
  static Form form_of(const Similarity& s) {
    if (std::holds_alternative<Additive>(s)) return Form::additive;
    if (std::holds_alternative<Laplace>(s)) return Form::absolute;
    const bool product = std::holds_alternative<Dot>(s) || std::holds_alternative<Cosine>(s) ||
                         std::holds_alternative<Bilinear>(s) || std::holds_alternative<Uniform>(s);
    return product ? Form::product : Form::squared;
  }

  Logit<Number> product(double scale, const Number& x, const Number& width) const {
    const Number slope = Number(scale) / width, s = slope * x;
    return {s, slope, -s, x / width};
  }
  Logit<Number> of(const Dot& d, const Number& x, const Number& width) const {
    return product(d.scale.value_or(1 / std::sqrt(depth_)), x, width);
  }
  Logit<Number> of(const Bilinear& d, const Number& x, const Number& width) const {
    return product(d.scale, x, width);
  }
  Logit<Number> of(const Cosine& d, const Number& x, const Number& width) const {
    Logit<Number> l = product(1 / d.temperature, x, width);
    l.by_parameter = -(l.s / Number(d.temperature));
    return l;
  }
  Logit<Number> of(const Gaussian& d, const Number& x, const Number& width) const {
    const Number h = Number(d.bandwidth) * width, slope = Number(-0.5) / (h * h), s = slope * x;
    return {s, slope, Number(-2) * s, Number(-2) * s / Number(d.bandwidth)};
  }
  Logit<Number> of(const Euclidean& d, const Number& x, const Number& width) const {
    const Number t = Number(d.temperature) * width, distance = sqrt(x), s = -(distance / t);
    const Number slope = distance.value == 0 ? Number() : Number(-0.5) / (distance * t);
    return {s, slope, -s, -(s / Number(d.temperature))};
  }
  Logit<Number> of(const Laplace& d, const Number& x, const Number& width) const {
    const Number slope = Number(-1) / (Number(d.bandwidth) * width), s = slope * x;
    return {s, slope, -s, -(s / Number(d.bandwidth))};
  }
  Logit<Number> of(const Compact& d, const Number& x, const Number& width) const {
    const Number h = Number(d.bandwidth) * width, v = x / (h * h), u = sqrt(v), one(1);
    Logit<Number> l;
    l.inside = !(v.value >= 1);
    if (!l.inside) return l;
    Number by_v;  // ds/du^2
    switch (d.kernel) {
      case CompactKernel::epanechnikov:
        l.s = log(one - v), by_v = Number(-1) / (one - v);
        break;
      case CompactKernel::boxcar:
        l.s = v * Number(0);  // a NaN stays one
        break;
      case CompactKernel::triangular:
        l.s = log(one - u);
        if (u.value != 0) by_v = Number(-0.5) / (u * (one - u));
        break;
      case CompactKernel::biweight:
        l.s = Number(2) * log(one - v), by_v = Number(-2) / (one - v);
        break;
      case CompactKernel::tricube:
        l.s = Number(3) * log(one - v * u), by_v = Number(-4.5) * u / (one - v * u);
        break;
    }
    l.by_x = by_v / (h * h);
    l.by_log_width = Number(-2) * v * by_v;
    l.by_parameter = l.by_log_width / Number(d.bandwidth);
    return l;
  }
  Logit<Number> of(const InverseDistance& d, const Number& x, const Number& width) const {
    const Number v = x / (width * width);
    if (static_cast<double>(v.value) < InverseDistance::kHit) {
      const double hit = InverseDistance::hit_logit(d.power);
      return {Number(hit), {}, {}, Number(hit - InverseDistance::hit_logit(d.power - 1))};
    }
    const Number half_log = Number(0.5) * log(v), power(d.power);
    return {-(power * half_log), Number(-0.5) * power / x, power, -half_log};
  }
  Logit<Number> of(const Additive&, const Number& x, const Number&) const { return {x, Number(1), {}, {}}; }
  Logit<Number> of(const Uniform&, const Number&, const Number&) const { return {}; }

  Similarity similarity_;
  double depth_;
  Form form_;
  Row<Number> score_;
};

}  // namespace kith::test
