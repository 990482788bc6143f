// The model reader on arbitrary bytes: it either throws kith::Error or gives a model that predicts.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "neighbors/model_file.h"

namespace {

/// One file, written anew for each input.
const std::string& path() {
  static const std::string name = [] {
    std::string pattern = "/tmp/kith_fuzz_model.XXXXXX";
    const int file = mkstemp(pattern.data());
    if (file < 0) std::abort();
    close(file);
    return pattern;
  }();
  static const int removed_at_exit = std::atexit([] { std::remove(path().c_str()); });
  static_cast<void>(removed_at_exit);
  return name;
}

/// A table of two rows with the model's columns: a number or blank, a known category or an unseen one.
kith::Table table_for(const kith::Model& model) {
  kith::Table table;
  table.rows = 2;
  for (const kith::Feature& feature : model.features()) {
    kith::Column column;
    column.name = feature.name;
    column.kind = feature.kind;
    if (column.numeric()) {
      column.number = {0.5, std::numeric_limits<double>::quiet_NaN()};
    } else {
      column.level = feature.level;
      column.level.push_back("a category no model has");
      column.code = {0, static_cast<std::uint32_t>(feature.level.size())};
    }
    table.columns.push_back(column);
  }
  return table;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::FILE* file = std::fopen(path().c_str(), "wb");
  if (!file || std::fwrite(data, 1, size, file) != size || std::fclose(file) != 0) std::abort();
  try {
    // Unchecked, so that the fuzzer gets past the checksum.
    const kith::Model model = kith::neighbors::model_from(kith::SafetensorsFile::open(path(), false), path());
    for (std::size_t f = 0; f < model.features().size(); ++f) static_cast<void>(model.cell(model.rows(), f));
    static_cast<void>(model.target_cell(1));
    kith::PredictOptions options{.why = 2, .threads = 1};
    if (model.task() == kith::Task::regression) options.interval = 0.9;
    const kith::Table table = table_for(model);
    kith::predict(model, table, options);
    kith::baselines(model, [&] {
      kith::Table scored = table;
      kith::Column target;
      target.name = model.target();
      target.number = {1, 2};
      scored.columns.push_back(target);
      return scored;
    }());
  } catch (const kith::Error&) {
    return 0;
  }
  return 0;
}
