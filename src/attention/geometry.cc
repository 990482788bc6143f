#include "attention/geometry.h"

#include <fmt/format.h>

#include <cmath>

namespace kith {
namespace {

template <class T>
void check_view(const char* name, const View<const T, 4>& x) {
  static constexpr const char* kAxes[] = {"batch", "heads", "rows", "columns"};
  Index count = 1;
  for (std::size_t a = 0; a < 4; ++a) {
    if (x.shape[a] < 0)
      throw Error(fmt::format("{}: {} is {}; it cannot be negative", name, kAxes[a], x.shape[a]));
    if (__builtin_mul_overflow(count, x.shape[a], &count) || count > PTRDIFF_MAX / 64) {
      throw Error(fmt::format("{}: shape [{}, {}, {}, {}] has too many elements to address", name, x.shape[0],
                              x.shape[1], x.shape[2], x.shape[3]));
    }
  }
  if (count > 0 && x.data == nullptr)
    throw Error(fmt::format("{}: no data (a null pointer) for {} elements", name, count));
  if (count > 0 && x.shape[3] > 1 && x.stride[3] != 1) {
    throw Error(fmt::format("{}: the last axis has stride {}; it needs 1 (contiguous)", name, x.stride[3]));
  }
}

void check_number(const char* name, double x, bool may_be_zero_or_negative) {
  if (!std::isfinite(x) || (!may_be_zero_or_negative && x <= 0)) {
    throw Error(
        fmt::format("{}: {} is not a finite {}number", name, x, may_be_zero_or_negative ? "" : "positive "));
  }
}

void check_similarity(const Similarity& similarity) {
  if (const auto* dot = std::get_if<Dot>(&similarity); dot != nullptr && dot->scale) {
    check_number("scale", *dot->scale, true);
  } else if (const auto* cosine = std::get_if<Cosine>(&similarity)) {
    check_number("temperature", cosine->temperature, false);
  } else if (const auto* gaussian = std::get_if<Gaussian>(&similarity)) {
    check_number("bandwidth", gaussian->bandwidth, false);
  } else if (const auto* euclidean = std::get_if<Euclidean>(&similarity)) {
    check_number("temperature", euclidean->temperature, false);
  }
}

}  // namespace

template <class T>
Geometry check(const View<const T, 4>& query, const View<const T, 4>& key, const View<const T, 4>& value,
               const Similarity& similarity, const Mask& mask) {
  check_view("query", query);
  check_view("key", key);
  check_view("value", value);
  const Geometry g{query.shape[0], query.shape[1], key.shape[1],  query.shape[2],
                   key.shape[2],   query.shape[3], value.shape[3]};
  if (g.depth < 1) throw Error("query: 0 columns; it needs at least 1");
  if (g.value_depth < 1) throw Error("value: 0 columns; it needs at least 1");
  if (key.shape[0] != g.batch)
    throw Error(fmt::format("key: batch is {}, query's is {}", key.shape[0], g.batch));
  if (value.shape[0] != g.batch)
    throw Error(fmt::format("value: batch is {}, query's is {}", value.shape[0], g.batch));
  if (g.key_heads < 1 ? g.heads > 0 : g.heads % g.key_heads != 0) {
    throw Error(fmt::format("key: {} heads do not divide query's {}", g.key_heads, g.heads));
  }
  if (value.shape[1] != g.key_heads) {
    throw Error(fmt::format("value: {} heads, key has {}", value.shape[1], g.key_heads));
  }
  if (key.shape[3] != g.depth)
    throw Error(fmt::format("key: {} columns, query has {}", key.shape[3], g.depth));
  if (value.shape[2] != g.keys)
    throw Error(fmt::format("value: {} rows, key has {}", value.shape[2], g.keys));
  check_similarity(similarity);
  if (!mask.key_length.empty()) {
    if (static_cast<Index>(mask.key_length.size()) != g.batch) {
      throw Error(fmt::format("key_length: {} lengths for a batch of {}", mask.key_length.size(), g.batch));
    }
    for (std::size_t b = 0; b < mask.key_length.size(); ++b) {
      if (mask.key_length[b] < 0 || mask.key_length[b] > g.keys) {
        throw Error(fmt::format("key_length: {} in batch row {}; it needs 0 to key's {} rows",
                                mask.key_length[b], b, g.keys));
      }
    }
  }
  // Offsets beyond any position mean the same as the nearest sensible one, but must not overflow in i +
  // offset.
  for (const auto& [name, offset] :
       {std::pair{"causal", mask.causal_offset}, {"exclude_self", mask.self_offset}}) {
    constexpr Index kLimit = Index{1} << 60;
    if (offset && (*offset > kLimit || *offset < -kLimit)) {
      throw Error(fmt::format("{}: offset {} is out of range; it needs to be within +-2^60", name, *offset));
    }
  }
  return g;
}

template Geometry check(const View<const float, 4>&, const View<const float, 4>&, const View<const float, 4>&,
                        const Similarity&, const Mask&);
template Geometry check(const View<const double, 4>&, const View<const double, 4>&,
                        const View<const double, 4>&, const Similarity&, const Mask&);

void check_want(const Want& want, const Geometry& g) {
  if (want.top < 0) throw Error(fmt::format("top: {} is negative", want.top));
  if (want.top > g.keys) throw Error(fmt::format("top: {} is more than key's {} rows", want.top, g.keys));
}

Mask operator&(const Mask& a, const Mask& b) {
  const auto either = [](const char* name, const auto& x, const auto& y) {
    if (x && y && *x != *y) {
      throw Error(fmt::format("mask: {} is given twice, with offsets {} and {}", name, *x, *y));
    }
    return x ? x : y;
  };
  if (!a.key_length.empty() && !b.key_length.empty() && a.key_length != b.key_length) {
    throw Error("mask: key_length is given twice, with different lengths");
  }
  return {.causal_offset = either("causal", a.causal_offset, b.causal_offset),
          .self_offset = either("exclude_self", a.self_offset, b.self_offset),
          .key_length = a.key_length.empty() ? b.key_length : a.key_length};
}

}  // namespace kith
