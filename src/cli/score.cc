// kith score: how far off a model is on a table that has the answers.
#include <fmt/format.h>

#include "cli/json.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/table_format.h"
#include "cli/text.h"

namespace kith::cli {

void run(const ScoreArguments& arguments) {
  const Model model = Model::load(arguments.model);
  const Table table = read_csv(arguments.table, with_format(model.csv_options(true), arguments.csv));
  const Score result = score(model, table, arguments.interval, arguments.threads);
  std::vector<Baseline> beside;
  if (arguments.baselines) beside = baselines(model, table, arguments.threads);
  if (arguments.json) {
    print(score_json(model, result, beside));
    return;
  }
  std::string text = fmt::format("{} rows of {} scored", result.rows,
                                 arguments.table == "-" ? "standard input" : arguments.table);
  if (result.rows_left_out > 0)
    text += fmt::format(", {} left out since their target is blank", result.rows_left_out);
  text += fmt::format(".\nTarget: {}, {}.\n\n", one_line(model.target()), target_kind(model));
  beside.insert(beside.begin(), Baseline{"kith", result.errors});
  text += errors_text(model.task(), beside);
  text += coverage_text(model.task(), result.errors);
  print(text);
}

}  // namespace kith::cli
