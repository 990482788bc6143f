#include "draw/figures.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "picture_file.h"

namespace kith::draw {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
const std::string kAwkward = "a_b <x> & \"q\" it's";

CurveFigure curve_figure(std::size_t rows) {
  CurveFigure figure;
  figure.column = "x";
  figure.target = "y";
  figure.lines.resize(1);
  for (std::size_t i = 0; i <= 20; ++i) {
    const auto x = static_cast<double>(i);
    figure.grid.push_back(x);
    figure.lines[0].value.push_back(x * x);
    figure.lower.push_back(x * x - 10);
    figure.upper.push_back(x * x + 10);
  }
  for (std::size_t i = 0; i < rows; ++i) {
    const double x = 20 * static_cast<double>(i) / static_cast<double>(rows);
    figure.point_x.push_back(x);
    figure.point_y.push_back(x * x + 5 * std::sin(9 * x));
  }
  return figure;
}

CurveFigure class_figure(std::size_t classes) {
  CurveFigure figure;
  figure.column = "x";
  figure.target = "kind";
  figure.probabilities = true;
  for (int i = 0; i <= 20; ++i) figure.grid.push_back(i);
  for (std::size_t c = 0; c < classes; ++c) {
    figure.lines.push_back({"class" + std::to_string(c), {}, {1.0 * static_cast<double>(c), 2.5}});
    figure.lines[c].value.assign(figure.grid.size(), 1.0 / static_cast<double>(classes));
  }
  return figure;
}

WhyFigure why_figure(std::size_t rows, std::size_t columns, bool regression) {
  WhyFigure figure;
  figure.row = 3;
  figure.target = "kind";
  figure.stored_rows = 1234;
  for (std::size_t c = 0; c < columns; ++c) {
    figure.columns.push_back("column" + std::to_string(c));
    figure.importance.push_back(1.0 / static_cast<double>(c + 2));
  }
  for (std::size_t r = 0; r < rows; ++r) {
    WhyFigure::Row row;
    row.row = 10 + r;
    row.weight = 0.5 / static_cast<double>(r + 1);
    row.target = regression ? std::to_string(100 + r) : r % 2 == 0 ? "cat" : "dog";
    row.cell.assign(columns, "v" + std::to_string(r));
    row.apart.assign(columns, 0.5 * static_cast<double>(r));
    figure.rows.push_back(row);
    if (regression) figure.target_value.push_back(100 + static_cast<double>(r));
  }
  if (regression) {
    figure.value = 101.5;
  } else {
    figure.classes = {"dog", "cat"};
    figure.label = "cat";
    figure.probability = 0.75;
  }
  return figure;
}

class Figures : public PictureTest {
 protected:
  Xml xml(const CurveFigure& f) {
    return drawn([&] { draw_curve(f, path("p.svg"), {}); });
  }
  Xml xml(const ImportanceFigure& f) {
    return drawn([&] { draw_importance(f, path("p.svg"), {}); });
  }
  Xml xml(const WhyFigure& f, const PictureOptions& options = {}) {
    return drawn([&] { draw_why(f, path("p.svg"), options); });
  }

