#include "cli/verb_parser.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "array/number.h"
#include "array/threads.h"

namespace kith::cli {
namespace {

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

}  // namespace

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
        if (parse_number(text, value) == Parsed::number && value >= lowest) return std::string();
        return fmt::format("needs a number, {} or more, got {}", lowest, text);
      },
      "");
}

CLI::Validator number_between(double lowest, double highest) {
  return CLI::Validator(
      [=](const std::string& text) {
        double value = 0;
        if (parse_number(text, value) == Parsed::number && value >= lowest && value <= highest) {
          return std::string();
        }
        return fmt::format("needs a number from {} to {}, got {}", lowest, highest, text);
      },
      "");
}

CLI::Validator share() {
  return CLI::Validator(
      [](const std::string& text) {
        double value = 0;
        if (parse_number(text, value) == Parsed::number && value > 0 && value < 1) return std::string();
        return fmt::format("needs a number between 0 and 1 (0.9 for nine rows in ten), got {}", text);
      },
      "");
}

CLI::Validator one_of(std::vector<std::string> words) {
  return CLI::Validator(
      [words = std::move(words)](const std::string& text) {
        if (std::find(words.begin(), words.end(), text) != words.end()) return std::string();
        return fmt::format("needs {}, got {}{}", fmt::join(words, " or "), text, suggestion(text, words));
      },
      "");
}

void check_picture(const VerbParser& parser, const std::string& path) {
  if (path.empty() || path.ends_with(".svg") || path.ends_with(".png")) return;
  parser.wrong(fmt::format("--picture: '{}' must end in .svg or .png", path));
}

void check_not_empty(const VerbParser& parser, const std::string& argument, const std::string& path) {
  if (parser.app().count(argument) > 0 && path.empty()) parser.wrong(argument + ": the name is empty");
}

VerbParser::VerbParser(const std::string& verb, const std::string& description, const std::string& example)
    : verb_(verb), app_(description, "kith " + verb) {
  app_.get_formatter()->column_width(30);
  app_.footer("Example: " + example);
  app_.set_help_flag();  // Groups are listed in order of their first option, and this one's comes last.
}

void VerbParser::common(CommonArguments& into) {
  app_.add_flag("--json", into.json, "print JSON on standard output, and nothing else there")
      ->group("Everywhere");
  app_.add_flag("--quiet", into.quiet,
                "no progress, no notes, no summary: only errors and what was asked for")
      ->group("Everywhere");
  app_.add_option("--threads", into.threads, "number of threads; 0: every core")
      ->check(whole_number(0, kMaxThreads))
      ->type_name("N")
      ->group("Everywhere");
  app_.add_option("--seed", into.seed,
                  "start of the random numbers, where any are drawn: by fit, by --dropout")
      ->check(whole_number(0, std::numeric_limits<std::uint64_t>::max()))
      ->type_name("N")
      ->group("Everywhere");
  app_.set_version_flag("--version", KITH_VERSION, "print the version and exit")->group("Everywhere");
  app_.set_help_flag("-h,--help", "print this help and exit")->group("Everywhere");
}

void VerbParser::table_format(CsvOptions& into) {
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

CLI::Option* VerbParser::name_list(const std::string& option, const std::string& description) {
  auto& list = lists_.emplace_back(std::make_unique<std::vector<std::string>>());
  return app_.add_option(option, *list, description)
      ->type_name("A,B")
      ->allow_extra_args(false)
      ->group("How to read the table");
}
std::vector<std::string> VerbParser::names(std::size_t list) const { return split_names(*lists_.at(list)); }

void VerbParser::wrong(const std::string& message) const {
  throw UsageError(fmt::format("{} (see `kith {} --help`)", message, verb_));
}

std::optional<Message> VerbParser::parse(int argc, char** argv) {
  std::vector<std::string> reversed;
  for (int i = argc - 1; i >= 2; --i) reversed.emplace_back(argv[i]);
  try {
    app_.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    return Message{app_.help()};
  } catch (const CLI::CallForVersion&) {
    return Message{"kith " KITH_VERSION "\n"};
  } catch (const CLI::ParseError& e) {
    complain(e);
  }
  read_table_format();
  return std::nullopt;
}

/// An argument that means nothing explains itself and often what else is wrong, so it goes first.
void VerbParser::complain(const CLI::ParseError& error) const {
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

std::vector<std::string> VerbParser::option_names() const {
  std::vector<std::string> names;
  for (const CLI::Option* option : app_.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

void VerbParser::read_table_format() {
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

}  // namespace kith::cli
