#include "cli/options.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "cli/verb_parser.h"

namespace kith::cli {
namespace {

constexpr const char* kHelp =
    R"(kith predicts a column of a table from the rows most like the one asked about, and shows those rows.

Usage: kith VERB ARGUMENTS

  kith fit TABLE --target COLUMN     learn from a table (CSV); writes a model file
  kith predict MODEL TABLE           a prediction for each row of a table; --interval 0.9, --why 5
  kith score MODEL TABLE             how far off the predictions are on a table that has the answers
  kith show MODEL                    what was learned: which columns count, and how much
  kith audit MODEL                   likely mistakes in its table: labels, doubles, hubs, idle columns
  kith update MODEL TABLE            adds rows to a model, --forget removes some; without fitting again
  kith compress MODEL --rows N       keeps the rows that can stand for all, and says what it costs
  kith attend -q Q -k K -v V -o OUT  the bare operator, attention on .npy files; --similarity, --causal, ...
  kith bench                         how fast this machine is at it

Everywhere: --json, --threads N, --seed N, --quiet, --help, --version. `-` is standard input or output.
Exit code: 0 done, 1 the work could not be done, 2 the command was wrong.

Example: kith fit penguins.csv --target body_mass_g && kith predict penguins.kith penguins.csv --why 3
)";

constexpr const char* kVersionText = "kith " KITH_VERSION "\n";

template <class Enum>
Enum chosen(const std::string& word, std::initializer_list<Enum> choices) {
  return *std::find_if(choices.begin(), choices.end(), [&](Enum choice) { return word == name(choice); });
}

Command parse_fit(int argc, char** argv) {
  VerbParser parser("fit", "Learns from a table to predict one of its columns, and writes a model file.",
                    "kith fit penguins.csv --target body_mass_g --ignore year");
  FitArguments arguments;
  std::string metric = "diagonal", scale = "quantile", task;
  CLI::App& app = parser.app();
  app.add_option("TABLE", arguments.table, "CSV file with a line of column names; - for standard input")
      ->required()
      ->type_name("");
  app.add_option("--target", arguments.fit.target, "the column to predict")->required()->type_name("COLUMN");
  app.add_option("-o,--out", arguments.model, "model file to write; else the table's name with .kith, here")
      ->type_name("MODEL");
  app.add_option("--validation", arguments.validation,
                 "table that decides when to stop; else a tenth of the rows")
      ->type_name("TABLE");
  app.add_option(
         "--metric", metric,
         "diagonal: a bandwidth for each column; scalar: one for all; linear: and a matrix over all columns; "
         "encoder: "
         "keys by a small network; auto: what predicts rows held out best of diagonal, linear and encoder")
      ->check(one_of({"scalar", "diagonal", "linear", "encoder", "auto"}))
      ->type_name("METRIC");
  app.add_option("--time-limit", arguments.fit.time_limit, "take the best metric found in so many seconds")
      ->check(finite_number(0))
      ->type_name("SECONDS");
  app.add_option("--cv", arguments.folds,
                 "also cross-validate: fit K times on all rows but a Kth and score those, with the spread")
      ->check(whole_number(2, 1000))
      ->type_name("K");
  app.add_option("--scale", scale,
                 "what numbers go through: quantile (ranks), standard (mean 0, deviation 1), none")
      ->check(one_of({"quantile", "standard", "none"}))
      ->type_name("SCALE");
  app.add_option("--task", task, "regression (a number) or classification; else by the target")
      ->check(one_of({"regression", "classification"}))
      ->type_name("TASK");
  app.add_option("--picture", arguments.picture, "also draw what was learned, to a .svg or .png file")
      ->type_name("FILE");
  parser.name_list("--numeric", "columns that must be numbers");
  parser.name_list("--categorical", "columns to take as categories, whatever they hold");
  parser.name_list("--ignore", "columns to leave out");
  parser.table_format(arguments.csv);
  parser.common(arguments);
  if (auto message = parser.parse(argc, argv)) return *message;

  check_not_empty(parser, "--target", arguments.fit.target);
  check_not_empty(parser, "--out", arguments.model);
  check_not_empty(parser, "--validation", arguments.validation);
  check_not_empty(parser, "--picture", arguments.picture);
  check_picture(parser, arguments.picture);
  if (arguments.model == "-") parser.wrong("-o: a model needs a file of its own, not standard output");
  if (!arguments.picture.empty() && arguments.picture == arguments.model) {
    parser.wrong("-o and --picture name the same file");
  }
  if (arguments.table == "-" && arguments.model.empty())
    parser.wrong("-o MODEL is needed when the table comes from -");
  if (arguments.table == "-" && arguments.validation == "-") {
    parser.wrong("TABLE and --validation cannot both come from standard input");
  }

  CsvOptions& csv = arguments.csv;
  csv.numeric = parser.names(0);
  csv.categorical = parser.names(1);
  csv.ignore = parser.names(2);
  const auto contains = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const std::string& column : csv.ignore) {
    if (column == arguments.fit.target) parser.wrong(fmt::format("--ignore: '{}' is the target", column));
    if (contains(csv.numeric, column) || contains(csv.categorical, column)) {
      parser.wrong(fmt::format("--ignore: '{}' is also given a kind", column));
    }
  }
  for (const std::string& column : csv.numeric) {
    if (contains(csv.categorical, column)) {
      parser.wrong(fmt::format("--numeric and --categorical: '{}' cannot be both", column));
    }
  }