 private:
  template <class Draw>
  Xml drawn(const Draw& draw) {
    draw();
    const Xml out = read_xml(read_bytes(path("p.svg")));
    EXPECT_EQ(out.error, "");
    return out;
  }
};

TEST_F(Figures, EachIsAPngToo) {
  ImportanceFigure bars;
  bars.target = "y";
  bars.bars = {{"x", 1, 0.5}};
  draw_curve(curve_figure(50), path("curve.png"), {});
  draw_importance(bars, path("importance.png"), {.width = 1000, .height = 600});
  draw_why(why_figure(5, 3, true), path("why.png"), {});
  EXPECT_EQ(png_size(read_bytes(path("curve.png"))).width, 800U);
  EXPECT_EQ(png_size(read_bytes(path("curve.png"))).height, 500U);
  EXPECT_EQ(png_size(read_bytes(path("importance.png"))).width, 1000U);
  EXPECT_EQ(png_size(read_bytes(path("why.png"))).height, 500U);
}

TEST_F(Figures, CurveNamesWhatItShows) {
  CurveFigure figure = curve_figure(50);
  figure.column = kAwkward;
  figure.subtitle = "under it";
  const Xml picture = xml(figure);
  EXPECT_TRUE(picture.holds("y from " + kAwkward));
  EXPECT_TRUE(picture.holds("under it"));
  for (const char* text : {"90 % interval", "50 rows", "prediction"})
    EXPECT_TRUE(picture.holds(text)) << text;
}

TEST_F(Figures, CurveThinsManyRowsAndSaysSo) {
  EXPECT_TRUE(xml(curve_figure(2000)).holds("2,000 rows"));
  const std::string at_most = read_bytes(path("p.svg"));
  EXPECT_TRUE(xml(curve_figure(50000)).holds("2,000 of 50,000 rows"));
  EXPECT_LT(read_bytes(path("p.svg")).size(), at_most.size() * 11 / 10);
}

TEST_F(Figures, CurveWithoutIntervalOrWithAnUnboundedOne) {
  CurveFigure figure = curve_figure(10);
  figure.upper.assign(figure.grid.size(), kInfinity);
  figure.lower.assign(figure.grid.size(), -kInfinity);
  EXPECT_FALSE(xml(figure).holds("interval"));
  figure.lower[3] = 1;
  figure.upper[3] = 20;
  EXPECT_TRUE(xml(figure).holds("interval"));
  figure.lower.clear();
  figure.upper.clear();
  EXPECT_FALSE(xml(figure).holds("interval"));
}

TEST_F(Figures, CurveOfAConstantColumnOrTarget) {
  for (double constant : {0.0, 7.0, -1e12, 1e-300}) {
    CurveFigure figure = curve_figure(1);
    figure.grid.assign(figure.grid.size(), constant);
    figure.point_x = {constant};
    figure.point_y = {constant};
    figure.lines[0].value.assign(figure.grid.size(), constant);
    figure.lower = figure.upper = figure.lines[0].value;
    EXPECT_TRUE(xml(figure).holds("1 row")) << constant;
  }
}

TEST_F(Figures, CurveOfClassesGivesEachALineAndTheRestOne) {
  const Xml few = xml(class_figure(3));
  for (const char* text : {"kind from x", "probability of kind", "class0", "class1", "class2"}) {
    EXPECT_TRUE(few.holds(text)) << text;
  }
  EXPECT_FALSE(few.holds("more"));
  EXPECT_TRUE(xml(class_figure(7)).holds("class6"));
  const Xml many = xml(class_figure(20));
  EXPECT_TRUE(many.holds("class5"));
  EXPECT_FALSE(many.holds("class6"));
  EXPECT_TRUE(many.holds("14 more"));
}

TEST_F(Figures, ImportanceSortsAndMarksIgnored) {
  ImportanceFigure figure;
  figure.target = kAwkward;
  figure.bars = {
      {"unused", 0, kInfinity}, {"small_'one'", 0.1, 2.5}, {"large", 0.9, 0.25}, {"tiny", 1e-6, 90}};
  const Xml picture = xml(figure);
  const auto at = [&](const std::string& text) {
    return std::find(picture.text.begin(), picture.text.end(), text) - picture.text.begin();
  };
  EXPECT_TRUE(picture.holds("Column importance for " + kAwkward));
  EXPECT_LT(at("large"), at("small_'one'"));
  EXPECT_LT(at("small_'one'"), at("tiny"));
  EXPECT_LT(at("tiny"), at("unused"));
  EXPECT_LT(at("unused"), at("ignored"));
  for (const char* text : {"90.0 %", "10.0 %", "< 0.1 %", "0.25", "2.5", "bandwidth"}) {
    EXPECT_TRUE(picture.holds(text)) << text;
  }
}

TEST_F(Figures, ImportanceOfNothing) {
  ImportanceFigure figure;
  figure.target = "y";
  EXPECT_TRUE(xml(figure).holds("Column importance for y"));
  figure.bars = {{"a", 0, kInfinity}, {"b", 0, kInfinity}};
  EXPECT_TRUE(xml(figure).holds("ignored"));
  figure.bars = {{"a", 0, 1}, {"b", 0, 1}};
  EXPECT_TRUE(xml(figure).holds("0.0 %"));
}

TEST_F(Figures, ImportanceSumsWhatHasNoRoom) {
  ImportanceFigure figure;
  figure.target = "y";
  for (int i = 0; i < 100; ++i) {
    figure.bars.push_back(
        {"column" + std::to_string(i) + ".", i < 90 ? 1.0 / 90 : 0, i < 90 ? 1 : kInfinity});
  }
  const Xml picture = xml(figure);
  EXPECT_TRUE(picture.holds("column0."));
  EXPECT_FALSE(picture.holds("column25."));
  EXPECT_TRUE(picture.holds(" more"));
  EXPECT_TRUE(picture.holds("10 of them ignored"));
  draw_importance(figure, path("tall.svg"), {.height = 1200});
  const Xml tall = read_xml(read_bytes(path("tall.svg")));
  EXPECT_TRUE(tall.holds("column24."));
  EXPECT_TRUE(tall.holds("75 more"));
}

TEST_F(Figures, WhyShowsRowsWeightsTargetsAndCells) {
  WhyFigure figure = why_figure(4, 3, true);
  figure.interval = {90, 120};
  figure.target = kAwkward;
  figure.columns[1] = "col_<1> & more";
  figure.rows[2].cell[0] = "";
  figure.rows[1].cell[2] = "<&'\">";
  const Xml picture = xml(figure);
  for (const std::string& text :
       {"Row 3: " + kAwkward + " predicted as 101.5", std::string("90 to 120"), std::string("of 1,234 rows"),
        std::string("row 10"), std::string("row 13"), std::string("50.0 %"), std::string("103"),
        std::string("v3"), std::string("blank"), std::string("<&'\">"), std::string("prediction")}) {
    EXPECT_TRUE(picture.holds(text)) << text;
  }
}

TEST_F(Figures, WhyOfAClass) {
  const Xml picture = xml(why_figure(4, 3, false));
  for (const char* text : {"Row 3: kind predicted as cat (75.0 %)", "cat", "dog", "column2"}) {
    EXPECT_TRUE(picture.holds(text)) << text;
  }
}

TEST_F(Figures, WhyLeavesOutColumnsWithoutInfluence) {
  WhyFigure figure = why_figure(4, 3, true);
  figure.importance[1] = 0;
  const Xml picture = xml(figure);
  EXPECT_TRUE(picture.holds("column0"));
  EXPECT_FALSE(picture.holds("column1"));
  EXPECT_TRUE(picture.holds("column2"));
  figure.importance.assign(3, 0);
  EXPECT_FALSE(xml(figure).holds("bandwidths apart"));
}

TEST_F(Figures, WhyGathersColumnsAndRowsWithoutRoom) {
  const Xml picture = xml(why_figure(50, 40, true));
  EXPECT_TRUE(picture.holds("column0"));
  EXPECT_FALSE(picture.holds("column39"));
  EXPECT_TRUE(picture.holds(" more"));
  EXPECT_TRUE(picture.holds("row 29"));
  EXPECT_FALSE(picture.holds("row 30"));
  EXPECT_TRUE(picture.holds("The 20 heaviest"));
  EXPECT_TRUE(xml(why_figure(50, 40, true), {.width = 400, .height = 300}).holds("row 10"));
}

TEST_F(Figures, WhyTakesOddNumbers) {
  WhyFigure figure = why_figure(3, 2, true);
  figure.rows[0].apart = {kInfinity, kNaN};
  figure.rows[1].weight = 0;
  figure.target_value = {kNaN, 1e300, -1e300};
  figure.interval = {-kInfinity, kInfinity};
  EXPECT_TRUE(xml(figure).holds("row 10"));
  figure.target_value.assign(3, 101.5);
  figure.interval.reset();
  EXPECT_TRUE(xml(figure).holds("row 10"));
  figure.rows.clear();
  EXPECT_THROW(draw_why(figure, path("p.svg"), {}), Error);
}

}  // namespace
}  // namespace kith::draw
