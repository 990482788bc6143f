// Where the cases are; the build says so (KITH_ONNX_CASES).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "onnx/onnx_case.h"

namespace kith::test::onnx {

inline const std::filesystem::path& cases_folder() {
  static const std::filesystem::path folder = KITH_ONNX_CASES;
  return folder;
}

/// case_names in that folder; where it is missing, kith::Error with the command that fetches it.
inline std::vector<std::string> fetched_case_names(std::string_view prefix) {
  if (!std::filesystem::is_directory(cases_folder()))
    throw Error(cases_folder().native() + ": no such folder; `" KITH_SOURCE_DIR "/tests/onnx/fetch.sh " +
                cases_folder().native() + "` fetches ONNX's cases into it");
  return case_names(cases_folder(), prefix);
}

}  // namespace kith::test::onnx
