// kith attend: the bare operator on .npy files.
#include <chrono>

#include <fmt/format.h>

#include "cli/attend_arrays.h"
#include "cli/attend_compute.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/output_files.h"
#include "cli/text.h"

namespace kith::cli {
namespace {

std::string drawn_mask(const AttendOptions& given, AttendArrays& arrays) {
  const auto [batch, head] = given.describe_at;
  constexpr Index kMost = 64;
  return describe(arrays.options().mask, arrays.rows("--query"), arrays.rows("--key"), kMost, batch, head);
}

std::string summary(const AttendSummary& result) {
  std::string text =
      fmt::format("{}: {} [{}], {} similarity, {}{:.3g} s\n", result.files.front().second, result.dtype,
                  fmt::join(result.shape, ", "), result.similarity,
                  result.method == "direct" ? "" : fmt::format("method {}, ", result.method), result.seconds);
  for (std::size_t f = 1; f < result.files.size(); ++f) text += fmt::format("{}\n", result.files[f].second);
  return text;
}

}  // namespace

void run(const AttendArguments& arguments) {
  const AttendOptions& given = arguments.attend;
  const bool to_stdout = given.out == "-";
  if (!to_stdout) check_output("-o", given.out, {});
  AttendArrays arrays(arguments);
  OutputFiles files(given.out);
  AttendSummary result;
  try {
    if (given.describe) {
      const std::string text = drawn_mask(given, arrays);
      print(arguments.json ? mask_json(arrays.rows("--query"), arrays.rows("--key"), text) : text);
      return;
    }
    const auto start = std::chrono::steady_clock::now();
    result.method = method_name(compute(given, arrays, files));
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    throw Error(arrays.in_command_words(error.what()));
  }
  files.write(arrays.files());

  result.similarity = given.similarity.name;
  result.shape = files.shape("out");
  result.dtype = name(files.dtype("out"));
  result.files = files.list();
  if (arguments.json) {
    print(attend_json(result));
  } else if (!arguments.quiet && !to_stdout) {
    print(summary(result));
  }
}

}  // namespace kith::cli
