#include "kith/edit.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "neighbors/tables.h"

namespace kith {
namespace {

using test::categories;
using test::error_of;
using test::kBlank;
using test::numbers;
using test::table_of;

Table rows_of(const Table& table, std::size_t first, std::size_t last) {
  Table part = table;
  part.rows = last - first;
  for (Column& column : part.columns) {
    const auto cut = [&](auto& cells) {
      if (cells.empty()) return;
      cells.erase(cells.begin() + static_cast<std::ptrdiff_t>(last), cells.end());
      cells.erase(cells.begin(), cells.begin() + static_cast<std::ptrdiff_t>(first));
    };
    cut(column.number);
    cut(column.code);
  }
  return part;
}

std::vector<std::size_t> range(std::size_t first, std::size_t last) {
  std::vector<std::size_t> rows;
  for (std::size_t i = first; i <= last; ++i) rows.push_back(i);
  return rows;
}

std::string saved(const Model& model) {
  std::string name = (std::filesystem::temp_directory_path() / "kith_edit_XXXXXX").string();
  const int file = ::mkstemp(name.data());
  ::close(file);
  model.save(name);
  std::ifstream stream(name, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  std::filesystem::remove(name);
  return bytes;
}

template <class T>
bool holds(const std::string& bytes, T value) {
  char pattern[sizeof(T)];
  std::memcpy(pattern, &value, sizeof(T));
  return bytes.find(std::string(pattern, sizeof(T))) != std::string::npos;
}

/// 'mixed' with a few rows that stand out: beyond all others, and with a category and a blank of their own.
Table with_secrets() {
  Table table = test::mixed(300, 1);
  table.columns[0].number[16] = 77.125;    // row 17: the largest of its column
  table.columns[2].number[16] = -88.0625;  // the smallest
  table.columns[3].number[16] = 12.34567891;
  table.columns[1].level.push_back("zanzibar");
  table.columns[1].code[16] = static_cast<std::uint32_t>(table.columns[1].level.size() - 1);
  return table;
}

TEST(AddRows, KnowsThemAsIfTheyHadBeenThere) {
  const Table table = test::mixed(400, 1), query = test::mixed(40, 2);
  const Model fitted = fit(rows_of(table, 0, 300), {.target = "y"});
  const Added added = add_rows(fitted, rows_of(table, 300, 400));
  EXPECT_EQ(added.rows, 100U);
  EXPECT_EQ(added.left_out, 0U);
  EXPECT_EQ(added.first_row, 301U);
  ASSERT_EQ(added.model.rows(), 400U);
  for (std::size_t row = 1; row <= 400; ++row) {
    EXPECT_EQ(added.model.table_row(row), row);
    EXPECT_EQ(added.model.target_value(row), table.columns[3].number[row - 1]);
    for (std::size_t f = 0; f < 3; ++f) EXPECT_EQ(added.model.cell(row, f), table.columns[f].text(row - 1));
  }
  // The operator over old and new keys under the old metric: weights of old rows keep their proportions.
  const Prediction before = predict(fitted, query, {.why = 400}),
                   now = predict(added.model, query, {.why = 400});
  for (std::size_t i = 0; i < 40; ++i) {
    double sum = 0, mean = 0, old_weight = 0, old_mean = 0;
    for (const Neighbor& n : now.why[i]) {
      sum += n.weight;
      mean += n.weight * table.columns[3].number[n.row - 1];
      if (n.row > 300) continue;
      old_weight += n.weight;
      old_mean += n.weight * table.columns[3].number[n.row - 1];
    }
    EXPECT_NEAR(sum, 1, 1e-5);
    EXPECT_NEAR(now.value[i], mean, 1e-4);
    if (old_weight > 0.05) {
      EXPECT_NEAR(old_mean / old_weight, before.value[i], 1e-3);
    }
  }
  // The rows' own predictions are leave-one-out, over all 400.
  EXPECT_NE(added.model.leave_one_out().rmse, fitted.leave_one_out().rmse);
  EXPECT_NEAR(added.model.leave_one_out().rmse, fitted.leave_one_out().rmse, 0.1);
  EXPECT_EQ(fitted.rows(), 300U);
}

TEST(AddRows, NewCategoriesAndBlanksGetAPlaceOfTheirOwn) {
  const Model fitted = fit(test::mixed(300, 1), {.target = "y"});
  std::vector<double> y(20, 3.0);
  const Table more = table_of({numbers("a", std::vector<double>(20, 0.0)),
                               categories("b", std::vector<std::string>(20, "violet")),
                               numbers("c", std::vector<double>(20, kBlank)), numbers("y", y)});
  const Added added = add_rows(fitted, more);
  ASSERT_EQ(added.notes.size(), 2U);
  EXPECT_EQ(added.notes[0], "column 'b': 1 category not seen in fitting, now told apart from the others");
  EXPECT_EQ(added.notes[1], "column 'c': 20 cells are blank, as none was in fitting");
  EXPECT_EQ(added.model.features()[1].level.back(), "violet");
  const Table query =
      table_of({numbers("a", {0, 0}), categories("b", {"violet", "red"}), numbers("c", {0, 0})});
  const Prediction p = predict(added.model, query);
  EXPECT_TRUE(p.notes.empty());
  EXPECT_NEAR(p.value[0], 3, 0.2) << "rows of the new category say 3";
  EXPECT_NEAR(p.value[1], predict(fitted, query).value[1], 0.1) << "others are not told by them";
}

TEST(AddRows, LeavesOutBlankTargetsAndSkipsTheirNumbers) {
  const Model fitted = fit(test::mixed(100, 1), {.target = "y"});
  const Table more = table_of({numbers("a", {1, 2, 3}), categories("b", {"red", "red", "red"}),
                               numbers("c", {0, 0, 0}), numbers("y", {1, kBlank, 3})});
  const Added added = add_rows(fitted, more);
  EXPECT_EQ(added.rows, 2U);
  EXPECT_EQ(added.left_out, 1U);
  EXPECT_EQ(added.model.table_row(101), 101U);
  EXPECT_EQ(added.model.table_row(102), 103U);
}

TEST(AddRows, ClassesNotSeenAreRefusedOrLearned) {
  const Model fitted = fit(test::ring(200, 1), {.target = "class"});
  const Table more = table_of({numbers("a", {9, 9.1, 9.2}), numbers("b", {9, 9.1, 9.2}),
                               categories("class", {"in", "middle", "middle"})});
  EXPECT_EQ(
      error_of([&] { add_rows(fitted, more); }),
      "table.csv: target 'class', row 2: no stored row has the class 'middle'; the model's are in, out");
  const Added added = add_rows(fitted, more, {.new_classes = true});
  EXPECT_EQ(added.model.classes(), (std::vector<std::string>{"in", "middle", "out"}));
  for (std::size_t row = 1; row <= 200; ++row)
    EXPECT_EQ(added.model.target_cell(row), fitted.target_cell(row));
  EXPECT_EQ(added.model.target_cell(203), "middle");
  const Prediction p = predict(added.model, table_of({numbers("a", {9.1}), numbers("b", {9.1})}));
  EXPECT_EQ(p.label[0], 1U);
}

TEST(AddRows, RefusesATableThatDoesNotFit) {
  const Model fitted = fit(test::mixed(100, 1), {.target = "y"});
  EXPECT_EQ(error_of([&] {
              add_rows(fitted, table_of({numbers("a", {1}), numbers("y", {1})}));
            }),
            "table.csv: there is no column 'b', which the model needs");
  EXPECT_EQ(error_of([&] {
              add_rows(fitted, table_of({numbers("a", {1}), categories("b", {"red"}), numbers("c", {1}),
                                         categories("y", {"many"})}));
            }),
            "table.csv: target 'y': the model was fitted on numbers, the table holds categories");
  EXPECT_EQ(error_of([&] { add_rows(fitted, table_of({numbers("a", {1})})); }).substr(0, 21),
            "table.csv: target 'y'");
}

TEST(ForgetRows, LeavesNoTraceInTheFile) {
  const Table table = with_secrets();
  const Model fitted = fit(table, {.target = "y"});
  const std::string before = saved(fitted);
  ASSERT_TRUE(holds(before, 77.125) && holds(before, -88.0625) && holds(before, 12.34567891));
  ASSERT_NE(before.find("zanzibar"), std::string::npos);
  const Model left = forget_rows(fitted, {17});
  const std::string after = saved(left);
  EXPECT_FALSE(holds(after, 77.125));
  EXPECT_FALSE(holds(after, -88.0625));
  EXPECT_FALSE(holds(after, 12.34567891));
  EXPECT_EQ(after.find("zanzibar"), std::string::npos);
  // Nothing else goes: the other rows' cells are there.
  EXPECT_TRUE(holds(after, table.columns[3].number[17]));
  ASSERT_EQ(left.rows(), 299U);
  EXPECT_EQ(left.table_row(17), 18U);
  EXPECT_EQ(left.cell(17, 2), fitted.cell(18, 2));
  EXPECT_EQ(left.features()[0].bandwidth, fitted.features()[0].bandwidth);
}

TEST(ForgetRows, PredictsAsIfTheyHadNeverBeenStored) {
  const Table table = test::mixed(400, 1), query = test::mixed(40, 2);
  const Model part = fit(rows_of(table, 0, 300), {.target = "y"});
  const Model back = forget_rows(add_rows(part, rows_of(table, 300, 400)).model, range(301, 400));
  // Added and forgotten: to the bit what it was, but for notes.
  EXPECT_EQ(predict(back, query, {.interval = 0.9}).value, predict(part, query, {.interval = 0.9}).value);
  EXPECT_EQ(predict(back, query, {.interval = 0.9}).upper, predict(part, query, {.interval = 0.9}).upper);
  EXPECT_EQ(back.leave_one_out().rmse, part.leave_one_out().rmse);
  EXPECT_EQ(back.effective_neighbors(), part.effective_neighbors());
}

TEST(ForgetRows, TakesClassesThatNobodyHasAnyMore) {
  Table table = test::ring(200, 1);
  table.columns[2].level.push_back("secret");
  table.columns[2].code[4] = table.columns[2].code[9] = 2;
  const Model fitted = fit(table, {.target = "class"});
  ASSERT_EQ(fitted.classes().size(), 3U);
  const Model left = forget_rows(fitted, {10, 5});
  EXPECT_EQ(left.classes(), (std::vector<std::string>{"in", "out"}));
  EXPECT_EQ(saved(left).find("secret"), std::string::npos);
  EXPECT_EQ(left.target_cell(5), fitted.target_cell(6));
}

TEST(ForgetRows, WorksUnderAMatrixWhoseCoordinatesAreFixed) {
  const Model fitted = fit(with_secrets(), {.target = "y", .metric = Metric::linear});
  const Model left = forget_rows(fitted, {17});
  const std::string after = saved(left);
  EXPECT_FALSE(holds(after, 77.125));
  EXPECT_EQ(after.find("zanzibar"), std::string::npos);
  EXPECT_TRUE(std::isfinite(predict(left, test::mixed(5, 2)).value[4]));
  const Table more =
      table_of({numbers("a", {0}), categories("b", {"violet"}), numbers("c", {0}), numbers("y", {1})});
  EXPECT_EQ(error_of([&] { add_rows(fitted, more); }),
            "table.csv: column 'b', row 1: the category 'violet' was not seen in fitting, and a linear "
            "metric has no "
            "place for a new one; fit again");
}

TEST(ForgetRows, RefusesWhatCannotBe) {
  const Model fitted = fit(test::mixed(100, 1), {.target = "y"});
  EXPECT_EQ(error_of([&] { forget_rows(fitted, {101}); }),
            "row 101 is not stored; the model's rows are 100 of those from 1 to 100");
  EXPECT_EQ(error_of([&] { forget_rows(fitted, {0}); }),
            "row 0 is not stored; the model's rows are 100 of those from 1 to 100");
  EXPECT_EQ(error_of([&] { forget_rows(fitted, {7, 3, 7}); }), "row 7 is to be forgotten twice");
  EXPECT_EQ(error_of([&] { forget_rows(fitted, range(1, 99)); }),
            "99 of 100 rows are to be forgotten; a model needs at least two");
  const Model ring = fit(test::ring(60, 1), {.target = "class"});
  std::vector<std::size_t> inside;
  for (std::size_t row = 1; row <= 60; ++row) {
    if (ring.target_cell(row) == "in") inside.push_back(row);
  }
  EXPECT_EQ(error_of([&] { forget_rows(ring, inside); }),
            "target 'class': only 'out' would be left; a model needs two classes");
}

TEST(EditedModels, ReadBackAsTheyWere) {
  const Model fitted = fit(with_secrets(), {.target = "y"});
  const Model edited = forget_rows(add_rows(fitted, test::mixed(50, 4)).model, {17, 320, 5});
  const std::string path = (std::filesystem::temp_directory_path() / "kith_edited_model.kith").string();
  edited.save(path);
  const Model again = Model::load(path);
  std::filesystem::remove(path);
  const Table query = test::mixed(20, 5);
  EXPECT_EQ(predict(again, query, {.interval = 0.8}).lower, predict(edited, query, {.interval = 0.8}).lower);
  EXPECT_EQ(again.leave_one_out().rmse, edited.leave_one_out().rmse);
}

/// What `compress` says its rows cost, by predict: rows that are kept are left out of their own predictions.
double error_from(const Model& kept, const Table& table) {
  double squares = 0;
  const Prediction p = predict(kept, table, {.why = static_cast<int>(kept.rows())});
  for (std::size_t i = 0; i < table.rows; ++i) {
    double sum = 0, weights = 0;
    for (const Neighbor& n : p.why[i]) {
      if (n.row == i + 1) continue;
      weights += n.weight;
      sum += n.weight * std::stod(n.target);
    }
    squares += std::pow(sum / weights - table.columns[3].number[i], 2);
  }
  return std::sqrt(squares / static_cast<double>(table.rows));
}

TEST(Compress, SaysWhatItCosts) {
  const Table table = test::mixed(1000, 1);
  const Model fitted = fit(table, {.target = "y"});
  const Compressed small = compress(fitted, {.rows = 100});
  ASSERT_EQ(small.model.rows(), 100U);
  EXPECT_EQ(small.before.rmse, fitted.leave_one_out().rmse);
  EXPECT_NEAR(small.after.rmse, error_from(small.model, table), 1e-3);
  for (std::size_t row = 1; row <= 100; ++row) {
    const std::size_t from = small.model.table_row(row);
    EXPECT_EQ(small.model.target_value(row), table.columns[3].number[from - 1]);
    EXPECT_EQ(small.model.cell(row, 0), table.columns[0].text(from - 1));
  }
  // Better than as many rows by chance.
  std::vector<std::size_t> others = range(101, 1000);
  const Model first = forget_rows(fitted, others);
  EXPECT_LT(small.after.rmse, error_from(first, table));
  EXPECT_NEAR(small.model.features()[0].bandwidth / fitted.features()[0].bandwidth, small.wider, 1e-9);
}

TEST(Compress, KeepsTheClassesShares) {
  const Model fitted = fit(test::ring(1000, 1), {.target = "class"});
  const Compressed small = compress(fitted, {.rows = 60});
  const auto share = [](const Model& model) {
    double in = 0;
    for (std::size_t row = 1; row <= model.rows(); ++row) in += model.target_cell(row) == "in" ? 1 : 0;
    return in / static_cast<double>(model.rows());
  };
  EXPECT_NEAR(share(small.model), share(fitted), 0.04);
  EXPECT_LT(small.after.log_loss, fitted.leave_one_out().log_loss + 0.1);
  EXPECT_GT(small.after.accuracy, fitted.leave_one_out().accuracy - 0.08);
}

TEST(Compress, RefusesANumberOfRowsThatCannotBe) {
  const Model fitted = fit(test::mixed(50, 1), {.target = "y"});
  for (const std::size_t rows : {std::size_t{0}, std::size_t{1}, std::size_t{51}}) {
    EXPECT_EQ(error_of([&] { compress(fitted, {.rows = rows}); }),
              "rows: " + std::to_string(rows) + " to keep of 50; from 2 to all of them can be kept");
  }
  EXPECT_EQ(compress(fitted, {.rows = 50}).model.rows(), 50U);
  EXPECT_EQ(compress(fitted, {.rows = 2}).model.rows(), 2U);
}

}  // namespace
}  // namespace kith
