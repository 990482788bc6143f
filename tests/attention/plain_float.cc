#include "attention/plain_float.h"

#include <algorithm>
#include <limits>

#include "attention/plain_formula.h"

namespace kith::test {
namespace {

constexpr double kNothing = -std::numeric_limits<double>::infinity();

template <class Real>
class Plain {
 public:
  using Number = Rounded<Real>;

  explicit Plain(const Values& v)
      : v_(v),
        o_(v.options),
        pair_(v),
        queries_(v, RowFormula<Number>::Side::query),
        keys_(v, RowFormula<Number>::Side::key) {
    for (Index b = 0; b < batch(); ++b) {
      for (Index h = 0; h < heads(); ++h) {
        for (Index i = 0; i < count(); ++i) query_rows_.push_back(queries_.apply(b, h, i));
      }
      for (Index g = 0; g < key_heads(); ++g) {
        for (Index j = 0; j < keys(); ++j) key_rows_.push_back(keys_.apply(b, g, j));
      }
    }
  }

  Named outputs();
  Named gradients(const Upstream<double>& upstream);
  std::vector<double> distances() const;

 private:
  Index batch() const { return v_.query.shape()[0]; }
  Index heads() const { return v_.query.shape()[1]; }
  Index count() const { return v_.query.shape()[2]; }
  Index key_heads() const { return v_.key.shape()[1]; }
  Index keys() const { return v_.key.shape()[2]; }
  Index value_depth() const { return v_.value.shape()[3]; }
  Index group(Index h) const { return h / (heads() / key_heads()); }
  const Row<Number>& query_row(Index b, Index h, Index i) const {
    return query_rows_[static_cast<std::size_t>((b * heads() + h) * count() + i)];
  }
  const Row<Number>& key_row(Index b, Index g, Index j) const {
    return key_rows_[static_cast<std::size_t>((b * key_heads() + g) * keys() + j)];
  }

  /// Everything about one row.
  struct Seen {
    Index key;
    Number x, width, capped, logit, weight;
    Logit<Number> formula;
    Number keep;  ///< what dropout multiplies the weight by
  };
  struct State {
    std::vector<Seen> seen;
    Number max, sum, lse, sink, sink_weight;
    bool has_sink = false;
    bool empty() const { return seen.empty(); }
  };
  State state(Index b, Index h, Index i) const;
  Number width(Index b, Index h, Index i, Index j) const;
  Number bias(Index b, Index h, Index i, Index j) const;
  /// j - i - offset, counted from the sequences' starts.
  Index distance(Index b, Index i, Index j) const {
    return place(b, j, o_.mask.ragged.key).index - place(b, i, o_.mask.ragged.query).index - o_.bias.offset;
  }
  /// -sum w log w, with the sink.
  Number entropy(const State& row) const {
    Number sum;
    for (const Seen& s : row.seen) {
      if (s.weight.value > 0) sum += s.weight * (row.lse - s.logit);
    }
    if (row.has_sink) sum += row.sink_weight * (row.lse - row.sink);
    return sum;
  }

  void pull_row(Index b, Index h, Index i, const Upstream<double>& upstream);
  void pull_pair(Index b, Index h, Index i, const Seen& s, const Number& d_logit);
  void pull_terms(Index b, Index h, Index i, const Seen& s, const Number& d_logit);

  using Sums = Row<Number>;
  Sums& sums(const char* name, Index size) {
    Sums& s = sums_[name];
    s.resize(static_cast<std::size_t>(size));
    return s;
  }
  static void store(Named& named, const std::string& name, const Sums& sums) {
    Numbers& n = named[name];
    for (const Number& x : sums) n.value.push_back(static_cast<double>(x.value)), n.scale.push_back(x.scale);
  }
  template <class T, int R>
  static Index index(const View<T, R>& a, const std::type_identity_t<Shape<R>>& at) {
    Index offset = 0;
    for (std::size_t x = 0; x < R; ++x) offset = offset * a.shape[x] + (a.shape[x] == 1 ? 0 : at[x]);
    return offset;
  }

