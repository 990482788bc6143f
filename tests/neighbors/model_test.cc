#include <gtest/gtest.h>

#include "neighbors/tables.h"

namespace kith {
namespace {

TEST(Model, KeepsCellsExactly) {
  const Table table = test::mixed(300, 1);
  const Model model = fit(table, {.target = "y"});
  for (std::size_t row = 1; row <= 300; row += 7) {
    for (std::size_t f = 0; f < 3; ++f) {
      const Column& column = table.columns[f];
      const std::string cell = model.cell(row, f);
      if (column.numeric() && !cell.empty()) {
        EXPECT_EQ(std::stod(cell), column.number[row - 1]);
      } else {
        EXPECT_EQ(cell, column.missing(row - 1) ? "" : column.level[column.code[row - 1]]);
      }
    }
    EXPECT_EQ(model.target_value(row), table.columns[3].number[row - 1]);
    EXPECT_EQ(std::stod(model.target_cell(row)), model.target_value(row));
  }
}

TEST(Model, DescribesItsColumns) {
  const Model model = fit(test::mixed(400, 2), {.target = "y"});
  ASSERT_EQ(model.features().size(), 3U);
  EXPECT_EQ(model.features()[1].level.size(), 3U);
  EXPECT_TRUE(model.features()[0].has_missing);
  EXPECT_NEAR(model.features()[0].blank, 0.05, 0.04);
  EXPECT_FALSE(model.features()[2].has_missing);
  EXPECT_EQ(model.target(), "y");
  EXPECT_STREQ(name(model.task()), "regression");
  EXPECT_STREQ(name(model.metric()), "diagonal");
  EXPECT_STREQ(name(model.scale()), "quantile");
  const CsvOptions csv = model.csv_options(true);
  EXPECT_EQ(csv.only, (std::vector<std::string>{"a", "b", "c", "y"}));
  EXPECT_EQ(csv.numeric, (std::vector<std::string>{"a", "c", "y"}));
  EXPECT_EQ(csv.categorical, (std::vector<std::string>{"b"}));
  EXPECT_EQ(model.csv_options(false).only.size(), 3U);
}

TEST(Model, RefusesRowsAndFeaturesItDoesNotHave) {
  const Model model = fit(test::ring(50, 3), {.target = "class"});
  EXPECT_EQ(test::error_of([&] { model.cell(0, 0); }),
            "row: 0 is not one of the model's stored rows 1 to 50");
  EXPECT_EQ(test::error_of([&] { model.table_row(51); }),
            "row: 51 is not one of the model's stored rows 1 to 50");
  EXPECT_EQ(test::error_of([&] { model.cell(1, 2); }),
            "feature: 2 is not one of the model's 2 features, counted from 0");
  EXPECT_EQ(test::error_of([&] { model.target_value(1); }),
            "target_value: the model predicts classes, not a number");
}

}  // namespace
}  // namespace kith
