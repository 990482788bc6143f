#include "kith/audit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "neighbors/model.h"
#include "neighbors/tables.h"

namespace kith {
namespace {

using test::categories;
using test::error_of;
using test::kBlank;
using test::numbers;
using test::table_of;

/// Weights of every stored row on every other, by two plain loops over the model's keys: [from query][key].
/// `lse` gets each query's log of the sum before it is divided by.
std::vector<std::vector<double>> plain_weights(const Model& model, std::vector<double>* lse = nullptr) {
  const View<const float, 2> key = model.impl().key;
  const Index n = key.shape[0];
  std::vector<std::vector<double>> weight(static_cast<std::size_t>(n),
                                          std::vector<double>(static_cast<std::size_t>(n)));
  for (Index i = 0; i < n; ++i) {
    std::vector<double>& row = weight[static_cast<std::size_t>(i)];
    double sum = 0;
    for (Index j = 0; j < n; ++j) {
      double square = 0;
      for (Index c = 0; c < key.shape[1]; ++c) {
        square += std::pow(static_cast<double>(key(i, c)) - static_cast<double>(key(j, c)), 2);
      }
      row[static_cast<std::size_t>(j)] = i == j ? 0 : std::exp(-square / 2);
      sum += row[static_cast<std::size_t>(j)];
    }
    for (double& w : row) w /= sum;
    if (lse) lse->push_back(std::log(sum));
  }
  return weight;
}

TEST(Audit, ReceivedWeightsAndDoubtsAreThoseOfPlainLoops) {
  const Table table = test::mixed(150, 1);
  const Model model = fit(table, {.target = "y"});
  const std::vector<std::vector<double>> weight = plain_weights(model);
  const Audit found = audit(model, {.share = 1, .hub = 1.5});
  ASSERT_EQ(found.received.size(), 150U);
  std::vector<double> received(150, 0.0);
  for (std::size_t i = 0; i < 150; ++i) {
    double mean = 0;
    for (std::size_t j = 0; j < 150; ++j) {
      received[j] += weight[i][j];
      mean += weight[i][j] * model.target_value(j + 1);
    }
    const auto doubt = std::find_if(found.doubts.begin(), found.doubts.end(),
                                    [&](const Doubt& d) { return d.row == i + 1; });
    EXPECT_EQ(doubt != found.doubts.end(), found.score[i] > 3);
    if (doubt != found.doubts.end()) {
      EXPECT_NEAR(std::stod(doubt->neighbors_say), mean, 1e-3);
    }
  }
  std::set<std::size_t> hubs;
  for (const Hub& h : found.hubs) hubs.insert(h.row);
  for (std::size_t j = 0; j < 150; ++j) {
    EXPECT_NEAR(found.received[j], received[j], 1e-3 * (1 + received[j]));
    if (std::abs(received[j] - 1.5) > 1e-3) {
      EXPECT_EQ(hubs.contains(j + 1), received[j] > 1.5) << j;
    }
  }
  EXPECT_GT(hubs.size(), 0U);
  EXPECT_NEAR(std::accumulate(received.begin(), received.end(), 0.0), 150, 1e-6);
  for (std::size_t h = 1; h < found.hubs.size(); ++h)
    EXPECT_LE(found.hubs[h].received, found.hubs[h - 1].received);
}

TEST(Audit, FindsTargetsThatWereChanged) {
  Table table = test::mixed(600, 2);
  for (const std::size_t row : {50U, 200U, 333U}) table.columns[3].number[row - 1] += 5;
  const Model model = fit(table, {.target = "y"});
  const Audit found = audit(model, {.share = 0.005});
  ASSERT_EQ(found.doubts.size(), 3U) << "0.5 % of 600 rows";
  std::set<std::size_t> rows;
  for (const Doubt& d : found.doubts) {
    rows.insert(d.row);
    EXPECT_GT(d.score, 3);
    EXPECT_EQ(std::stod(d.said), table.columns[3].number[d.row - 1]);
    EXPECT_NEAR(std::stod(d.neighbors_say), std::stod(d.said) - 5, 1);
    ASSERT_FALSE(d.against.empty());
    double last = 1;
    for (const Neighbor& n : d.against) {
      EXPECT_NE(n.row, d.row);
      EXPECT_LE(n.weight, last);
      last = n.weight;
      const double y = std::stod(n.target);
      EXPECT_LT(std::abs(y - std::stod(d.neighbors_say)), std::abs(y - std::stod(d.said)));
    }
  }
  EXPECT_EQ(rows, (std::set<std::size_t>{50, 200, 333}));
}

TEST(Audit, DoubtsOfClassesAreOneMinusTheirProbability) {
  Table table = test::ring(500, 3);
  const Model model = fit(table, {.target = "class"});
  const Audit found = audit(model, {.share = 1});
  const Model::Impl& m = model.impl();
  std::vector<double> lse;
  const std::vector<std::vector<double>> weight = plain_weights(model, &lse);
  ASSERT_FALSE(found.doubts.empty());
  EXPECT_EQ(found.doubts.size(), found.contradicted);
  for (std::size_t d = 0; d < found.doubts.size(); ++d) {
    const Doubt& doubt = found.doubts[d];
    if (d > 0) {
      EXPECT_LE(doubt.score, found.doubts[d - 1].score);
    }
    std::vector<float> share(2, 0.0F);
    for (std::size_t j = 0; j < 500; ++j) {
      share[m.target_code(static_cast<Index>(j))] += static_cast<float>(weight[doubt.row - 1][j]);
    }
    std::vector<double> probability(2);
    neighbors::mix_in(m.prior, share.data(), lse[doubt.row - 1], probability.data());
    EXPECT_NEAR(doubt.score, 1 - probability[m.target_code(static_cast<Index>(doubt.row - 1))], 1e-4);
    EXPECT_GT(doubt.score, 0.5 - 1e-9);
    EXPECT_NE(doubt.said, doubt.neighbors_say);
    for (const Neighbor& n : doubt.against) EXPECT_NE(n.target, doubt.said);
  }
  EXPECT_EQ(m.rows(), 500);
}

TEST(Audit, FindsDoublesAndWhetherTheyContradict) {
  Table table = test::mixed(100, 4);
  const auto copy = [&](std::size_t from, std::size_t to) {
    for (Column& column : table.columns) {
      if (column.numeric()) {
        column.number[to - 1] = column.number[from - 1];
      } else {
        column.code[to - 1] = column.code[from - 1];
      }
    }
  };
  table.columns[0].number[9] = kBlank;
  copy(10, 40);
  copy(10, 70);
  copy(20, 30);
  table.columns[3].number[29] += 1;
  const Audit found = audit(fit(table, {.target = "y"}));
  ASSERT_EQ(found.duplicates.size(), 2U);
  EXPECT_EQ(found.duplicates[0].rows, (std::vector<std::size_t>{20, 30}));
  EXPECT_TRUE(found.duplicates[0].contradict);
  EXPECT_EQ(found.duplicates[1].rows, (std::vector<std::size_t>{10, 40, 70}));
  EXPECT_FALSE(found.duplicates[1].contradict);
}

TEST(Audit, FindsRowsOfAnotherTableThatAreStored) {
  const Table table = test::mixed(100, 5);
  const Model model = fit(table, {.target = "y"});
  Table other = test::mixed(30, 6);
  for (const auto& [from, to] : {std::pair<std::size_t, std::size_t>{17, 4}, {55, 9}}) {
    for (std::size_t c = 0; c < 4; ++c) {
      if (other.columns[c].numeric()) {
        other.columns[c].number[to - 1] = table.columns[c].number[from - 1];
      } else {
        const std::string level = table.columns[c].text(from - 1);
        const auto at = std::find(other.columns[c].level.begin(), other.columns[c].level.end(), level);
        other.columns[c].code[to - 1] = level.empty()
                                            ? Column::kMissing
                                            : static_cast<std::uint32_t>(at - other.columns[c].level.begin());
      }
    }
  }
  other.columns[3].number[8] += 1;
  Audit found = audit(model, {.with = &other});
  ASSERT_EQ(found.shared.size(), 2U);
  EXPECT_EQ(found.shared[0].row, 4U);
  EXPECT_EQ(found.shared[0].stored, std::vector<std::size_t>{17});
  EXPECT_FALSE(found.shared[0].contradict);
  EXPECT_EQ(found.shared[1].stored, std::vector<std::size_t>{55});
  EXPECT_TRUE(found.shared[1].contradict);
  other.columns.pop_back();
  found = audit(model, {.with = &other});
  EXPECT_EQ(found.shared.size(), 2U);
  EXPECT_FALSE(found.shared[1].contradict) << "without a target nothing contradicts";
}

TEST(Audit, NamesColumnsThatDoNothing) {
  Table table = test::mixed(300, 7);
  table.columns.push_back(numbers("same", std::vector<double>(300, 3)));
  const Audit found = audit(fit(table, {.target = "y"}));
  std::set<std::string> names;
  for (const IdleColumn& c : found.idle) names.insert(c.name);
  EXPECT_TRUE(names.contains("same"));
  EXPECT_TRUE(names.contains("c")) << "noise";
  EXPECT_FALSE(names.contains("a"));
  EXPECT_FALSE(names.contains("b"));
}

TEST(Audit, RefusesOptionsThatMakeNoSense) {
  const Model model = fit(test::mixed(50, 8), {.target = "y"});
  EXPECT_EQ(error_of([&] { audit(model, {.share = 1.5}); }),
            "share: 1.5 is not a share of the rows from 0 to 1");
  EXPECT_EQ(error_of([&] { audit(model, {.hub = 0}); }), "hub: 0; a positive multiple is needed");
  EXPECT_EQ(error_of([&] { audit(model, {.nearest = -1}); }), "nearest: -1 rows; a number from 0 is needed");
  const Table other = table_of({numbers("a", {1})});
  EXPECT_EQ(error_of([&] { audit(model, {.with = &other}); }),
            "table.csv: there is no column 'b', which the model needs");
}

}  // namespace
}  // namespace kith
