// Where the cases are; the build says so (KITH_ONNX_CASES).
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

namespace kith::test::onnx {

inline const std::filesystem::path& cases_folder() {
  static const std::filesystem::path folder = KITH_ONNX_CASES;
  return folder;
}

/// Tests over the fetched cases. Without a connection there are none, and then the tests are skipped, unless
/// the environment variable KITH_ONNX says `required`.
class FetchedCases : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::filesystem::is_directory(cases_folder())) return;
    const std::string what = cases_folder().native() +
                             ": no such folder; `" KITH_SOURCE_DIR "/tests/onnx/fetch.sh " +
                             cases_folder().native() + "` fetches ONNX's cases into it";
    const char* wanted = std::getenv("KITH_ONNX");
    if (wanted != nullptr && std::string_view(wanted) == "required") FAIL() << what;
    GTEST_SKIP() << what;
  }
};

}  // namespace kith::test::onnx
