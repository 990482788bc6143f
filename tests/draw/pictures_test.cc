// From a fitted model to a picture.
#include <cmath>

#include "kith/draw.h"
#include "picture_file.h"

namespace kith::draw {
namespace {

// y = 2 sin x + x^0.8 on [0, 5] with a deterministic ripple for noise; two columns more on request.
Table table(bool more, bool classes) {
  constexpr std::size_t kRows = 50;
  Table out;
  out.source = "made";
  out.rows = kRows;
  Column x, y, color, z;
  x.name = "x_<1>";
  z.name = "z";
  color.name = "color";
  color.kind = Column::Kind::categorical;
  color.level = {"red", "blue"};
  y.name = "y & z";
  if (classes) {
    y.kind = Column::Kind::categorical;
    y.level = {"low", "high"};
  }
  for (std::size_t i = 0; i < kRows; ++i) {
    const double v = 5 * static_cast<double>(i) / kRows;
    const double target = 2 * std::sin(v) + std::pow(v, 0.8) + 0.3 * std::sin(31 * static_cast<double>(i));
    x.number.push_back(i == 7 ? std::nan("") : v);
    z.number.push_back(std::cos(17 * static_cast<double>(i)));
    color.code.push_back(static_cast<std::uint32_t>(i / 3 % 2));
    if (classes) {
      y.code.push_back(target > 2 ? 1 : 0);
    } else {
      y.number.push_back(target);
    }
  }
  out.columns = {x, y};
  if (more) out.columns.insert(out.columns.end(), {z, color});
  return out;
}

Model fitted(const Table& t) {
  FitOptions options;
  options.target = "y & z";
  return fit(t, options);
}

class Pictures : public PictureTest {
 protected:
  Xml svg() const {
    const Xml out = read_xml(read_bytes(path("p.svg")));
    EXPECT_EQ(out.error, "");
    return out;
  }
};

TEST_F(Pictures, CurveOfARegression) {
  const Model m = fitted(table(false, false));
  curve(m, path("p.svg"), 0.8);
  const Xml picture = svg();
  for (const char* text : {"y & z from x_<1>", "80 % interval", "49 rows", "50 rows (1 blank, not shown)"}) {
    EXPECT_TRUE(picture.holds(text)) << text;
  }
  model(m, path("p.svg"));
  EXPECT_TRUE(svg().holds("90 % interval"));
}

TEST_F(Pictures, CurveOfAClassification) {
  curve(fitted(table(false, true)), path("p.svg"));
  const Xml picture = svg();
  for (const char* text : {"probability of y & z", "low", "high", "accuracy"})
    EXPECT_TRUE(picture.holds(text)) << text;
}

TEST_F(Pictures, ImportanceOfSeveralColumns) {
  const Model m = fitted(table(true, false));
  EXPECT_THROW(curve(m, path("p.svg")), Error);
  EXPECT_EQ(files(), 0U);
  model(m, path("p.svg"));
  const Xml picture = svg();
  for (const char* text : {"Column importance for y & z", "x_<1>", "color"})
    EXPECT_TRUE(picture.holds(text)) << text;
}

TEST_F(Pictures, WhyOfOnePrediction) {
  for (bool classes : {false, true}) {
    const Table t = table(true, classes);
    const Model m = fitted(t);
    PredictOptions options;
    options.why = 5;
    if (!classes) options.interval = 0.9;
    const Prediction prediction = predict(m, t, options);
    why(m, prediction, 10, path("p.svg"));
    const Xml picture = svg();
    EXPECT_TRUE(picture.holds("Row 10: y & z predicted as"));
    EXPECT_TRUE(picture.holds("row " + std::to_string(prediction.why[9][0].row)));
    EXPECT_THROW(why(m, prediction, 0, path("q.svg")), Error);
    EXPECT_THROW(why(m, prediction, 51, path("q.svg")), Error);
    EXPECT_THROW(why(m, predict(m, t), 1, path("q.svg")), Error);
    EXPECT_THROW(why(m, prediction, 10, path("q.jpg")), Error);
    EXPECT_EQ(files(), 1U);
  }
}

}  // namespace
}  // namespace kith::draw
