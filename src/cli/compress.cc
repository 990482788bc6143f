// kith compress: a model of fewer rows, and what it costs.
#include <filesystem>

#include <fmt/format.h>

#include "cli/json.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/text.h"
#include "kith/edit.h"

namespace kith::cli {

void run(CompressArguments arguments) {
  if (arguments.out.empty()) {
    const std::filesystem::path path(arguments.model);
    arguments.out = fmt::format("{}-{}{}", path.stem().string(), arguments.rows, path.extension().string());
  }
  check_output("-o", arguments.out, {arguments.model});
  const Model old = Model::load(arguments.model);
  if (arguments.rows > old.rows()) {
    throw UsageError(
        fmt::format("--rows: {} has {} rows, got {}", arguments.model, old.rows(), arguments.rows));
  }
  const Compressed result = compress(old, {.rows = arguments.rows, .threads = arguments.threads});
  result.model.save(arguments.out);
  if (arguments.json) {
    print(compress_json(arguments.out, old, result));
    return;
  }
  if (arguments.quiet) return;
  std::string text = fmt::format("{} of {} rows kept.\n", result.model.rows(), old.rows());
  text += fmt::format("\nError over all {} rows, each predicted without itself:\n", old.rows());
  text += errors_text(old.task(), {{"from all rows", result.before}, {"from those kept", result.after}});
  if (result.wider != 1) {
    text +=
        fmt::format("\nBandwidths are {} times as wide: fewer rows reach further.\n", number(result.wider));
  }
  std::error_code error;
  const auto size = [&](const std::string& path) {
    const auto bytes = std::filesystem::file_size(path, error);
    return error ? std::string("?") : fmt::format("{:.0f} kB", static_cast<double>(bytes) / 1000);
  };
  text +=
      fmt::format("\nModel: {} ({}, was {})\n", arguments.out, size(arguments.out), size(arguments.model));
  print(text);
}

}  // namespace kith::cli
