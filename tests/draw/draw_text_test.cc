#include "draw/text.h"

#include <gtest/gtest.h>

namespace kith::draw {
namespace {

const std::string kUnknown = "\xEF\xBF\xBD", kEllipsis = "\xE2\x80\xA6";

TEST(DrawText, CleanKeepsUtf8) {
  EXPECT_EQ(clean("a_b <x> & \"q\" 'r' \\n"), "a_b <x> & \"q\" 'r' \\n");
  EXPECT_EQ(clean("größe · 漢字 😀"), "größe · 漢字 😀");
  EXPECT_EQ(clean(""), "");
}

TEST(DrawText, CleanMakesOneLine) {
  EXPECT_EQ(clean(std::string_view("a\nb\tc\r\0d\x7F", 9)), "a b c  d ");
  EXPECT_EQ(clean("a\xC2\x85"
                  "b\xE2\x80\xA8"
                  "c"),
            "a b c");
}

TEST(DrawText, CleanReplacesWhatIsNotUtf8) {
  EXPECT_EQ(clean("gr\xF6\xDF"
                  "e"),
            "gr" + kUnknown + kUnknown + "e");
  EXPECT_EQ(clean("x\xC3"), "x" + kUnknown);
  EXPECT_EQ(clean("\xC0\xAF"), kUnknown + kUnknown);                     // overlong /
  EXPECT_EQ(clean("\xED\xA0\x80"), kUnknown + kUnknown + kUnknown);      // surrogate
  EXPECT_EQ(clean("\xF4\x90\x80\x80").find('\xF4'), std::string::npos);  // above U+10FFFF
  EXPECT_EQ(clean("\xEF\xBF\xBF"), kUnknown);                            // U+FFFF, which XML refuses
}

TEST(DrawText, FitKeepsBothEndsWithinTheWidth) {
  EXPECT_EQ(fit_text("short", 100, 12), "short");
  const std::string name = "measurement_of_the_temperature_in_the_north_hall_2";
  for (double width : {30.0, 60.0, 120.0, 200.0}) {
    const std::string fitted = fit_text(name, width, 12);
    EXPECT_LE(text_width(fitted, 12), width);
    EXPECT_GT(text_width(fitted, 12), width - 20);
    EXPECT_NE(fitted.find(kEllipsis), std::string::npos);
  }
  const std::string fitted = fit_text(name, 120, 12);
  EXPECT_EQ(fitted.substr(0, 5), "measu");
  EXPECT_EQ(fitted.substr(fitted.size() - 2), "_2");
  EXPECT_EQ(fit_text("much too long", 1, 12), kEllipsis);
}

TEST(DrawText, FitNeverSplitsALetter) {
  const std::string letters = "äöüßÄÖÜéèêëçñ漢字漢字";
  for (double width = 10; width < 200; width += 1) {
    const std::string fitted = fit_text(letters, width, 12);
    EXPECT_EQ(clean(fitted), fitted) << width;
  }
}

TEST(DrawText, WrapBreaksAfterSeparators) {
  const auto lines = wrap_text("flipper_length_mm", 80, 10.5, 3);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0], "flipper_");
  EXPECT_EQ(lines[1], "length_mm");
  EXPECT_EQ(wrap_text("a b c d e f g h i j k l m n o p", 20, 10.5, 3).size(), 3U);
  for (const std::string& line : wrap_text("anunbreakablenamethatislong_x", 40, 10.5, 2)) {
    EXPECT_LE(text_width(line, 10.5), 40);
  }
  EXPECT_EQ(wrap_text("", 40, 10.5, 2), std::vector<std::string>{""});
}

TEST(DrawText, Numbers) {
  EXPECT_EQ(number_text(4123.4), "4123");
  EXPECT_EQ(number_text(20640), "20640");
  EXPECT_EQ(number_text(0.5), "0.5");
  EXPECT_EQ(number_text(-0.012345), "-0.01235");
  EXPECT_EQ(number_text(1.9996), "2");
  EXPECT_EQ(number_text(0), "0");
  EXPECT_EQ(number_text(100), "100");
  EXPECT_EQ(number_text(1.2344e12), "1.234e+12");
  EXPECT_EQ(number_text(3e-7), "3e-07");
  EXPECT_EQ(percent_text(0.1234), "12.3 %");
  EXPECT_EQ(percent_text(1), "100.0 %");
  EXPECT_EQ(percent_text(0), "0.0 %");
  EXPECT_EQ(percent_text(1e-9), "< 0.1 %");
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(20640), "20,640");
  EXPECT_EQ(count_text(1234567), "1,234,567");
}

}  // namespace
}  // namespace kith::draw
