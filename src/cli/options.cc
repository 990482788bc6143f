#include "cli/options.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <memory>

#include <fmt/format.h>

#include "array/threads.h"

namespace kith::cli {
namespace {

constexpr const char* kHelp =
    R"(kith predicts a column of a table from the rows most like the one asked about, and shows those rows.

Usage: kith VERB ARGUMENTS

  kith fit TABLE --target COLUMN     learn from a table (CSV); writes a model file
  kith predict MODEL TABLE           a prediction for each row of a table; --interval 0.9, --why 5
  kith score MODEL TABLE             how far off the predictions are on a table that has the answers
  kith show MODEL                    what was learned: which columns count, and how much
  kith bench                         how fast this machine is at it

Everywhere: --json, --threads N, --seed N, --quiet, --help, --version. `-` is standard input or output.
Exit code: 0 done, 1 the work could not be done, 2 the command was wrong.

Example: kith fit penguins.csv --target body_mass_g && kith predict penguins.kith penguins.csv --why 3
)";

constexpr const char* kVersionText = "kith " KITH_VERSION "\n";

/// Letters to add, drop, replace or swap with the next one.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<std::size_t>> distance(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      std::size_t& best = distance[i][j];
      best = i == 0 ? j : distance[i - 1][j] + 1;
      if (j > 0) best = std::min(best, distance[i][j - 1] + 1);
      if (i > 0 && j > 0) best = std::min(best, distance[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        best = std::min(best, distance[i - 2][j - 2] + 1);
      }
    }
  }
  return distance[a.size()][b.size()];
}

/// "; did you mean X?", or nothing when no candidate is near.
std::string suggestion(const std::string& word, const std::vector<std::string>& candidates) {
  const auto nearest = std::min_element(
      candidates.begin(), candidates.end(),
      [&](const auto& a, const auto& b) { return edit_distance(word, a) < edit_distance(word, b); });
  if (nearest == candidates.end() ||
      edit_distance(word, *nearest) > std::max<std::size_t>(1, word.size() / 3)) {
    return "";
  }
  return "; did you mean " + *nearest + "?";
}

/// a,"b,c",d: commas inside quotes belong to the name.
std::vector<std::string> split_names(const std::vector<std::string>& lists) {
  std::vector<std::string> names;
  for (const std::string& list : lists) {
    std::string name;
    bool quoted = false;
    for (const char c : list) {
      if (c == '"') {
        quoted = !quoted;
      } else if (c == ',' && !quoted) {
        names.push_back(std::exchange(name, {}));
      } else {
        name += c;
      }
    }
    names.push_back(name);
  }
  std::erase(names, "");
  return names;
}

/// Option checks with one voice: "--why: needs a whole number from 0 to 9, got x".
CLI::Validator whole_number(std::uint64_t lowest, std::uint64_t highest) {
  return CLI::Validator(
      [=](const std::string& text) {
        std::uint64_t value = 0;
        const char* end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, value);
        if (error == std::errc() && stop == end && value >= lowest && value <= highest) return std::string();
        if (highest == std::numeric_limits<std::uint64_t>::max()) {
          return fmt::format("needs a whole number, {} or more, got {}", lowest, text);
        }
        return fmt::format("needs a whole number from {} to {}, got {}", lowest, highest, text);
      },
      "");
}

CLI::Validator finite_number(double lowest) {
  return CLI::Validator(
      [=](const std::string& text) {
        double value = 0;
        const char* end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, value);
        if (error == std::errc() && stop == end && std::isfinite(value) && value >= lowest)
          return std::string();
        return fmt::format("needs a number, {} or more, got {}", lowest, text);
      },
      "");
}

CLI::Validator share() {
  return CLI::Validator(
      [](const std::string& text) {
        double value = 0;
        const char* end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, value);
        if (error == std::errc() && stop == end && value > 0 && value < 1) return std::string();
        return fmt::format("needs a number between 0 and 1 (0.9 for nine rows in ten), got {}", text);
      },
      "");
}

CLI::Validator one_of(std::vector<std::string> words) {
  return CLI::Validator(
      [=](const std::string& text) {
        if (std::find(words.begin(), words.end(), text) != words.end()) return std::string();
        return fmt::format("needs {}, got {}{}", fmt::join(words, " or "), text, suggestion(text, words));
      },
      "");
}

/// One verb's options, read into the verb's struct, with the checks that need more than one of them.
class VerbParser {
 public:
  VerbParser(const std::string& verb, const std::string& description, const std::string& example)
      : verb_(verb), app_(description, "kith " + verb) {
    app_.get_formatter()->column_width(30);
    app_.footer("Example: " + example);
    app_.set_help_flag();  // Groups are listed in order of their first option, and this one's comes last.
  }

  CLI::App& app() { return app_; }
  const CLI::App& app() const { return app_; }

  void common(CommonArguments& into) {
    app_.add_flag("--json", into.json, "print JSON on standard output, and nothing else there")
        ->group("Everywhere");
    app_.add_flag("--quiet", into.quiet,
                  "no progress, no notes, no summary: only errors and what was asked for")
        ->group("Everywhere");
    app_.add_option("--threads", into.threads, "number of threads; 0: every core")
        ->check(whole_number(0, kMaxThreads))
        ->type_name("N")
        ->group("Everywhere");
    app_.add_option("--seed", into.seed, "start of the random numbers, where any are drawn (fit draws)")
        ->check(whole_number(0, std::numeric_limits<std::uint64_t>::max()))
        ->type_name("N")
        ->group("Everywhere");
    app_.set_version_flag("--version", KITH_VERSION, "print the version and exit")->group("Everywhere");
    app_.set_help_flag("-h,--help", "print this help and exit")->group("Everywhere");
  }

