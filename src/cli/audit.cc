// kith audit: what a model's own rows tell about the table they came from.
#include <fmt/format.h>

#include "cli/json.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/table_format.h"
#include "cli/text.h"
#include "kith/audit.h"
#include "kith/draw.h"

namespace kith::cli {
namespace {

constexpr std::size_t kDoubtsShown = 10, kOthersShown = 3, kRowsShown = 5;
constexpr std::size_t kCellWidth = 20;

/// Cells that hold one a row, as 3;17;20.
template <class T>
std::string listed(const std::vector<T>& values, const char* between, std::size_t most = 1000000) {
  std::string text;
  for (std::size_t i = 0; i < std::min(values.size(), most); ++i)
    text += fmt::format("{}{}", i ? between : "", values[i]);
  return text + (values.size() > most ? fmt::format("{}...", between) : "");
}

std::vector<std::size_t> rows_of(const std::vector<Neighbor>& neighbors) {
  std::vector<std::size_t> rows;
  for (const Neighbor& n : neighbors) rows.push_back(n.row);
  return rows;
}

/// The `rows` without the one at `i`.
template <class T>
std::vector<T> without(std::vector<T> values, std::size_t i) {
  values.erase(values.begin() + static_cast<std::ptrdiff_t>(i));
  return values;
}

void write_findings(const Audit& audit, Sink& sink) {
  sink.write("kind,row,score,said,neighbors_say,rows\n");
  const auto line = [&](const char* kind, const std::string& row, const std::string& score,
                        const std::string& said, const std::string& neighbors, const std::string& rows) {
    sink.write(
        fmt::format("{},{},{},{},{},{}\n", kind, row, score, csv_cell(said), csv_cell(neighbors), rows));
  };
  for (const Doubt& d : audit.doubts) {
    line("label", fmt::format("{}", d.row), fmt::format("{:.6g}", d.score), d.said, d.neighbors_say,
         listed(rows_of(d.against), ";"));
  }
  for (const Duplicates& d : audit.duplicates) {
    for (std::size_t i = 0; i < d.rows.size(); ++i) {
      line(d.contradict ? "contradiction" : "duplicate", fmt::format("{}", d.rows[i]),
           fmt::format("{}", d.rows.size()), d.target[i], listed(without(d.target, i), ";"),
           listed(without(d.rows, i), ";"));
    }
  }
  for (const SharedRow& s : audit.shared) {
    line(s.contradict ? "shared_contradiction" : "shared", fmt::format("{}", s.row),
         fmt::format("{}", s.stored.size()), s.said, listed(s.target, ";"), listed(s.stored, ";"));
  }
  for (const Hub& h : audit.hubs) {
    line("hub", fmt::format("{}", h.row), fmt::format("{:.6g}", h.received), h.said, h.neighbors_say, "");
  }
  for (const IdleColumn& c : audit.idle) line("column", "", "", c.name, c.reason, "");
}

std::string cell(const std::string& text) { return shortened(one_line(text), kCellWidth); }

std::string doubts_text(const Model& model, const Audit& audit) {
  const bool classes = model.task() == Task::classification;
  std::string text = fmt::format("\n{} row{} whose {} the rows most like them contradict", audit.contradicted,
                                 audit.contradicted == 1 ? "" : "s", one_line(model.target()));
  text += classes ? " (another class is likelier)" : " (more than 3 usual misses off)";
  if (audit.doubts.empty()) return text + ".\n";
  text += audit.doubts.size() > kDoubtsShown ? "; the worst:\n" : ":\n";
  AlignedTable table;
  table.add({"row", classes ? "doubt" : "misses", "says", "neighbors say", "for instance rows"});
  for (std::size_t i = 0; i < std::min(kDoubtsShown, audit.doubts.size()); ++i) {
    const Doubt& d = audit.doubts[i];
    table.add({fmt::format("{}", d.row), classes ? percent(d.score) : number(d.score), cell(d.said),
               cell(d.neighbors_say), listed(rows_of(d.against), ", ", 3)});
  }
  return text + table.str();
}

std::string duplicates_text(const Model& model, const Audit& audit, const std::string& with) {
  std::size_t rows = 0, contradicting = 0;
  for (const Duplicates& d : audit.duplicates) {
    rows += d.rows.size();
    contradicting += d.contradict ? 1 : 0;
  }
  std::string text =
      audit.duplicates.empty()
          ? "\nNo two rows are the same in all columns.\n"
          : fmt::format("\n{} rows have a double, in {} groups; {} groups contradict themselves in {}.\n",
                        rows, audit.duplicates.size(), contradicting, one_line(model.target()));
  for (std::size_t i = 0; i < std::min(kOthersShown, audit.duplicates.size()); ++i) {
    const Duplicates& d = audit.duplicates[i];
    std::vector<std::string> targets;
    for (const std::string& t : d.target) targets.push_back(cell(t));
    text +=
        fmt::format("  rows {}: {}\n", listed(d.rows, ", ", kRowsShown), listed(targets, ", ", kRowsShown));
  }
  if (with.empty()) return text;
  std::size_t other = 0;
  for (const SharedRow& s : audit.shared) other += s.contradict ? 1 : 0;
  text += fmt::format("\n{} of the {} rows of {} are stored in the model, {} of them with another {}.\n",
                      audit.shared.size(), audit.rows_with, one_line(with), other, one_line(model.target()));
  for (std::size_t i = 0; i < std::min(kOthersShown, audit.shared.size()); ++i) {
    text += fmt::format("  its row {} is row {}\n", audit.shared[i].row,
                        listed(audit.shared[i].stored, ", ", kRowsShown));
  }
  return text;
}

std::string hubs_text(const Audit& audit, double hub) {
  double largest = 0;
  for (const double r : audit.received) largest = std::max(largest, r);
  if (audit.hubs.empty()) {
    return fmt::format(
        "\nNo row weighs {} times the average in the others' predictions; the heaviest: {} times.\n",
        number(hub), number(largest));
  }
  std::string text =
      fmt::format("\n{} rows weigh more than {} times the average in the others' predictions:\n",
                  audit.hub_rows, number(hub));
  AlignedTable table;
  table.add({"row", "times", "says", "neighbors say"});
  for (std::size_t i = 0; i < std::min(kOthersShown, audit.hubs.size()); ++i) {
    const Hub& h = audit.hubs[i];
    table.add({fmt::format("{}", h.row), number(h.received), cell(h.said), cell(h.neighbors_say)});
  }
  return text + table.str();
}

std::string columns_that_do_nothing(const Audit& audit) {
  if (audit.idle.empty()) return "\nEvery column counts.\n";
  std::string text = fmt::format("\n{} columns do nothing: ", audit.idle.size());
  std::vector<std::string> names;
  for (const IdleColumn& c : audit.idle) names.push_back(cell(c.name));
  return text + listed(names, ", ", 12) + '\n';
}

}  // namespace

void run(AuditArguments arguments) {
  check_output("-o", arguments.out, {arguments.model, arguments.with});
  check_output("--picture", arguments.picture, {arguments.model, arguments.with});
  const Model model = Model::load(arguments.model);
  Table with;
  if (!arguments.with.empty()) {
    // The target may be absent, so the columns the model does not name are read as well.
    CsvOptions options = with_format(model.csv_options(false), arguments.csv);
    options.only.clear();
    with = read_csv(arguments.with, options);
    arguments.audit.with = &with;
  }
  const Audit result = audit(model, arguments.audit);
  if (!arguments.out.empty()) {
    Sink sink(arguments.out);
    write_findings(result, sink);
    sink.finish();
  }
  if (!arguments.picture.empty()) draw::audit(model, result, arguments.picture);
  if (arguments.json) {
    print(audit_json(arguments.model, model, result, !arguments.with.empty()));
    return;
  }
  if (arguments.quiet) return;
  std::string text =
      fmt::format("{}: {} rows, target {}.\n", arguments.model, model.rows(), one_line(model.target()));
  text += doubts_text(model, result);
  text += duplicates_text(model, result, arguments.with);
  text += hubs_text(result, arguments.audit.hub);
  text += columns_that_do_nothing(result);
  if (!arguments.out.empty()) text += fmt::format("\nFindings: {}\n", arguments.out);
  print(text);
}

}  // namespace kith::cli
