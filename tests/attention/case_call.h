// A case in its dtype and layout, ready to be handed to the operator; and its results by name.
#pragma once

#include <limits>
#include <map>
#include <string>
#include <vector>

#include "attention/case_values.h"

namespace kith::test {

/// Rows in memory as a layout has them; what lies between is NaN.
template <class T>
class Laid {
 public:
  Laid(const Array<double, 4>& rows, Layout layout) {
    const auto [batch, heads, count, columns] = rows.shape();
    const Index gap = layout == Layout::dense ? 0 : layout == Layout::unaligned ? 1 : 3;
    const Index row = columns + gap;
    const Shape<4> stride = layout == Layout::heads ? Shape<4>{count * heads * row, row, heads * row, 1}
                                                    : Shape<4>{heads * count * row, count * row, row, 1};
    const Index first = layout == Layout::unaligned ? 1 : 0;
    memory_ = Array<T, 1>({batch * heads * count * row + first + 1});
    for (T& x : memory_) x = static_cast<T>(std::numeric_limits<double>::quiet_NaN());
    view_ = View<T, 4>(memory_.data() + first, rows.shape(), stride);
    for (Index b = 0; b < batch; ++b) {
      for (Index h = 0; h < heads; ++h) {
        for (Index i = 0; i < count; ++i) {
          for (Index c = 0; c < columns; ++c) view_(b, h, i, c) = static_cast<T>(rows(b, h, i, c));
        }
      }
    }
  }
  View<const T, 4> view() const { return view_; }

 private:
  Array<T, 1> memory_;
  View<T, 4> view_;
};

template <class T>
class Call {
 public:
  using Real = compute_t<T>;

  Call(const Case& c, const Values& v)
      : case_(c),
        values_(v),
        query_(v.query, c.layout),
        key_(v.key, c.layout),
        value_(v.value, c.layout),
        d_out_(v.d_out, c.layout),
        d_second_moment_(v.d_second_moment, c.layout),
        d_lse_(rounded_to<Real>(v.d_lse)),
        d_entropy_(rounded_to<Real>(v.d_entropy)) {}

  BasicAttentionResult<Real> forward(const AttentionOptions& options) const {
    return attend(query_.view(), key_.view(), value_.view(), options);
  }
  /// `result` is that of backward_options().
  BasicAttentionGradients<Real> backward(const BasicAttentionResult<Real>& result,
                                         const AttentionOptions& options) const {
    Upstream<Real> u;
    u.out = d_out_.view();
    if ((case_.upstream & kLse) != 0) u.lse = d_lse_;
    if ((case_.upstream & kEntropy) != 0) u.entropy = d_entropy_;
    if ((case_.upstream & kMoment) != 0) u.second_moment = d_second_moment_.view();
    u.bias = values_.options.bias.has_array();
    return attend_backward(query_.view(), key_.view(), value_.view(), result, u, options);
  }

 private:
  const Case& case_;
  const Values& values_;
  Laid<T> query_, key_, value_;
  Laid<Real> d_out_, d_second_moment_;
  Array<Real, 3> d_lse_, d_entropy_;
};

/// Calls f.operator()<T>() with the type that `dtype` names.
template <class F>
void with_type(Dtype dtype, const F& f) {
  switch (dtype) {
    case Dtype::float64:
      return f.template operator()<double>();
    case Dtype::bfloat16:
      return f.template operator()<bfloat16>();
    case Dtype::float16:
      return f.template operator()<float16>();
    default:
      return f.template operator()<float>();
  }
}

/// Half the spacing of the type of a dtype's arithmetic at 1.
inline double unit_roundoff(Dtype dtype) { return dtype == Dtype::float64 ? 0x1p-53 : 0x1p-24; }
/// The smallest positive number of that type.
inline double smallest_number(Dtype dtype) { return dtype == Dtype::float64 ? 0x1p-1074 : 0x1p-149; }

using Flat = std::map<std::string, std::vector<double>>;

template <class T>
std::vector<double> flat(const T& array) {
  std::vector<double> list;
  for (const auto& x : array) list.push_back(static_cast<double>(x));
  return list;
}

/// Works for the operator's results and for the reference's.
template <class Result>
Flat outputs_of(const Result& r) {
  Flat f;
  f["out"] = flat(r.out), f["lse"] = flat(r.lse), f["entropy"] = flat(r.entropy),
  f["largest"] = flat(r.largest);
  f["received"] = flat(r.received), f["position"] = flat(r.position),
  f["second_moment"] = flat(r.second_moment);
  if constexpr (requires { r.weight; }) f["weight"] = flat(r.weight);
  return f;
}

template <class Real>
Flat gradients_of(const BasicAttentionGradients<Real>& g) {
  Flat f;
  f["query"] = flat(g.query), f["key"] = flat(g.key), f["value"] = flat(g.value);
  f["parameter"] = {g.parameter}, f["soft_cap"] = {g.soft_cap};
  f["column_bandwidth"] = flat(g.column_bandwidth), f["metric"] = flat(g.metric);
  f["query_bandwidth"] = flat(g.query_bandwidth), f["key_bandwidth"] = flat(g.key_bandwidth);
  f["bilinear"] = flat(g.bilinear), f["query_weight"] = flat(g.query_weight),
  f["key_weight"] = flat(g.key_weight);
  f["score"] = flat(g.score), f["bias"] = flat(g.bias), f["relative"] = flat(g.relative),
  f["t5"] = flat(g.t5);
  f["alibi"] = g.alibi, f["sink"] = g.sink;
  return f;
}

}  // namespace kith::test
