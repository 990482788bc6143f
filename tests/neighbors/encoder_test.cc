#include "neighbors/encoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "array/temporary_folder.h"
#include "neighbors/encoder_fit.h"
#include "neighbors/key_map.h"
#include "neighbors/tables.h"

namespace kith::neighbors {
namespace {

constexpr EncoderShape kSmall{.frequencies = 5, .width = 4, .out = 7, .sigma = 0.3};

Array<float, 2> normals(const Shape<2>& shape, std::uint64_t seed) {
  test::Random random(seed);
  Array<float, 2> a(shape);
  for (float& x : a) x = static_cast<float>(random.normal());
  return a;
}

/// Leave-one-out loss of a few rows among all, in which every parameter has a part.
struct Problem {
  Array<float, 2> x = normals({60, 4}, 1), value = normals({60, 1}, 2);
  Encoder encoder;

  Problem() {
    kith::Random random(3);
    encoder = Encoder({true, false, true, false}, kSmall, random);
  }
  double loss() const {
    KeyLoss by_keys(Euclidean{}, {}, 1);
    const Array<float, 2> key = encoder.keys(x, 1);
    return by_keys.evaluate(key, value, key, value, 0, 0, false).loss.mean;
  }
};

TEST(Encoder, EveryParameterHasTheGradientOfFiniteDifferences) {
  Problem p;
  KeyLoss by_keys(Euclidean{}, {}, 2);
  Encoder::Pass pass;
  p.encoder.forward(p.x, pass, 2);
  KeyLoss::Value found = by_keys.evaluate(pass.key, p.value, pass.key, p.value, 0, 0, true);
  for (Index i = 0; i < pass.key.size(); ++i) found.by_row.key.data()[i] += found.by_row.query.data()[i];
  p.encoder.backward(pass, {found.by_row.key.data(), pass.key.shape()}, 2);
  double largest = 0;
  for (Parameter* parameter : p.encoder.parameters()) {
    for (Index i = 0; i < parameter->value.size(); ++i) {
      constexpr float kStep = 2e-3F;
      float& number = parameter->value.data()[i];
      const float before = number;
      number = before + kStep;
      const double up = p.loss();
      number = before - kStep;
      const double down = p.loss();
      number = before;
      const double slope = (up - down) / (2 * static_cast<double>(kStep));
      const auto gradient = static_cast<double>(parameter->gradient.data()[i]);
      EXPECT_NEAR(gradient, slope, 1e-3 + 0.03 * std::fabs(slope)) << parameter->name << ' ' << i;
      largest = std::max(largest, std::fabs(gradient));
    }
  }
  EXPECT_GT(largest, 0.02);  // or nothing was compared
}

TEST(Encoder, KeysAreTheSameForAnyStretchAndThreads) {
  const Problem p;
  const Array<float, 2> many = normals({5000, 4}, 5), one = p.encoder.keys(many, 1),
                        three = p.encoder.keys(many, 3);
  EXPECT_TRUE(std::equal(one.begin(), one.end(), three.begin()));
  const Array<float, 2> row = p.encoder.keys(View<const float, 2>(many.data() + 4 * 4321, {1, 4}), 1);
  EXPECT_TRUE(std::equal(row.begin(), row.end(), one.data() + 7 * 4321));
}

TEST(Encoder, WithoutNumbersItIsOneLinearLayer) {
  kith::Random random(3);
  Encoder encoder({false, false}, kSmall, random);
  EXPECT_EQ(encoder.parameters().size(), 2U);
  const Array<float, 2> x = normals({9, 2}, 1), key = encoder.keys(x, 1);
  EXPECT_NEAR(key(4, 2),
              x(4, 0) * encoder.linear.weight.value(0, 2) + x(4, 1) * encoder.linear.weight.value(1, 2) +
                  encoder.linear.bias.value(0, 2),
              1e-5);
}

/// y = sin(4 a) + sin(4 b) + sin(4 c), where a category turns the sign of the last; some blanks. Too many
/// dimensions for neighbors in the columns themselves.
Table waves(std::size_t rows, std::uint64_t seed) {
  test::Random random(seed);
  std::vector<double> a = random.normals(rows), b = random.normals(rows), c = random.normals(rows), y;
  std::vector<std::string> side;
  for (std::size_t i = 0; i < rows; ++i) {
    side.push_back(random.uniform() < 0.5 ? "left" : "right");
    y.push_back(std::sin(4 * a[i]) + std::sin(4 * b[i]) + std::sin(4 * c[i]) * (side[i] == "left" ? 1 : -1) +
                0.05 * random.normal());
    if (i % 50 == 7) a[i] = test::kBlank;
  }
  return test::table_of({test::numbers("a", a), test::numbers("b", b), test::numbers("c", c),
                         test::categories("side", side), test::numbers("y", y)});
}

TEST(Encoder, LearnsWhatNoMatrixCan) {
  const Table table = waves(1200, 1), fresh = waves(500, 2);
  const auto error = [&](Metric metric) {
    return score(fit(table, {.target = "y", .metric = metric}), fresh).errors.rmse;
  };
  const double linear = error(Metric::linear), encoder = error(Metric::encoder);
  EXPECT_LT(encoder, 0.9 * linear);
}

TEST(Encoder, ClassesToo) {
  const Table table = test::ring(800, 3), fresh = test::ring(800, 4);
  const Model model = fit(table, {.target = "class", .metric = Metric::encoder});
  EXPECT_EQ(model.metric(), Metric::encoder);
  EXPECT_GT(score(model, fresh).errors.accuracy, 0.86);  // 0.9 at best
}

TEST(Encoder, GivesTheSameBitsOnAnyNumberOfThreads) {
  const Table table = waves(300, 4);
  const auto saved = [&](int threads, std::uint64_t seed) {
    const TemporaryFolder folder;
    fit(table, {.target = "y", .metric = Metric::encoder, .seed = seed, .threads = threads})
        .save(folder.file("m"));
    return read_file(folder.file("m"));
  };
  const std::string one = saved(1, 5);
  EXPECT_EQ(one, saved(3, 5));
  EXPECT_NE(one, saved(1, 6));
}

TEST(Encoder, WhyTellsColumnsApart) {
  const Table table = waves(60, 6);
  const Model model = fit(table, {.target = "y", .metric = Metric::encoder});
  const Prediction p = predict(model, table, {.why = 60});
  for (std::size_t i = 0; i < 5; ++i) {
    const Neighbor& own = p.why[i][0];
    EXPECT_EQ(own.row, i + 1);
    EXPECT_EQ(own.apart, (std::vector<double>{0, 0, 0, 0}));
    // A part is the difference that its column alone makes in the key.
    const Neighbor& other = p.why[i][5];
    const std::size_t j = other.row - 1;
    for (std::size_t f = 0; f < 4; ++f) {
      Table mixed = table;
      if (mixed.columns[f].numeric()) {
        mixed.columns[f].number[i] = table.columns[f].number[j];
      } else {
        mixed.columns[f].code[i] = table.columns[f].code[j];
      }
      const Prediction moved = predict(model, mixed, {.why = 60});
      const auto self = std::find_if(moved.why[i].begin(), moved.why[i].end(),
                                     [&](const Neighbor& n) { return n.row == i + 1; });
      ASSERT_NE(self, moved.why[i].end());
      EXPECT_NEAR(self->apart[f], other.apart[f], 1e-4 * (1 + other.apart[f]));
    }
  }
}

TEST(Encoder, TooFewRowsGetBandwidthsAndANote) {
  const Model model = fit(waves(49, 7), {.target = "y", .metric = Metric::encoder});
  EXPECT_EQ(model.metric(), Metric::diagonal);
  EXPECT_TRUE(std::any_of(model.notes().begin(), model.notes().end(), [](const std::string& note) {
    return note == "an encoder needs 50 rows or more; bandwidths were fitted instead";
  }));
  EXPECT_EQ(fit(waves(60, 7), {.target = "y", .metric = Metric::encoder}).metric(), Metric::encoder);
}

TEST(Encoder, AFitThatIsStoppedKeepsTheBestSoFar) {
  const Table table = waves(400, 8);
  for (const int last : {2, 20, 25}) {
    int steps = 0;
    FitOptions options{.target = "y", .metric = Metric::encoder};
    options.progress = [&](const FitProgress&) { return ++steps < last; };
    const Model model = fit(table, options);
    EXPECT_TRUE(model.stopped_early());
    EXPECT_EQ(predict(model, table).value.size(), 400U);
  }
}

TEST(Automatic, TakesTheRungThatPredictsBest) {
  const Table table = waves(1200, 1);
  const Model model = fit(table, {.target = "y", .metric = Metric::automatic});
  EXPECT_EQ(model.metric(), Metric::encoder);
  // Noise around a line: nothing is gained beyond bandwidths, or next to nothing.
  const Table curve = test::textbook_curve(400, 2);
  const double simple = fit(curve, {.target = "y"}).leave_one_out().rmse;
  const Model chosen = fit(curve, {.target = "y", .metric = Metric::automatic});
  EXPECT_NE(chosen.metric(), Metric::automatic);
  EXPECT_LT(chosen.leave_one_out().rmse, 1.03 * simple);
  EXPECT_NE(std::find_if(chosen.notes().begin(), chosen.notes().end(),
                         [](const std::string& note) {
                           return note.find("error of the rows held out: diagonal") == 0;
                         }),
            chosen.notes().end());
  // Too few rows to hold any out.
  EXPECT_EQ(fit(waves(60, 7), {.target = "y", .metric = Metric::automatic}).metric(), Metric::diagonal);
}

}  // namespace
}  // namespace kith::neighbors