  void table_format(CsvOptions& into) {
    const char* group = "How to read the table";
    app_.add_option("--delimiter", delimiter_,
                    "what separates cells: one character, or tab; found if not given")
        ->type_name("C")
        ->group(group);
    app_.add_flag("--no-header", no_header_, "the first line is data; columns are called c1, c2, ...")
        ->group(group);
    app_.add_option("--decimal", decimal_, "decimal sign of numbers: comma or point")
        ->check(one_of({"comma", "point"}))
        ->type_name("SIGN")
        ->group(group);
    app_.add_option("--missing", into.missing,
                    "also counts as missing, like blank, NA, N/A, NaN, null, ?; repeatable")
        ->type_name("TEXT")
        ->allow_extra_args(false)
        ->group(group);
    csv_ = &into;
  }

  CLI::Option* name_list(const std::string& option, const std::string& description) {
    auto& list = lists_.emplace_back(std::make_unique<std::vector<std::string>>());
    return app_.add_option(option, *list, description)
        ->type_name("A,B")
        ->allow_extra_args(false)
        ->group("How to read the table");
  }
  std::vector<std::string> names(std::size_t list) const { return split_names(*lists_.at(list)); }

  [[noreturn]] void wrong(const std::string& message) const {
    throw UsageError(fmt::format("{} (see `kith {} --help`)", message, verb_));
  }

  /// The message of --help or --version, or nothing when the verb is to be run.
  std::optional<Message> parse(int argc, char** argv) {
    std::vector<std::string> reversed;
    for (int i = argc - 1; i >= 2; --i) reversed.emplace_back(argv[i]);
    try {
      app_.parse(std::move(reversed));
    } catch (const CLI::CallForHelp&) {
      return Message{app_.help()};
    } catch (const CLI::CallForVersion&) {
      return Message{kVersionText};
    } catch (const CLI::ParseError& e) {
      complain(e);
    }
    read_table_format();
    return std::nullopt;
  }

 private:
  /// An argument that means nothing explains itself and often what else is wrong, so it goes first.
  [[noreturn]] void complain(const CLI::ParseError& error) const {
    for (const std::string& argument : app_.remaining()) {
      const std::string option = argument.substr(0, argument.find('='));
      if (option.size() > 1 && option[0] == '-') {
        wrong(fmt::format("{}: no such option{}", option, suggestion(option, option_names())));
      }
      wrong(fmt::format("'{}' is one argument too many", argument));
    }
    if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
      for (const CLI::Option* option : app_.get_options()) {
        if (!std::string_view(error.what()).starts_with(option->get_name() + ":")) continue;
        wrong(fmt::format("{}: {}", option->get_name(),
                          option->count() > 1 ? "given more than once" : "needs a value"));
      }
    }
    wrong(error.what());
  }

  std::vector<std::string> option_names() const {
    std::vector<std::string> names;
    for (const CLI::Option* option : app_.get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
    return names;
  }

  void read_table_format() {
    if (csv_ == nullptr) return;
    csv_->header = !no_header_;
    csv_->decimal_comma = decimal_ == "comma";
    if (app_.count("--delimiter") > 0) {
      const bool tab = delimiter_ == "tab" || delimiter_ == "\\t";
      if (!tab && (delimiter_.size() != 1 ||
                   std::string_view("\"\r\n").find(delimiter_[0]) != std::string_view::npos)) {
        wrong(fmt::format("--delimiter: needs one character (not a quote or a line break) or tab, got '{}'",
                          delimiter_));
      }
      csv_->delimiter = tab ? '\t' : delimiter_[0];
      if (csv_->decimal_comma && csv_->delimiter == ',') {
        wrong("--delimiter and --decimal: a comma cannot be both");
      }
    }
  }

  std::string verb_;
  CLI::App app_;
  CsvOptions* csv_ = nullptr;
  std::string delimiter_, decimal_ = "point";
  bool no_header_ = false;
  std::vector<std::unique_ptr<std::vector<std::string>>> lists_;
};

void check_picture(const VerbParser& parser, const std::string& path) {
  if (path.empty() || path.ends_with(".svg") || path.ends_with(".png")) return;
  parser.wrong(fmt::format("--picture: '{}' must end in .svg or .png", path));
}

void check_not_empty(const VerbParser& parser, const std::string& argument, const std::string& path) {
  if (parser.app().count(argument) > 0 && path.empty()) parser.wrong(argument + ": the name is empty");
}

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
  app.add_option("--metric", metric, "diagonal: a bandwidth for each column; scalar: one for all")
      ->check(one_of({"scalar", "diagonal"}))
      ->type_name("METRIC");
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
  fit.metric = chosen(metric, {Metric::scalar, Metric::diagonal});
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
  if (verb == "bench") return parse_bench(argc, argv);
  if (verb.empty()) throw UsageError("no verb given: fit, predict, score, show or bench (see `kith --help`)");
  const std::vector<std::string> verbs = {"fit", "predict", "score", "show", "bench"};
  throw UsageError(fmt::format("'{}' is none of fit, predict, score, show, bench{} (see `kith --help`)", verb,
                               suggestion(verb, verbs)));
}

}  // namespace kith::cli
