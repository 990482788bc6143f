// A Gaussian in few columns with short values in float32: rows in lanes, sums without a maximum, and the rows
// far from all keys that those cannot hold. Against a plain sum in double.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "attention/check.h"
#include "kith/attention.h"

namespace kith {
namespace {

using namespace test;

struct Inputs {
  Array<float, 4> query, key, value;
  AttentionOptions options;
};

/// Keys and queries uniform in the unit cube, values normal enough: numbers in (-1, 2).
Inputs make(Index queries, Index keys, Index depth, Index width, double bandwidth, std::uint64_t seed = 1) {
  Inputs x{Array<float, 4>({1, 1, queries, depth}),
           Array<float, 4>({1, 1, keys, depth}),
           Array<float, 4>({1, 1, keys, width}),
           {}};
  Random random(seed);
  const auto uniform = [&] { return static_cast<float>(random.below(1 << 24)) * 0x1p-24F; };
  for (float& q : x.query) q = uniform();
  for (float& k : x.key) k = uniform();
  for (float& v : x.value) v = 3 * uniform() - 1;
  x.options.similarity = Gaussian{.bandwidth = bandwidth};
  x.options.want.lse = true;
  x.options.method = Method::direct;
  x.options.threads = 1;
  return x;
}

/// Of one row, by the formula.
struct Plain {
  std::vector<double> out;
  double lse = -kInfinity;
};
Plain plain(const Inputs& x, Index i) {
  const double h = std::get<Gaussian>(x.options.similarity).bandwidth;
  const Index keys = x.key.shape()[2], depth = x.key.shape()[3], width = x.value.shape()[3];
  std::vector<double> logit;
  double most = -kInfinity;
  for (Index j = 0; j < keys; ++j) {
    double distance = 0;
    for (Index c = 0; c < depth; ++c) {
      const double t = static_cast<double>(x.query(0, 0, i, c)) - static_cast<double>(x.key(0, 0, j, c));
      distance += t * t;
    }
    const bool hidden = x.options.mask.self_offset && i + *x.options.mask.self_offset == j;
    logit.push_back(hidden ? -kInfinity : -distance / (2 * h * h));
    most = std::max(most, logit.back());
  }
  Plain p{std::vector<double>(static_cast<std::size_t>(width)), -kInfinity};
  if (most == -kInfinity) return p;
  double sum = 0;
  for (Index j = 0; j < keys; ++j) {
    const double w = std::exp(logit[static_cast<std::size_t>(j)] - most);
    sum += w;
    for (Index c = 0; c < width; ++c) {
      p.out[static_cast<std::size_t>(c)] += w * static_cast<double>(x.value(0, 0, j, c));
    }
  }
  for (double& y : p.out) y /= sum;
  p.lse = most + std::log(sum);
  return p;
}

/// Values are below 2 in magnitude, so an error of `bound` is one of half that relative to them.
void expect_close(const Inputs& x, const AttentionResult& r, Index i, double bound) {
  const Plain p = plain(x, i);
  for (Index c = 0; c < r.out.shape()[3]; ++c) {
    EXPECT_NEAR(static_cast<double>(r.out(0, 0, i, c)), p.out[static_cast<std::size_t>(c)], bound)
        << "row " << i << " column " << c << ' ' << instruction_set();
  }
  if (p.lse == -kInfinity) {
    EXPECT_EQ(static_cast<double>(r.lse(0, 0, i)), p.lse) << "row " << i << ' ' << instruction_set();
  } else {
    EXPECT_NEAR(static_cast<double>(r.lse(0, 0, i)), p.lse, bound * (1 + std::fabs(p.lse)))
        << "row " << i << ' ' << instruction_set();
  }
}
void expect_all_close(const Inputs& x, double bound) {
  for (const char* instructions : instruction_sets()) {
    const ForcedInstructionSet forced(instructions);
    const AttentionResult r = attend(x.query, x.key, x.value, x.options);
    for (Index i = 0; i < x.query.shape()[2]; ++i) expect_close(x, r, i, bound);
  }
}

// A weight's logit, up to 20 units of log 2, is a float sum of squares times a float: 20 ln 2 (d + 3) / 2
// half epsilons at worst, of which neighbors in space share most.
constexpr double kBound = 2e-6;

TEST(Narrow, SizesAroundTheBlocks) {
  for (const Index queries : {1, 8, 9, 16, 17, 24, 25, 47, 48, 49, 95, 96, 97, 200}) {
    for (const Index keys : {1, 3, 47, 48, 49, 191, 193}) {
      SCOPED_TRACE(fmt::format("{} queries, {} keys", queries, keys));
      expect_all_close(make(queries, keys, 1 + keys % 3, 1, 0.3), kBound);
    }
  }
  expect_all_close(make(30, 1919, 2, 1, 0.3), kBound);
  expect_all_close(make(30, 3841, 1, 2, 0.3), kBound);
}

TEST(Narrow, EveryDepthAndWidth) {
  for (Index depth = 1; depth <= 17; ++depth) {
    for (const Index width : {1, 2, 3, 8, 9}) {
      SCOPED_TRACE(fmt::format("depth {}, width {}", depth, width));
      expect_all_close(make(103, 130, depth, width, 0.4), kBound);
    }
  }
}

// One query, a few, and many take different loops; so do outputs, and a mask that hides nothing here.
TEST(Narrow, ARowHasTheBitsItHasAlone) {
  for (const Index depth : {1, 2, 3, 7, 16}) {
    for (const Index width : {1, 4}) {
      const Inputs x = make(130, 2000, depth, width, depth == 1 ? 0.01 : 0.2);
      for (const char* instructions : instruction_sets()) {
        const ForcedInstructionSet forced(instructions);
        const AttentionResult all = attend(x.query, x.key, x.value, x.options);
        AttentionOptions more = x.options;
        more.want.entropy = more.want.largest = true;
        more.want.top = 3;
        EXPECT_TRUE(same_bits(attend(x.query, x.key, x.value, more).out, all.out)) << instructions;
        more = x.options;
        more.threads = 3;
        EXPECT_TRUE(same_bits(attend(x.query, x.key, x.value, more).out, all.out)) << instructions;
        more = x.options;
        more.mask = causal(1999 - 60);  // hides keys from the first rows, none from the others
        const AttentionResult masked = attend(x.query, x.key, x.value, more);
        EXPECT_TRUE(same_bits(masked.out.data() + 60 * width, all.out.data() + 60 * width, 70 * width));
        for (const Index first : {0, 5, 37, 120}) {
          for (const Index count : {1, 6, 10}) {
            const View<const float, 4> few(x.query.data() + first * depth, {1, 1, count, depth},
                                           {count * depth, count * depth, depth, 1});
            const AttentionResult part = attend(few, x.key, x.value, x.options);
            EXPECT_TRUE(same_bits(part.out.data(), all.out.data() + first * width, count * width))
                << instructions << " rows " << first << " + " << count;
            EXPECT_TRUE(same_bits(part.lse.data(), all.lse.data() + first, count)) << instructions;
          }
        }
      }
    }
  }
}

// Every fifth row lies so far away that its weights relative to 2^0 are all zero in float.
TEST(Narrow, RowsFarFromAllKeys) {
  for (const double far : {4.0, 10.0, 50.0, 1e4}) {
    for (const Index depth : {1, 3, 8}) {
      for (const Index keys : {1, 40, 2500}) {
        SCOPED_TRACE(fmt::format("{} bandwidths, {} keys, depth {}", far, keys, depth));
        Inputs x = make(41, keys, depth, 2, 0.25);
        for (Index i = 0; i < 41; i += 5) x.query(0, 0, i, 0) = static_cast<float>(1 + 0.25 * far);
        expect_all_close(x, kBound);
      }
    }
  }
}

TEST(Narrow, FarRowsTakeNoMaskedKeyAndHaveAllOutputs) {
  Inputs x = make(50, 400, 2, 1, 0.05);
  for (Index i = 0; i < 50; i += 2) x.query(0, 0, i, 1) = 9;
  x.options.mask = causal(3);
  x.options.want = {.lse = true, .top = 3, .entropy = true, .largest = true};
  // What nobody may see.
  for (Index j = 60; j < 400; ++j) x.key(0, 0, j, 0) = std::numeric_limits<float>::quiet_NaN();
  for (const char* instructions : instruction_sets()) {
    const ForcedInstructionSet forced(instructions);
    const AttentionResult r = attend(x.query, x.key, x.value, x.options);
    for (Index i = 0; i < 50; ++i) {
      Inputs own = make(1, i + 4, 2, 1, 0.05);
      std::copy_n(&x.query(0, 0, i, 0), 2, own.query.data());
      std::copy_n(x.key.data(), (i + 4) * 2, own.key.data());
      std::copy_n(x.value.data(), i + 4, own.value.data());
      const Plain p = plain(own, 0);
      EXPECT_NEAR(static_cast<double>(r.out(0, 0, i, 0)), p.out[0], kBound) << i << instructions;
      EXPECT_NEAR(static_cast<double>(r.lse(0, 0, i)), p.lse, kBound * (1 + std::fabs(p.lse))) << i;
      // Minus their logarithms, the largest weight first.
      std::vector<std::pair<double, Index>> weights;
      double entropy = 0;
      for (Index j = 0; j < i + 4; ++j) {
        double distance = 0;
        for (Index c = 0; c < 2; ++c) {
          const double t =
              static_cast<double>(own.query(0, 0, 0, c)) - static_cast<double>(own.key(0, 0, j, c));
          distance += t * t;
        }
        const double log_weight = -distance / (2 * 0.05 * 0.05) - p.lse;
        weights.emplace_back(-log_weight, j);
        entropy -= std::exp(log_weight) * log_weight;
      }
      std::sort(weights.begin(), weights.end());
      EXPECT_NEAR(static_cast<double>(r.entropy(0, 0, i)), entropy, 1e-5) << i << instructions;
      EXPECT_NEAR(static_cast<double>(r.largest(0, 0, i)), std::exp(-weights[0].first), 4e-6)
          << i << instructions;
      for (Index k = 0; k < 3; ++k) {
        const auto& [log_weight, key] = weights[static_cast<std::size_t>(k)];
        EXPECT_EQ(r.top_key(0, 0, i, k), key) << i << instructions;
        // A logit of 16,000 in float.
        EXPECT_NEAR(static_cast<double>(r.top_weight(0, 0, i, k)), std::exp(-log_weight), 2e-3)
            << i << instructions;
      }
    }
  }
}

TEST(Narrow, ARowWithoutItself) {
  Inputs x = make(300, 300, 3, 1, 0.1);
  x.query = x.key;
  x.options.mask = exclude_self();
  expect_all_close(x, kBound);
  Inputs lonely = make(1, 1, 1, 1, 0.1);  // and nobody is left
  lonely.options.mask = exclude_self();
  expect_all_close(lonely, 0);
}

// Gaps, copies and clusters: each row's weights from 1 to nothing.
TEST(Narrow, ClustersAndCopies) {
  Inputs x = make(100, 1000, 2, 1, 0.02);
  for (Index j = 0; j < 1000; ++j) {
    x.key(0, 0, j, 0) = static_cast<float>(j % 4) * 5 + (j % 3 == 0 ? 0 : 0.01F * x.key(0, 0, j, 0));
    x.key(0, 0, j, 1) *= 0.01F;
  }
  for (Index i = 0; i < 100; ++i) x.query(0, 0, i, 0) *= 20;
  expect_all_close(x, kBound);
}

TEST(Narrow, AMillionKeys) {
  const Inputs x = make(3, 1000000, 1, 1, 0.1);
  const AttentionResult r = attend(x.query, x.key, x.value, x.options);
  for (Index i = 0; i < 3; ++i) expect_close(x, r, i, 2.8e-7);
}

TEST(Narrow, NotFinite) {
  for (const char* instructions : instruction_sets()) {
    const ForcedInstructionSet forced(instructions);
    Inputs x = make(40, 100, 2, 1, 0.3);
    const float nan = std::numeric_limits<float>::quiet_NaN(),
                infinity = std::numeric_limits<float>::infinity();
    x.query(0, 0, 3, 1) = nan;
    x.query(0, 0, 4, 0) = infinity;  // infinitely far from all
    x.key(0, 0, 50, 0) = -infinity;  // counts as nothing
    x.query(0, 0, 39, 0) = 1e20F;    // its squared distances do not fit
    const AttentionResult r = attend(x.query, x.key, x.value, x.options);
    EXPECT_TRUE(std::isnan(r.out(0, 0, 3, 0)) && std::isnan(r.lse(0, 0, 3))) << instructions;
    EXPECT_EQ(r.out(0, 0, 4, 0), 0) << instructions;
    EXPECT_EQ(static_cast<double>(r.lse(0, 0, 4)), -kInfinity) << instructions;
    EXPECT_TRUE(std::isfinite(r.out(0, 0, 39, 0))) << instructions;
    expect_close(x, r, 0, kBound);
    x.key(0, 0, 99, 1) = nan;
    for (const float y : attend(x.query, x.key, x.value, x.options).out) EXPECT_TRUE(std::isnan(y));
  }
}

}  // namespace
}  // namespace kith
