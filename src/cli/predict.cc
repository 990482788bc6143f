// kith predict: a prediction for each row of a table, with its interval and the rows behind it.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include <fmt/format.h>

#include "cli/json.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/table_format.h"
#include "cli/text.h"
#include "kith/draw.h"

namespace kith::cli {
namespace {

constexpr int kRowsInPicture = 8;
constexpr std::size_t kDifferencesShown = 3;
constexpr std::size_t kCellWidth = 24;
constexpr std::size_t kBarWidth = 12;

std::string csv_number(double value) { return std::isnan(value) ? "" : fmt::format("{}", value); }

void write_csv(const Model& model, const Prediction& prediction, std::size_t rows, int why, Sink& sink) {
  const bool classes = model.task() == Task::classification;
  std::string line = "prediction";
  if (classes) {
    for (const std::string& name : model.classes()) line += ',' + csv_cell("p_" + name);
  }
  if (!prediction.lower.empty()) line += ",lower,upper";
  for (int k = 1; k <= why; ++k) line += fmt::format(",why_{0}_row,why_{0}_weight,why_{0}_target", k);
  sink.write(line + '\n');

  for (std::size_t row = 0; row < rows; ++row) {
    line = classes ? csv_cell(model.classes().at(prediction.label.at(row)))
                   : csv_number(prediction.value.at(row));
    for (std::size_t c = 0; classes && c < model.classes().size(); ++c) {
      line += ',' + csv_number(prediction.probability(static_cast<Index>(row), static_cast<Index>(c)));
    }
    if (!prediction.lower.empty()) {
      line += ',' + csv_number(prediction.lower.at(row)) + ',' + csv_number(prediction.upper.at(row));
    }
    for (std::size_t k = 0; k < static_cast<std::size_t>(why); ++k) {
      if (k < prediction.why.at(row).size()) {
        const Neighbor& neighbor = prediction.why[row][k];
        line += fmt::format(",{},{},{}", neighbor.row, neighbor.weight, csv_cell(neighbor.target));
      } else {
        line += ",,,";
      }
    }
    sink.write(line + '\n');
  }
}

/// Predictions as a person reads them. Holds what every row needs: where a table row is stored, which input
/// column belongs to a feature.
class TextWriter {
 public:
  TextWriter(const Model& model, const Table& table, const Prediction& prediction,
             const PredictArguments& arguments)
      : model_(model), prediction_(prediction), arguments_(arguments) {
    if (arguments.why == 0) return;
    for (std::size_t row = 1; row <= model.rows(); ++row) stored_[model.table_row(row)] = row;
    for (const Feature& feature : model.features()) input_.push_back(table.find(feature.name));
  }

  std::string intro() const {
    if (arguments_.why == 0) return "";
    return fmt::format(
        "A prediction is an average over stored rows, by weight. 'row' is the row of the\n"
        "fitted table; the last column names where it differs most, as this row's cell →\n"
        "the stored row's.\n\n");
  }

  std::string row(std::size_t row) const {
    return fmt::format("Row {}: {} {}\n", row + 1, one_line(model_.target()), answer(row)) + reasons(row);
  }

 private:
  std::string answer(std::size_t row) const {
    if (model_.task() == Task::regression) {
      std::string text = number(prediction_.value.at(row));
      if (!prediction_.lower.empty()) {
        text += fmt::format(", {:.4g} % interval {} to {}", 100 * *arguments_.interval,
                            number(prediction_.lower.at(row)), number(prediction_.upper.at(row)));
      }
      return text;
    }
    std::vector<std::size_t> order(model_.classes().size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto probability = [&](std::size_t c) {
      return prediction_.probability(static_cast<Index>(row), static_cast<Index>(c));
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](auto a, auto b) { return probability(a) > probability(b); });
    // The likeliest class leads even where two are equally likely.
    const std::size_t label = prediction_.label.at(row);
    std::string text =
        fmt::format("{} ({})", one_line(model_.classes().at(label)), percent(probability(label)));
    std::size_t shown = 0;
    for (const std::size_t c : order) {
      if (c == label) continue;
      if (++shown > 3) break;
      text += fmt::format(", {} ({})", one_line(model_.classes()[c]), percent(probability(c)));
    }
    return text;
  }

