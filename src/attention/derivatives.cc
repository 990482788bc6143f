#include "kith/derivatives.h"

#include <algorithm>
#include <string>

#include "array/threads.h"
#include "attention/plain.h"

namespace kith {
namespace {

template <int R>
void check_tangent(const char* name, const View<const double, R>& got, const Shape<R>& needed) {
  if (got.empty() || got.shape == needed) return;
  throw Error(std::string(name) + ": its shape differs from that of what it is the tangent of");
}

plain::Call<Dual> make_call(const View<const double, 4>& query, const View<const double, 4>& key,
                            const View<const double, 4>& value, const Tangent& tangent,
                            const AttentionOptions& options) {
  const Geometry n = check(query, key, value, options);
  check_tangent<4>("tangent.query", tangent.query, query.shape);
  check_tangent<4>("tangent.key", tangent.key, key.shape);
  check_tangent<4>("tangent.value", tangent.value, value.shape);
  auto number = plain::number_of<Dual>(options.similarity, plain::compared_depth(options, n.depth));
  number.slope = tangent.parameter;
  return {options,
          n,
          plain::lifted<Dual>(query, tangent.query),
          plain::lifted<Dual>(key, tangent.key),
          plain::lifted<Dual>(value, tangent.value),
          number};
}

template <int R>
Array<double, R> slopes(const Array<Dual, R>& x) {
  Array<double, R> result(x.shape());
  std::transform(x.begin(), x.end(), result.begin(), [](Dual d) { return d.slope; });
  return result;
}

/// Parts of a key head's queries, and parts whose private gradients are held at once: memory linear in M.
constexpr Index kParts = 16;

/// Rows [first, last) of the query heads that share one key head, and the gradients that they alone give.
struct Part {
  Index batch, key_head, first, last;
  std::vector<Dual> d_key, d_value;  ///< [M][R], [M][Dv]
  Dual number{};
};

/// The parts depend on the sizes alone, so that sums in their order do too.
std::vector<Part> make_parts(const Geometry& n) {
  constexpr Index kFewestRows = 32;
  std::vector<Part> parts;
  const Index rows = n.group() * n.queries;
  const Index size = std::max(kFewestRows, (rows + kParts - 1) / kParts);
  for (Index b = 0; b < n.batch; ++b) {
    for (Index g = 0; g < n.key_heads; ++g) {
      for (Index first = 0; first < rows; first += size) {
        parts.push_back({b, g, first, std::min(first + size, rows), {}, {}});
      }
    }
  }
  return parts;
}

void add_and_free(std::vector<Dual>& from, Dual* to) {
  std::transform(from.begin(), from.end(), to, to, [](Dual x, Dual y) { return y + x; });
  from = {};
}

}  // namespace

ResultTangent attend_jvp(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
                         const Tangent& tangent, const AttentionOptions& options) {
  const plain::Call<Dual> call = make_call(query, key, value, tangent, options);
  const Geometry& n = call.geometry();
  ResultTangent result{Array<double, 4>({n.batch, n.heads, n.queries, n.value_depth}),
                       Array<double, 3>({n.batch, n.heads, n.queries})};
  parallel_for(resolve_threads(options.threads), n.batch * n.heads * n.queries, [&](Index task) {
    const Index i = task % n.queries, h = task / n.queries % n.heads, b = task / n.queries / n.heads;
    const plain::Row<Dual> row = call.row(b, h, i);
    std::vector<Dual> out(static_cast<std::size_t>(n.value_depth));
    call.average(row, b, h, i, out.data());
    result.lse(b, h, i) = row.lse.slope;
    std::transform(out.begin(), out.end(), &result.out(b, h, i, 0), [](Dual d) { return d.slope; });
  });
  return result;
}

GradientTangent attend_backward_jvp(View<const double, 4> query, View<const double, 4> key,
                                    View<const double, 4> value, View<const double, 4> d_out,
                                    const Tangent& tangent, View<const double, 4> d_out_tangent,
                                    const AttentionOptions& options) {
  const plain::Call<Dual> call = make_call(query, key, value, tangent, options);
  const Geometry& n = call.geometry();
  const Shape<4> out_shape{n.batch, n.heads, n.queries, n.value_depth};
  if (d_out.shape != out_shape) throw Error("d_out: its shape needs to be that of attend's out");
  check_tangent<4>("d_out_tangent", d_out_tangent, out_shape);
  const Array<Dual, 4> upstream = plain::lifted<Dual>(d_out, d_out_tangent);

  // 1. gradients of the compared rows and of the values: of kParts parts at a time, added in order
  Array<Dual, 4> d_query({n.batch, n.heads, n.queries, call.depth()});
  Array<Dual, 4> d_key({n.batch, n.key_heads, n.keys, call.depth()}), d_value(value.shape);
  Dual number;
  const int threads = resolve_threads(options.threads);
  std::vector<Part> parts = make_parts(n);
  const auto count = static_cast<Index>(parts.size());
  for (Index done = 0; done < count; done += kParts) {
    parallel_for(threads, std::min(kParts, count - done), [&](Index task) {
      Part& part = parts[static_cast<std::size_t>(done + task)];
      part.d_key.resize(static_cast<std::size_t>(n.keys * call.depth()));
      part.d_value.resize(static_cast<std::size_t>(n.keys * n.value_depth));
      plain::Sums<Dual> sums = call.sums(false);
      for (Index r = part.first; r < part.last; ++r) {
        const Index b = part.batch, h = part.key_head * n.group() + r / n.queries, i = r % n.queries;
        call.pull(call.row(b, h, i), b, h, i, {.out = &upstream(b, h, i, 0)}, &d_query(b, h, i, 0),
                  part.d_key.data(), part.d_value.data(), sums);
      }
      part.number = sums.number;
    });
    for (Index p = done; p < std::min(done + kParts, count); ++p) {
      Part& part = parts[static_cast<std::size_t>(p)];
      add_and_free(part.d_key, plain::head(d_key, part.batch, part.key_head));
      add_and_free(part.d_value, plain::head(d_value, part.batch, part.key_head));
      number += part.number;
    }
  }

  // 2. from the rows compared to the rows given
  plain::Sums<Dual> sums = call.sums(false);
  return {slopes(call.given(plain::Side::query, d_query, sums)),
          slopes(call.given(plain::Side::key, d_key, sums)), slopes(d_value), number.slope};
}

DoubleBackward attend_double_backward(View<const double, 4> query, View<const double, 4> key,
                                      View<const double, 4> value, View<const double, 4> d_out,
                                      const Tangent& cotangent, const AttentionOptions& options) {
  // sum(cotangent g) is the slope of sum(d_out out) along the cotangent. Its own gradient is therefore the
  // Hessian times the cotangent and, for d_out, in which it is linear, the slope of out.
  GradientTangent hessian = attend_backward_jvp(query, key, value, d_out, cotangent, {}, options);
  ResultTangent out = attend_jvp(query, key, value, cotangent, options);
  return {std::move(hessian.query), std::move(hessian.key), std::move(hessian.value), std::move(out.out),
          hessian.parameter};
}

}  // namespace kith