  FitOptions& fit = arguments.fit;
  fit.metric =
      chosen(metric, {Metric::scalar, Metric::diagonal, Metric::linear, Metric::encoder, Metric::automatic});
  fit.scale = chosen(scale, {Scale::quantile, Scale::standard, Scale::none});
  if (!task.empty()) {
    fit.task = chosen(task, {Task::regression, Task::classification});
    // The reader then checks the target's cells, and can name the line of one that does not fit.
    const bool number = *fit.task == Task::regression;
    if (contains(number ? csv.categorical : csv.numeric, fit.target)) {
      parser.wrong(fmt::format("--task {} contradicts the kind given to the target '{}'", task, fit.target));
    }
    auto& kind = number ? csv.numeric : csv.categorical;
    if (!contains(kind, fit.target)) kind.push_back(fit.target);
  }
  fit.seed = arguments.seed;
  fit.threads = arguments.threads;
  return arguments;
}

Command parse_predict(int argc, char** argv) {
  VerbParser parser("predict", "Predicts the model's target for each row of a table.",
                    "kith predict penguins.kith new.csv --interval 0.9 --why 3 -o predictions.csv");
  PredictArguments arguments;
  std::string format = "auto";
  double interval = 0;
  CLI::App& app = parser.app();
  app.add_option("MODEL", arguments.model, "a file that kith fit wrote")->required()->type_name("");
  app.add_option("TABLE", arguments.table, "CSV file with the model's columns; - for standard input")
      ->required()
      ->type_name("");
  app.add_option("-o,--out", arguments.out, "file to write; else standard output")->type_name("OUT");
  app.add_option("--interval", interval,
                 "also a range that holds the true number this often, for instance 0.9")
      ->check(share())
      ->type_name("SHARE");
  app.add_option("--why", arguments.why, "also the K stored rows that weigh most in each prediction")
      ->check(whole_number(0, 1000000))
      ->type_name("K");
  app.add_option("--format", format,
                 "csv, text (to be read by people) or auto: text for --why on a terminal, else csv")
      ->check(one_of({"auto", "csv", "text"}))
      ->type_name("FORMAT");
  app.add_option("--picture", arguments.picture,
                 "draw the rows behind one prediction, to a .svg or .png file")
      ->type_name("FILE");
  app.add_option("--row", arguments.row, "the row that --picture draws, from 1 (default 1)")
      ->check(whole_number(1, std::numeric_limits<std::size_t>::max()))
      ->type_name("N");
  parser.table_format(arguments.csv);
  parser.common(arguments);
  if (auto message = parser.parse(argc, argv)) return *message;

  for (const char* option : {"--out", "--picture"}) {
    check_not_empty(parser, option, option == std::string("--out") ? arguments.out : arguments.picture);
  }
  if (app.count("--interval") > 0) {
    arguments.interval = interval;
  }
  check_picture(parser, arguments.picture);
  if (app.count("--row") > 0 && arguments.picture.empty()) parser.wrong("--row: only --picture needs it");
  if (arguments.json && format != "auto") parser.wrong("--json and --format exclude each other");
  if (!arguments.picture.empty() && arguments.picture == arguments.out) {
    parser.wrong("-o and --picture name the same file");
  }
  if (arguments.row == 0) arguments.row = 1;
  arguments.format = format == "csv"    ? PredictArguments::Format::csv
                     : format == "text" ? PredictArguments::Format::text
                                        : PredictArguments::Format::automatic;
  if (arguments.out == "-") arguments.out.clear();
  return arguments;
}

