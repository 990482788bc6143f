// kith fit: a table in, a model file out.
#include <unistd.h>

#include <filesystem>

#include <fmt/format.h>

#include "cli/json.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/text.h"
#include "kith/draw.h"

namespace kith::cli {
namespace {

constexpr std::size_t kColumnsShown = 12;

void check_model_path(const FitArguments& arguments) {
  check_output("-o", arguments.model, {arguments.table, arguments.validation});
  std::error_code error;
  const auto status = std::filesystem::status(arguments.model, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    throw Error(fmt::format("-o: {} is not a regular file; a model needs one", arguments.model));
  }
}

/// The validation table has the training table's columns, of the same kinds, whatever its own cells look
/// like.
CsvOptions validation_options(const CsvOptions& given, const Table& table) {
  CsvOptions options = given;
  options.numeric.clear();
  options.categorical.clear();
  options.ignore.clear();
  for (const Column& column : table.columns) {
    options.only.push_back(column.name);
    (column.numeric() ? options.numeric : options.categorical).push_back(column.name);
  }
  return options;
}

std::string summary(const FitArguments& arguments, const Table& table, const Model& model,
                    const CrossValidation& checked) {
  const std::size_t left_out = table.rows - model.rows();
  std::string text =
      fmt::format("{}: {} rows{}, {} columns.\nTarget: {}, {}.\n",
                  arguments.table == "-" ? "standard input" : arguments.table, table.rows,
                  left_out == 0 ? "" : fmt::format(" ({} left out, their target is blank)", left_out),
                  table.columns.size(), one_line(model.target()), target_kind(model));
  text += "\nError, each row predicted from all the others:\n";
  text += errors_text(model.task(), {{"kith", model.leave_one_out()}, simplest(model)});
  text += coverage_text(model.task(), model.leave_one_out());
  if (!checked.fold.empty()) {
    text += fmt::format("\nError on rows that a fit has not seen, mean of {} folds and their deviation:\n",
                        checked.fold.size());
    text += errors_text(model.task(), {{"mean", checked.mean}, {"deviation", checked.deviation}});
  }
  text += "\nThe columns, by how much the error would rise without each:\n";
  text += columns_text(model, kColumnsShown);
  text += fmt::format("\nA typical prediction leans on {} rows. Fitted in {:.2f} s.\nModel: {}\n",
                      number(model.effective_neighbors()), model.seconds(), arguments.model);
  if (!arguments.picture.empty()) text += fmt::format("Picture: {}\n", arguments.picture);
  text += fmt::format("\nNext:  kith show {0}\n       kith predict {0} TABLE --why 3{1}\n", arguments.model,
                      model.task() == Task::regression ? " --interval 0.9" : "");
  return text;
}

}  // namespace

void run(FitArguments arguments) {
  if (arguments.model.empty())
    arguments.model = std::filesystem::path(arguments.table).stem().string() + ".kith";
  check_model_path(arguments);
  check_output("--picture", arguments.picture, {arguments.table, arguments.validation});

  const Table table = read_csv(arguments.table, arguments.csv);
  if (arguments.folds > 0 && static_cast<std::size_t>(arguments.folds) > table.rows) {
    throw Error(fmt::format("--cv: {} folds need as many rows; {} has {}", arguments.folds, arguments.table,
                            table.rows));
  }
  Table validation;
  if (!arguments.validation.empty()) {
    validation = read_csv(arguments.validation, validation_options(arguments.csv, table));
    arguments.fit.validation = &validation;
  }

  std::optional<Model> model;
  CrossValidation checked;
  {
    const InterruptGuard interrupt(arguments.quiet);
    ProgressLine line(!arguments.quiet && is_terminal(STDERR_FILENO));
    arguments.fit.progress = [&](const FitProgress& progress) {
      if (!interrupt.requested()) line.update(progress);
      return !interrupt.requested();
    };
    model = fit(table, arguments.fit);
    model->save(arguments.model);
    if (arguments.folds > 0 && !model->stopped_early())
      checked = cross_validate(table, arguments.fit, arguments.folds);
    line.clear();
  }
  print_notes(arguments, model->notes());
  if (model->stopped_early()) {
    fmt::print(stderr, "kith: stopped early; {} holds the best so far\n", one_line(arguments.model));
  }
  if (!arguments.picture.empty()) draw::model(*model, arguments.picture);
  if (arguments.json) {
    print(fit_json(arguments.model, *model, checked));
  } else if (!arguments.quiet) {
    print(summary(arguments, table, *model, checked));
  }
}

}  // namespace kith::cli