  const Values& v_;
  const AttentionOptions& o_;
  PairFormula<Number> pair_;
  RowFormula<Number> queries_, keys_;
  std::vector<Row<Number>> query_rows_, key_rows_;
  // Gradients of mapped rows, and everything else by name.
  std::vector<Row<Number>> d_query_rows_, d_key_rows_;
  std::map<std::string, Sums> sums_;
};

template <class Real>
auto Plain<Real>::width(Index b, Index h, Index i, Index j) const -> Number {
  Number w(1);
  if (o_.adaptive.query.data != nullptr) w = w * Number(broadcast(o_.adaptive.query, {b, h, i}));
  if (o_.adaptive.key.data != nullptr) w = w * Number(broadcast(o_.adaptive.key, {b, group(h), j}));
  return w;
}

template <class Real>
auto Plain<Real>::bias(Index b, Index h, Index i, Index j) const -> Number {
  Number sum;
  const Bias& bias = o_.bias;
  if (bias.array.data != nullptr) sum += Number(static_cast<double>(broadcast(bias.array, {b, h, i, j})));
  if (bias.array64.data != nullptr) sum += Number(broadcast(bias.array64, {b, h, i, j}));
  const Index d = distance(b, i, j);
  if (bias.relative) {
    const Index right = bias.relative->table.shape[1] - 1 - bias.relative->left;
    const Index at = std::clamp(d, -bias.relative->left, right) + bias.relative->left;
    sum += Number(bias.relative->table(bias.relative->table.shape[0] == 1 ? 0 : h, at));
  }
  if (bias.t5) {
    const Index bucket = t5_bucket(d, bias.t5->bidirectional, bias.t5->table.shape[1], bias.t5->max_distance);
    sum += Number(bias.t5->table(bias.t5->table.shape[0] == 1 ? 0 : h, bucket));
  }
  if (!bias.alibi.empty()) {
    const Number slope(bias.alibi[bias.alibi.size() == 1 ? 0 : static_cast<std::size_t>(h)]);
    sum += -(slope * Number(static_cast<double>(std::abs(d))));
  }
  return sum;
}

template <class Real>
auto Plain<Real>::state(Index b, Index h, Index i) const -> State {
  State row;
  row.max = Number(kNothing);
  const Row<Number>& q = query_row(b, h, i);
  for (Index j = 0; j < keys(); ++j) {
    if (!reference::visible(o_.mask, b, i, j, h)) continue;
    Seen s;
    s.key = j;
    s.x = pair_.x(q, key_row(b, group(h), j));
    s.width = width(b, h, i, j);
    s.formula = pair_.logit(s.x, s.width);
    if (!s.formula.inside) continue;
    s.capped = o_.soft_cap > 0 ? Number(o_.soft_cap) * tanh(s.formula.s / Number(o_.soft_cap)) : s.formula.s;
    s.logit = s.capped + bias(b, h, i, j);
    if (static_cast<double>(s.logit.value) == kNothing) continue;
    if (s.logit.value > row.max.value) row.max = s.logit;
    s.keep = Number(1);
    if (o_.dropout.rate > 0) {
      const Place at = place(b, i, o_.mask.ragged.query);
      const Index local = place(b, j, o_.mask.ragged.key).index;
      const bool dropped =
          reference::dropped(o_.dropout, at.sequence + o_.dropout.first_batch, h, at.index, local);
      s.keep = dropped ? Number() : Number(1 / (1 - o_.dropout.rate));
    }
    row.seen.push_back(s);
  }
  row.has_sink = !o_.sink.empty();
  Number& sink = row.sink;
  if (row.has_sink) {
    sink = Number(o_.sink[o_.sink.size() == 1 ? 0 : static_cast<std::size_t>(h)]);
    if (sink.value > row.max.value) row.max = sink;
    row.sum += exp(sink - row.max);
  }
  for (Seen& s : row.seen) {
    s.weight = exp(s.logit - row.max);
    row.sum += s.weight;
  }
  row.lse = row.empty() && !row.has_sink ? Number(kNothing) : row.max + log(row.sum);
  for (Seen& s : row.seen) {
    s.weight = s.weight / row.sum;
    // What weighs so little may be taken for 0.
    if (s.weight.magnitude() < 0x1p-99) s.weight.scale += s.weight.magnitude() / Number::kRoundoff;
  }
  if (row.has_sink) row.sink_weight = exp(sink - row.max) / row.sum;
  return row;
}

template <class Real>
Named Plain<Real>::outputs() {
  const Index rows = batch() * heads() * count();
  Sums out(static_cast<std::size_t>(rows * value_depth())), moment = out,
                                                            weight(static_cast<std::size_t>(rows * keys()));
  Sums received(static_cast<std::size_t>(batch() * heads() * keys()));
  Sums lse, entropies, largest, position;
  for (Index r = 0; r < rows; ++r) {
    const Index b = r / (heads() * count()), h = r / count() % heads(), i = r % count();
    const State row = state(b, h, i);
    Number most, expected;
    for (const Seen& s : row.seen) {
      weight[static_cast<std::size_t>(r * keys() + s.key)] = s.weight;
      received[static_cast<std::size_t>((b * heads() + h) * keys() + s.key)] += s.weight;
      if (s.weight.value > most.value) most = s.weight;
      if (s.keep.value == 0) continue;  // what is averaged is averaged over the kept ones
      const Number w = s.weight * s.keep;
      expected += w * Number(static_cast<double>(s.key));
      for (Index c = 0; c < value_depth(); ++c) {
        const Number v(v_.value(b, group(h), s.key, c));
        const auto at = static_cast<std::size_t>(r * value_depth() + c);
        out[at] += w * v;
        moment[at] += w * (v * v);
      }
    }
    lse.push_back(row.lse);
    entropies.push_back(row.empty() ? Number() : entropy(row));
    largest.push_back(most);
    position.push_back(expected);
  }
  Named named;
  store(named, "out", out), store(named, "second_moment", moment), store(named, "weight", weight);
  store(named, "received", received), store(named, "lse", lse), store(named, "entropy", entropies);
  store(named, "largest", largest), store(named, "position", position);
  return named;
}

template <class Real>
void Plain<Real>::pull_terms(Index b, Index h, Index i, const Seen& s, const Number& d_logit) {
  const Bias& bias = o_.bias;
  const Shape<4> at = {b, h, i, s.key};
  const auto add = [&](const char* name, Index size, Index where, const Number& term) {
    sums(name, size)[static_cast<std::size_t>(where)] += term;
  };
  if (bias.array.data != nullptr) add("bias", bias.array.size(), index(bias.array, at), d_logit);
  if (bias.array64.data != nullptr) add("bias", bias.array64.size(), index(bias.array64, at), d_logit);
  const Index d = distance(b, i, s.key);
  if (bias.relative) {
    const auto& table = bias.relative->table;
    const Index column =
        std::clamp(d, -bias.relative->left, table.shape[1] - 1 - bias.relative->left) + bias.relative->left;
    add("relative", table.size(), index(table, {h, column}), d_logit);
  }
  if (bias.t5) {
    const auto& table = bias.t5->table;
    const Index bucket = t5_bucket(d, bias.t5->bidirectional, table.shape[1], bias.t5->max_distance);
    add("t5", table.size(), index(table, {h, bucket}), d_logit);
  }
  if (!bias.alibi.empty()) {
    add("alibi", static_cast<Index>(bias.alibi.size()), bias.alibi.size() == 1 ? 0 : h,
        -(d_logit * Number(static_cast<double>(std::abs(d)))));
  }
}

template <class Real>
void Plain<Real>::pull_pair(Index b, Index h, Index i, const Seen& s, const Number& d_logit) {
  pull_terms(b, h, i, s, d_logit);
  Number d_s = d_logit;
  if (o_.soft_cap > 0) {
    const Number cap(o_.soft_cap), ratio = s.formula.s / cap, t = tanh(ratio), slope = Number(1) - t * t;
    sums("soft_cap", 1)[0] += d_logit * (t - ratio * slope);
    d_s = d_logit * slope;
  }
  sums("parameter", 1)[0] += d_s * s.formula.by_parameter;
  if (o_.adaptive.query.data != nullptr) {
    const auto& a = o_.adaptive.query;
    sums("query_bandwidth", a.size())[static_cast<std::size_t>(index(a, {b, h, i}))] +=
        d_s * s.formula.by_log_width / Number(broadcast(a, {b, h, i}));
  }
  if (o_.adaptive.key.data != nullptr) {
    const auto& a = o_.adaptive.key;
    sums("key_bandwidth", a.size())[static_cast<std::size_t>(index(a, {b, group(h), s.key}))] +=
        d_s * s.formula.by_log_width / Number(broadcast(a, {b, group(h), s.key}));
  }
  if (std::holds_alternative<Uniform>(o_.similarity)) return;
  const Row<Number>&q = query_row(b, h, i), &k = key_row(b, group(h), s.key);
  Row<Number>& d_q = d_query_rows_[static_cast<std::size_t>((b * heads() + h) * count() + i)];
  Row<Number>& d_k = d_key_rows_[static_cast<std::size_t>((b * key_heads() + group(h)) * keys() + s.key)];
  const Number d_x = d_s * s.formula.by_x;
  Sums* d_score = pair_.form() == Form::additive ? &sums("score", static_cast<Index>(q.size())) : nullptr;
  for (std::size_t c = 0; c < q.size(); ++c) {
    switch (pair_.form()) {
      case Form::product:
        d_q[c] += d_x * k[c], d_k[c] += d_x * q[c];
        break;
      case Form::squared: {
        const Number share = Number(2) * d_x * (q[c] - k[c]);
        d_q[c] += share, d_k[c] += -share;
        break;
      }
      case Form::absolute: {
        const Number difference = q[c] - k[c];
        Number share = q[c].value > k[c].value ? d_x : q[c].value < k[c].value ? -d_x : Number();
        // Where rounding decides on which side of the kink a pair lies, neither sign is wrong.
        if (difference.magnitude() < Number::kRoundoff * difference.scale) {
          share.scale += 2 * d_x.magnitude() / Number::kRoundoff;
        }
        d_q[c] += share, d_k[c] += -share;
        break;
      }
      case Form::additive: {
        const Number t = tanh(q[c] + k[c]), share = d_x * pair_.score()[c] * (Number(1) - t * t);
        d_q[c] += share, d_k[c] += share;
        (*d_score)[c] += d_x * t;
        break;
      }
    }
  }
}

template <class Real>
void Plain<Real>::pull_row(Index b, Index h, Index i, const Upstream<double>& u) {
  const State row = state(b, h, i);
  if (row.empty() && !row.has_sink) return;
  const Number d_lse(u.lse.empty() ? 0.0 : u.lse(b, h, i)),
      d_entropy(u.entropy.empty() ? 0.0 : u.entropy(b, h, i));
  const Number row_entropy = entropy(row);
  Sums& d_value = sums("value", v_.value.size());
  // 1. dL/dweight of every key, and their mean.
  std::vector<Number> d_weight;
  Number mean;
  for (const Seen& s : row.seen) {
    Number along, moment;
    for (Index c = 0; c < value_depth(); ++c) {
      const Number v(v_.value(b, group(h), s.key, c)), d_out(u.out(b, h, i, c));
      along += d_out * v;
      Number& d_v = d_value[static_cast<std::size_t>(
          ((b * key_heads() + group(h)) * keys() + s.key) * value_depth() + c)];
      d_v += s.weight * s.keep * d_out;
      if (u.second_moment.empty()) continue;
      const Number d_moment(u.second_moment(b, h, i, c));
      moment += d_moment * (v * v);
      d_v += Number(2) * s.weight * s.keep * v * d_moment;
    }
    d_weight.push_back((along + moment) * s.keep);
    mean += s.weight * d_weight.back();
  }
  // 2. dL/dlogit of every key and of the sink.
  for (std::size_t n = 0; n < row.seen.size(); ++n) {
    const Seen& s = row.seen[n];
    const Number through_entropy = d_entropy * ((s.logit - row.lse) + row_entropy);
    const Number d_logit = s.weight * (d_weight[n] - mean + d_lse - through_entropy);
    pull_pair(b, h, i, s, d_logit);
  }
  if (row.has_sink) {
    const Number through_entropy = d_entropy * ((row.sink - row.lse) + row_entropy);
    const Number d_sink = row.sink_weight * (-mean + d_lse - through_entropy);
    sums("sink", static_cast<Index>(o_.sink.size()))[o_.sink.size() == 1 ? 0 : static_cast<std::size_t>(h)] +=
        d_sink;
  }
}

template <class Real>
Named Plain<Real>::gradients(const Upstream<double>& upstream) {
  const auto zeros = [](const std::vector<Row<Number>>& rows) {
    std::vector<Row<Number>> result;
    for (const Row<Number>& row : rows) result.emplace_back(row.size());
    return result;
  };
  d_query_rows_ = zeros(query_rows_), d_key_rows_ = zeros(key_rows_);
  // Sizes, so that what no pair reaches is 0 rather than absent.
  const auto size = [&](const char* name, Index n) { sums(name, n); };
  size("query", v_.query.size()), size("key", v_.key.size()), size("value", v_.value.size()),
      size("parameter", 1);
  size("bias", o_.bias.array.data != nullptr ? o_.bias.array.size() : o_.bias.array64.size());
  if (o_.bias.relative) size("relative", o_.bias.relative->table.size());
  if (o_.bias.t5) size("t5", o_.bias.t5->table.size());
  size("alibi", static_cast<Index>(o_.bias.alibi.size()));
  size("sink", static_cast<Index>(o_.sink.size()));
  size("soft_cap", 1);
  size("query_bandwidth", o_.adaptive.query.data != nullptr ? o_.adaptive.query.size() : 0);
  size("key_bandwidth", o_.adaptive.key.data != nullptr ? o_.adaptive.key.size() : 0);
  if (const auto* s = std::get_if<Additive>(&o_.similarity)) size("score", s->score.size());

  for (Index b = 0; b < batch(); ++b) {
    for (Index h = 0; h < heads(); ++h) {
      for (Index i = 0; i < count(); ++i) pull_row(b, h, i, upstream);
    }
  }
  // From mapped rows back to the given ones.
  typename RowFormula<Number>::Sums query_sums = queries_.sums(), key_sums = keys_.sums();
  const auto pull_all = [&](const char* name, const RowFormula<Number>& map, Index row_heads, Index rows,
                            const std::vector<Row<Number>>& d_rows, auto& into) {
    Sums& to = sums(name, 0);
    to.clear();
    for (std::size_t r = 0; r < d_rows.size(); ++r) {
      const auto n = static_cast<Index>(r);
      const Row<Number> d = map.pull(n / (row_heads * rows), n / rows % row_heads, n % rows, d_rows[r], into);
      to.insert(to.end(), d.begin(), d.end());
    }
  };
  pull_all("query", queries_, heads(), count(), d_query_rows_, query_sums);
  pull_all("key", keys_, key_heads(), keys(), d_key_rows_, key_sums);
  const auto both = [&](const char* name, Sums a, const Sums& b) {
    a.resize(std::max(a.size(), b.size()));
    for (std::size_t n = 0; n < b.size(); ++n) a[n] += b[n];
    sums_[name] = a;
  };
  both("column_bandwidth", query_sums.column_bandwidth, key_sums.column_bandwidth);
  both("metric", query_sums.metric, key_sums.metric);
  const bool additive = std::holds_alternative<Additive>(o_.similarity);
  sums_[additive ? "query_weight" : "bilinear"] = query_sums.matrix;
  if (additive) sums_["key_weight"] = key_sums.matrix;

  Named named;
  for (const auto& [name, values] : sums_) store(named, name, values);
  return named;
}

template <class Real>
std::vector<double> Plain<Real>::distances() const {
  std::vector<double> list;
  for (Index b = 0; b < batch(); ++b) {
    for (Index h = 0; h < heads(); ++h) {
      for (Index i = 0; i < count(); ++i) {
        for (Index j = 0; j < keys(); ++j) {
          const Number d = sqrt(pair_.x(query_row(b, h, i), key_row(b, group(h), j))) / width(b, h, i, j);
          list.push_back(static_cast<double>(d.value));
        }
      }
    }
  }
  return list;
}

}  // namespace

template <class Real>
Named plain_outputs(const Values& values) {
  return Plain<Real>(values).outputs();
}
template <class Real>
Named plain_gradients(const Values& values, const Upstream<double>& upstream) {
  return Plain<Real>(values).gradients(upstream);
}
template Named plain_outputs<float>(const Values&);
template Named plain_outputs<double>(const Values&);
template Named plain_gradients<float>(const Values&, const Upstream<double>&);
template Named plain_gradients<double>(const Values&, const Upstream<double>&);

std::vector<double> pair_distances(const Values& values) { return Plain<double>(values).distances(); }

}  // namespace kith::test
