#include "neighbors/encoder.h"

#include <algorithm>

namespace kith::neighbors {
namespace {

/// The columns [first, first + count) of a matrix.
template <class T>
View<T, 2> columns(View<T, 2> x, Index first, Index count) {
  return {x.data + first, {x.shape[0], count}, x.stride};
}

/// Room for n rows; what is there already is used again.
void resize(Array<float, 2>& a, Index rows, Index width) {
  if (a.shape() != Shape<2>{rows, width}) a = Array<float, 2>({rows, width});
}

}  // namespace

Encoder::Encoder(const std::vector<bool>& is_number, const EncoderShape& shape, Random& random) {
  for (std::size_t c = 0; c < is_number.size(); ++c) {
    (is_number[c] ? number : plain).push_back(static_cast<Index>(c));
  }
  const auto numbers = static_cast<Index>(number.size());
  if (numbers > 0) {
    embedding = PeriodicEmbedding("number", numbers, shape.frequencies, shape.width, shape.sigma, random);
  }
  linear = Linear("key", numbers * shape.width + static_cast<Index>(plain.size()), shape.out, random);
}

Encoder::Columns Encoder::columns_of(Index coordinate) const {
  const auto place = [&](const std::vector<Index>& list) {
    return static_cast<Index>(std::find(list.begin(), list.end(), coordinate) - list.begin());
  };
  const auto numbers = static_cast<Index>(number.size());
  const Index wide = numbers > 0 ? embedding.width() : 0, at = place(number);
  if (at < numbers) return {at * wide, wide};
  return {numbers * wide + place(plain), 1};
}

void Encoder::embed(View<const float, 2> x, Pass& pass, int threads) const {
  const Index n = x.shape[0], embedded = linear.in() - static_cast<Index>(plain.size());
  resize(pass.embedded, n, linear.in());
  if (!number.empty()) {
    resize(pass.number, n, static_cast<Index>(number.size()));
    for (Index i = 0; i < n; ++i) {
      for (std::size_t c = 0; c < number.size(); ++c) pass.number(i, static_cast<Index>(c)) = x(i, number[c]);
    }
    embedding.forward(pass.number, columns(pass.embedded.view(), 0, embedded), threads);
  }
  for (Index i = 0; i < n; ++i) {
    for (std::size_t c = 0; c < plain.size(); ++c) {
      pass.embedded(i, embedded + static_cast<Index>(c)) = x(i, plain[c]);
    }
  }
}

void Encoder::forward(View<const float, 2> x, Pass& pass, int threads) const {
  embed(x, pass, threads);
  resize(pass.key, x.shape[0], width());
  linear.forward(pass.embedded, pass.key, threads);
}

void Encoder::backward(const Pass& pass, View<const float, 2> d_key, int threads) {
  if (number.empty()) return linear.backward(pass.embedded, d_key, {}, threads);
  Array<float, 2> d_embedded(pass.embedded.shape());
  linear.backward(pass.embedded, d_key, d_embedded, threads);
  const Index embedded = linear.in() - static_cast<Index>(plain.size());
  embedding.backward(pass.number, columns(pass.embedded.view(), 0, embedded),
                     columns(View<const float, 2>(d_embedded.view()), 0, embedded), {}, threads);
}

Array<float, 2> Encoder::keys(View<const float, 2> x, int threads) const {
  constexpr Index kRows = 4096;
  Array<float, 2> out({x.shape[0], width()});
  Pass pass;
  for (Index first = 0; first < x.shape[0]; first += kRows) {
    const Index n = std::min(kRows, x.shape[0] - first);
    forward({x.data + first * x.stride[0], {n, x.shape[1]}, x.stride}, pass, threads);
    std::copy(pass.key.begin(), pass.key.end(), out.data() + first * width());
  }
  return out;
}

Parameters Encoder::parameters() {
  Parameters all = linear.parameters();
  if (!number.empty()) {
    const auto more = embedding.parameters();
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

}  // namespace kith::neighbors