Command parse_score(int argc, char** argv) {
  VerbParser parser("score", "Compares predictions with the true values of a table.",
                    "kith score penguins.kith test.csv --baselines");
  ScoreArguments arguments;
  CLI::App& app = parser.app();
  app.add_option("MODEL", arguments.model, "a file that kith fit wrote")->required()->type_name("");
  app.add_option("TABLE", arguments.table,
                 "CSV file with the model's columns and its target; - for standard input")
      ->required()
      ->type_name("");
  app.add_option("--interval", arguments.interval,
                 "how often the intervals that are checked should hold (default 0.9)")
      ->check(share())
      ->type_name("SHARE");
  app.add_flag("--baselines", arguments.baselines, "put simple predictors beside it");
  parser.table_format(arguments.csv);
  parser.common(arguments);
  if (auto message = parser.parse(argc, argv)) return *message;
  return arguments;
}

Command parse_show(int argc, char** argv) {
  VerbParser parser("show", "Shows what a model has learned.",
                    "kith show penguins.kith --picture penguins.svg");
  ShowArguments arguments;
  CLI::App& app = parser.app();
  app.add_option("MODEL", arguments.model, "a file that kith fit wrote")->required()->type_name("");
  app.add_option("--picture", arguments.picture, "draw it, to a .svg or .png file")->type_name("FILE");
  parser.common(arguments);
  if (auto message = parser.parse(argc, argv)) return *message;
  check_not_empty(parser, "--picture", arguments.picture);
  check_picture(parser, arguments.picture);
  return arguments;
}

Command parse_bench(int argc, char** argv) {
  VerbParser parser("bench", "Measures the kernels on this machine, each beside the machine's own limit.",
                    "kith bench --threads 1");
  BenchArguments arguments;
  parser.app()
      .add_option("--seconds", arguments.seconds, "at least this long for each kernel (default 1)")
      ->check(finite_number(0))
      ->type_name("S");
  parser.common(arguments);
  if (auto message = parser.parse(argc, argv)) return *message;
  if (parser.app().count("--threads") == 0) arguments.threads = 1;
  return arguments;
}

}  // namespace

Command parse(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "--help" || verb == "-h" || verb == "help") return Message{kHelp};
  if (verb == "--version") return Message{kVersionText};
  if (verb == "fit") return parse_fit(argc, argv);
  if (verb == "predict") return parse_predict(argc, argv);
  if (verb == "score") return parse_score(argc, argv);
  if (verb == "show") return parse_show(argc, argv);
  if (verb == "audit") return parse_audit(argc, argv);
  if (verb == "update") return parse_update(argc, argv);
  if (verb == "compress") return parse_compress(argc, argv);
  if (verb == "attend") return parse_attend(argc, argv);
  if (verb == "bench") return parse_bench(argc, argv);
  const std::vector<std::string> verbs = {"fit",    "predict",  "score",  "show", "audit",
                                          "update", "compress", "attend", "bench"};
  const std::string list = fmt::format("{}", fmt::join(verbs, ", "));
  if (verb.empty()) throw UsageError(fmt::format("no verb given: it is one of {} (see `kith --help`)", list));
  throw UsageError(
      fmt::format("'{}' is none of {}{} (see `kith --help`)", verb, list, suggestion(verb, verbs)));
}

}  // namespace kith::cli
