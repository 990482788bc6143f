#include "draw/gnuplot.h"

#include <cstdlib>
#include <functional>

#include "picture_file.h"

namespace kith::draw {
namespace {

const std::string kScript = "set xrange [0:1]\nset yrange [0:1]\nplot x notitle\n";

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class Gnuplot : public PictureTest {
 protected:
  std::string error(const std::string& script, const std::string& name,
                    const PictureOptions& options = {}) const {
    return message_of([&] { write_picture(script, "t", path(name), options); });
  }
};

TEST_F(Gnuplot, WritesAPngOfTheSizeAsked) {
  write_picture(kScript, "t", path("a.png"), {.width = 640, .height = 480});
  const PngSize size = png_size(read_bytes(path("a.png")));
  EXPECT_EQ(size.width, 640U);
  EXPECT_EQ(size.height, 480U);
  EXPECT_EQ(files(), 1U);
}

TEST_F(Gnuplot, WritesAWellFormedSvg) {
  write_picture(kScript, "a < b & \"c\" 'd'", path("a.svg"), {.width = 640, .height = 480});
  const std::string svg = read_bytes(path("a.svg"));
  const Xml xml = read_xml(svg);
  EXPECT_EQ(xml.error, "");
  EXPECT_TRUE(xml.holds("a < b & \"c\" 'd'"));
  EXPECT_FALSE(xml.holds("Gnuplot"));
  EXPECT_FALSE(xml.holds("gnuplot_plot"));
  EXPECT_NE(svg.find("width=\"640\" height=\"480\""), std::string::npos);
  EXPECT_NE(svg.find("sans-serif"), std::string::npos);
}

TEST_F(Gnuplot, TextIsNeverExpanded) {
  const std::vector<std::string> texts = {
      "a_b^c{/Bold x}", "`echo gone`",  "@macro", "100 %d %s", "it's ''quoted''", "back\\slash \\n",
      "<b>&amp;</b>",   "x' ; exit; '", "#$EOD",  "größe 漢",  "\"double\"",      "\"12@34`5\\678"};
  std::string script = "set xrange [0:1]\nset yrange [0:1]\n";
  for (std::size_t i = 0; i < texts.size(); ++i) {
    script +=
        "set label " + quote(texts[i]) + " at 0.1," + std::to_string(0.05 * static_cast<double>(i)) + "\n";
  }
  write_picture(script + "set title " + quote("two\nlines") + "\nplot NaN notitle\n", "t", path("a.svg"), {});
  const Xml xml = read_xml(read_bytes(path("a.svg")));
  EXPECT_EQ(xml.error, "");
  for (const std::string& text : texts) EXPECT_TRUE(xml.holds(text)) << text;
  EXPECT_TRUE(xml.holds("two lines"));
}

TEST_F(Gnuplot, SameScriptSameBytes) {
  for (const std::string name : {"svg", "png"}) {
    write_picture(kScript, "t", path("a." + name), {});
    write_picture(kScript, "t", path("b." + name), {});
    EXPECT_EQ(read_bytes(path("a." + name)), read_bytes(path("b." + name)));
  }
}

TEST_F(Gnuplot, TakesScriptsBeyondAPipesSize) {
  std::string script = "$data << EOD\n";
  for (int i = 0; i < 100000; ++i) script += std::to_string(i % 1000) + " " + std::to_string(i % 777) + "\n";
  write_picture(script + "EOD\nplot $data with dots notitle\n", "t", path("a.svg"), {});
  EXPECT_EQ(read_xml(read_bytes(path("a.svg"))).error, "");
}

TEST_F(Gnuplot, RefusesOtherEndings) {
  for (const std::string name : {"a.pdf", "a", "a.PNG.gz", ".svg", "svg"}) {
    const std::string message = error(kScript, name);
    EXPECT_NE(message.find(name), std::string::npos) << message;
    EXPECT_NE(message.find(".svg or .png"), std::string::npos) << message;
  }
  EXPECT_EQ(files(), 0U);
}

TEST_F(Gnuplot, RefusesSizesOutOfRange) {
  EXPECT_NE(error(kScript, "a.png", {.width = 0}).find("width of 0 pixels"), std::string::npos);
  EXPECT_NE(error(kScript, "a.png", {.width = -5}).find("width of -5 pixels"), std::string::npos);
  EXPECT_NE(error(kScript, "a.png", {.height = 1000000}).find("height of 1000000 pixels"), std::string::npos);
  EXPECT_EQ(files(), 0U);
}

TEST_F(Gnuplot, ItsMessageIsTheError) {
  const std::string message = error("plot nonsense(x)\n", "a.svg");
  EXPECT_EQ(message.rfind("gnuplot: line ", 0), 0U) << message;
  EXPECT_NE(message.find("undefined function: nonsense"), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_EQ(files(), 0U);
}

TEST_F(Gnuplot, AFailureLeavesTheOldFile) {
  std::ofstream(path("a.svg")) << "old";
  EXPECT_NE(error("plot nonsense(x)\n", "a.svg"), "no error");
  EXPECT_EQ(read_bytes(path("a.svg")), "old");
  EXPECT_EQ(files(), 1U);
}

TEST_F(Gnuplot, APlaceThatCannotBeWrittenGetsNothing) {
  const std::string message = error(kScript, "absent/a.svg");
  EXPECT_NE(message.find("absent"), std::string::npos) << message;
  EXPECT_EQ(files(), 0U);
  std::filesystem::create_directory(path("folder.png"));
  EXPECT_NE(error(kScript, "folder.png"), "no error");
  EXPECT_EQ(files(), 1U);
}

TEST_F(Gnuplot, SaysWhenItIsNotInstalled) {
  const std::string before = std::getenv("PATH");
  ASSERT_EQ(setenv("PATH", folder_.c_str(), 1), 0);
  const std::string message = error(kScript, "a.svg");
  setenv("PATH", before.c_str(), 1);
  EXPECT_EQ(message, "gnuplot: not found on PATH; install the package gnuplot-nox");
  EXPECT_EQ(files(), 0U);
}

TEST_F(Gnuplot, OneThatDiesIsReported) {
  const std::string before = std::getenv("PATH");
  std::ofstream(path("gnuplot")) << "#!/bin/sh\nkill -9 $$\n";
  std::filesystem::permissions(path("gnuplot"), std::filesystem::perms::owner_all);
  ASSERT_EQ(setenv("PATH", folder_.c_str(), 1), 0);
  const std::string killed = error(kScript, "a.svg");
  std::ofstream(path("gnuplot")) << "#!/bin/sh\nexit 0\n";
  const std::string silent = error(kScript, "a.svg");
  setenv("PATH", before.c_str(), 1);
  EXPECT_EQ(killed, "gnuplot: ended by signal 9");
  EXPECT_EQ(silent, "gnuplot: drew nothing: it gave no reason");
  EXPECT_EQ(files(), 1U);
}

}  // namespace
}  // namespace kith::draw
