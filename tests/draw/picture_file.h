// Reading pictures back, as far as tests need it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace kith::draw {

/// A folder of its own for each test, removed afterwards.
class PictureTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "kith_draw_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::size_t files() const {
    const auto first = std::filesystem::directory_iterator(folder_);
    return static_cast<std::size_t>(std::distance(first, std::filesystem::directory_iterator()));
  }

  std::filesystem::path folder_;
};

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

struct PngSize {
  std::uint32_t width = 0, height = 0;
};

/// Size in the IHDR chunk; zeros where the bytes are not a whole PNG.
inline PngSize png_size(const std::string& bytes) {
  const std::string_view png = bytes;
  if (png.size() < 45 || png.substr(0, 8) != "\x89PNG\r\n\x1A\n" || png.substr(12, 4) != "IHDR") return {};
  if (png.substr(png.size() - 8, 4) != "IEND") return {};
  const auto number = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8U | static_cast<unsigned char>(png[at + i]);
    return value;
  };
  return {number(16), number(20)};
}

struct Xml {
  std::string error;  ///< "" when well-formed.
  std::vector<std::string>
      text;  ///< character data of each element that holds some, entities resolved, in order.

  bool holds(const std::string& wanted) const {
    for (const std::string& t : text) {
      if (t.find(wanted) != std::string::npos) return true;
    }
    return false;
  }
};

/// A small XML reader: elements nest and close, attributes are quoted, `&` starts one of the five entities.
inline Xml read_xml(const std::string& document) {
  Xml xml;
  std::vector<std::string> open;
  std::string_view rest = document;
  std::string text;
  const auto fail = [&](const std::string& what) {
    xml.error = what + " at byte " + std::to_string(document.size() - rest.size());
    return xml;
  };
  while (!rest.empty()) {
    if (rest[0] == '&') {
      const std::string_view entity = rest.substr(0, rest.find(';') + 1);
      const char c = entity == "&lt;"     ? '<'
                     : entity == "&gt;"   ? '>'
                     : entity == "&amp;"  ? '&'
                     : entity == "&quot;" ? '"'
                     : entity == "&apos;" ? '\''
                                          : '\0';
      if (c == '\0') return fail("a bare &");
      text += c;
      rest.remove_prefix(entity.size());
      continue;
    }
    if (rest[0] != '<') {
      const auto byte = static_cast<unsigned char>(rest[0]);
      if (byte < 0x20 && rest[0] != '\n' && rest[0] != '\t') return fail("a control character");
      text += rest[0];
      rest.remove_prefix(1);
      continue;
    }
    if (text.find_first_not_of(" \t\n") != std::string::npos) xml.text.push_back(text);
    text.clear();
    char quote = 0;
    std::size_t end = 1;
    for (; end < rest.size() && (quote != 0 || rest[end] != '>'); ++end) {
      if (rest[end] == '<') return fail("a bare <");
      if (quote != 0) {
        if (rest[end] == quote) quote = 0;
      } else if (rest[end] == '"' || rest[end] == '\'') {
        quote = rest[end];
      }
    }
    if (end == rest.size()) return fail("an unclosed tag");
    const std::string_view tag = rest.substr(1, end - 1);
    const std::string name(tag.substr(0, tag.find_first_of(" \t\n/", tag[0] == '/' ? 1 : 0)));
    if (tag[0] == '/') {
      if (open.empty() || "/" + open.back() != name) return fail("closing " + name);
      open.pop_back();
    } else if (tag[0] != '?' && tag.back() != '/') {
      open.push_back(name);
    }
    rest.remove_prefix(end + 1);
  }
  if (!open.empty()) return fail("an unclosed " + open.back());
  return xml;
}

}  // namespace kith::draw