  std::string reasons(std::size_t row) const {
    if (arguments_.why == 0) return "";
    AlignedTable table;
    table.add({"weight", "", "row", one_line(model_.target()), "differs most in"});
    int count = 0;
    for (const Neighbor& neighbor : prediction_.why.at(row)) {
      if (++count > arguments_.why) break;
      table.add({percent(neighbor.weight), bar(neighbor.weight, kBarWidth), fmt::format("{}", neighbor.row),
                 shortened(one_line(neighbor.target), kCellWidth), differences(row, neighbor)});
    }
    return table.str(2) + '\n';
  }

  std::string differences(std::size_t row, const Neighbor& neighbor) const {
    std::vector<std::size_t> order(neighbor.apart.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::erase_if(order, [&](std::size_t f) { return !(neighbor.apart[f] > 0); });
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return neighbor.apart[a] > neighbor.apart[b]; });
    if (order.empty()) return "nothing that matters";
    if (order.size() > kDifferencesShown) order.resize(kDifferencesShown);
    std::string text;
    for (const std::size_t f : order) {
      if (!text.empty()) text += ", ";
      text += fmt::format("{} {} → {}", shortened(one_line(model_.features()[f].name), kCellWidth),
                          cell(input_[f] == nullptr ? "" : input_[f]->text(row)),
                          cell(model_.cell(stored_.at(neighbor.row), f)));
    }
    return text;
  }

  static std::string cell(const std::string& text) {
    return text.empty() ? "blank" : shortened(one_line(text), kCellWidth);
  }

  const Model& model_;
  const Prediction& prediction_;
  const PredictArguments& arguments_;
  std::unordered_map<std::size_t, std::size_t> stored_;
  std::vector<const Column*> input_;
};

}  // namespace

void run(PredictArguments arguments) {
  check_output("-o", arguments.out, {arguments.model, arguments.table});
  check_output("--picture", arguments.picture, {arguments.model, arguments.table});
  const Model model = Model::load(arguments.model);
  if (arguments.interval && model.task() == Task::classification) {
    throw UsageError(
        fmt::format("--interval: {} predicts classes, and an interval is for numbers; "
                    "the probabilities are given anyway",
                    arguments.model));
  }
  const Table table = read_csv(arguments.table, with_format(model.csv_options(false), arguments.csv));
  if (!arguments.picture.empty() && arguments.row > table.rows) {
    throw UsageError(
        fmt::format("--row: {} has {} rows, got {}", arguments.table, table.rows, arguments.row));
  }
  PredictOptions options;
  options.interval = arguments.interval;
  options.why = arguments.picture.empty() ? arguments.why : std::max(arguments.why, kRowsInPicture);
  options.threads = arguments.threads;
  const Prediction prediction = predict(model, table, options);
  print_notes(arguments, prediction.notes);

  using Format = PredictArguments::Format;
  const bool on_terminal = arguments.out.empty() && is_terminal(STDOUT_FILENO);
  const bool text = arguments.format == Format::text || (arguments.format == Format::automatic &&
                                                         !arguments.json && arguments.why > 0 && on_terminal);
  Sink sink(arguments.out);
  if (arguments.json) {
    for (std::size_t row = 0; row < table.rows; ++row) {
      sink.write(prediction_json(model, prediction, row, arguments.why));
    }
  } else if (text) {
    const TextWriter writer(model, table, prediction, arguments);
    sink.write(writer.intro());
    for (std::size_t row = 0; row < table.rows; ++row) sink.write(writer.row(row));
  } else {
    write_csv(model, prediction, table.rows, arguments.why, sink);
  }
  if (!arguments.picture.empty()) draw::why(model, prediction, arguments.row, arguments.picture);
  sink.finish();
}

}  // namespace kith::cli
