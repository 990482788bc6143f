// kith show: what a model has learned.
#include <fmt/format.h>

#include "cli/json.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/text.h"
#include "kith/draw.h"

namespace kith::cli {
namespace {

const char* metric_text(Metric metric) {
  switch (metric) {
    case Metric::scalar:
      return "scalar (one bandwidth for all columns)";
    case Metric::diagonal:
      return "diagonal (a bandwidth for each column)";
    case Metric::linear:
      return "linear (bandwidths, and a matrix over all columns)";
    case Metric::encoder:
      return "encoder (a small network)";
    case Metric::automatic:
      break;
  }
  return "";
}

const char* scale_text(Scale scale) {
  switch (scale) {
    case Scale::quantile:
      return "quantile (numbers enter by rank, laid out as a bell curve)";
    case Scale::standard:
      return "standard (numbers enter with mean 0 and deviation 1)";
    case Scale::none:
      return "none (numbers enter as they are)";
  }
  return "";
}

std::string text_of(const Model& model, const std::string& path) {
  std::string text =
      fmt::format("{}: predicts {} ({}) from {} columns, by {} stored rows\nmetric  {}\nscale   {}\n", path,
                  one_line(model.target()), target_kind(model), model.features().size(), model.rows(),
                  metric_text(model.metric()), scale_text(model.scale()));
  if (model.task() == Task::classification) {
    std::string classes;
    for (const std::string& name : model.classes()) classes += (classes.empty() ? "" : ", ") + one_line(name);
    text += fmt::format("classes {}\n", classes);
  }
  text += "\nColumns, by how much the error would rise without them:\n" + columns_text(model);
  if (model.metric() == Metric::encoder) {
    text += "  A network makes the keys that rows are compared by; columns have no bandwidths.\n";
  } else {
    text += fmt::format(
        "  A bandwidth is how far apart two rows may be in a column and still count as\n"
        "  alike; the smaller, the more the column matters. Unit: {}.\n"
        "  An ignored column changes nothing.\n",
        model.scale() == Scale::none ? "the column's own" : "standard deviations");
  }
  text += fmt::format("\nEffective neighbors: {}. A typical prediction leans on this many stored rows.\n",
                      number(model.effective_neighbors()));
  text += "\nError, each stored row predicted from all the others:\n";
  text += errors_text(model.task(), {{"kith", model.leave_one_out()}, simplest(model)});
  text += coverage_text(model.task(), model.leave_one_out());
  if (model.stopped_early()) text += "\nThe fit was stopped early, by its user.\n";
  if (!model.notes().empty()) text += "\nNotes\n";
  for (const std::string& note : model.notes()) text += "  " + one_line(note) + '\n';
  return text;
}

}  // namespace

void run(const ShowArguments& arguments) {
  check_output("--picture", arguments.picture, {arguments.model});
  const Model model = Model::load(arguments.model);
  if (!arguments.picture.empty()) draw::model(model, arguments.picture);
  print(arguments.json ? show_json(arguments.model, model) : text_of(model, arguments.model));
}

}  // namespace kith::cli
