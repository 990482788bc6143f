// The numbers of a case.
#pragma once

#include <memory>
#include <vector>

#include "attention/cases.h"
#include "kith/reference.h"

namespace kith::test {

/// Inputs, rounded to what the case's dtype holds, upstream gradients, rounded to the type of its arithmetic,
/// and options with all the memory they refer to.
struct Values {
  Array<double, 4> query, key, value;
  Array<double, 4> d_out, d_second_moment;
  Array<double, 3> d_lse, d_entropy;
  AttentionOptions options;
  std::vector<std::shared_ptr<const void>> memory;
};

Values make_values(const Case& c);

/// Columns of the keys: another number than the queries' where the similarity allows it.
Index key_depth(const Case& c);

/// The upstream gradients that the case asks for.
Upstream<double> upstream(const Case& c, const Values& values);

/// What `attend` has to be asked for, for a backward pass with the case's upstream gradients.
AttentionOptions backward_options(const Case& c, const Values& values);

/// Exact, since make_values rounded.
template <class T, int R>
Array<T, R> rounded_to(const Array<double, R>& a) {
  Array<T, R> result(a.shape());
  for (Index i = 0; i < a.size(); ++i) result.data()[i] = static_cast<T>(a.data()[i]);
  return result;
}

template <class T, int R>
Array<double, R> to_double(const Array<T, R>& a) {
  Array<double, R> result(a.shape());
  for (Index i = 0; i < a.size(); ++i) result.data()[i] = static_cast<double>(a.data()[i]);
  return result;
}

}  // namespace kith::test
