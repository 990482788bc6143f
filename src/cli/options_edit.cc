// The options of the verbs that look over a model and change it: audit, update, compress.
#include <limits>

#include <fmt/format.h>

#include "cli/options.h"
#include "cli/verb_parser.h"

namespace kith::cli {

Command parse_audit(int argc, char** argv) {
  VerbParser parser(
      "audit",
      "Looks for mistakes in the table a model was fitted on: targets that the rows most like them\n"
      "contradict, rows that are there twice, rows that weigh in too many predictions, columns that\n"
      "do nothing.",
      "kith audit penguins.kith --with test.csv -o findings.csv --picture audit.svg");
  AuditArguments arguments;
  double percent = 1;
  CLI::App& app = parser.app();
  app.add_option("MODEL", arguments.model, "a file that kith fit wrote")->required()->type_name("");
  app.add_option("--with", arguments.with,
                 "another part of the data: which of its rows are stored in the model?")
      ->type_name("TABLE");
  app.add_option("-o,--out", arguments.out, "CSV file to write, one line for each finding")->type_name("OUT");
  app.add_option("--picture", arguments.picture, "draw it, to a .svg or .png file")->type_name("FILE");
  app.add_option("--percent", percent,
                 "list at most this share of the rows as contradicted, and as hubs (default 1)")
      ->check(number_between(0, 100))
      ->type_name("P");
  app.add_option("--nearest", arguments.audit.nearest, "rows named behind each contradicted one (default 5)")
      ->check(whole_number(0, 64))
      ->type_name("K");
  parser.table_format(arguments.csv);
  parser.common(arguments);
  if (auto message = parser.parse(argc, argv)) return *message;
  for (const char* option : {"--with", "--out", "--picture"}) {
    check_not_empty(parser, option,
                    option == std::string("--with")  ? arguments.with
                    : option == std::string("--out") ? arguments.out
                                                     : arguments.picture);
  }
  check_picture(parser, arguments.picture);
  if (!arguments.picture.empty() && arguments.picture == arguments.out) {
    parser.wrong("-o and --picture name the same file");
  }
  if (arguments.out == "-") parser.wrong("-o: the findings need a file of their own, not standard output");
  arguments.audit.share = percent / 100;
  arguments.audit.threads = arguments.threads;
  return arguments;
}

Command parse_update(int argc, char** argv) {
  VerbParser parser(
      "update",
      "Adds a table's rows to a model, or removes rows from it, without fitting again: the metric\n"
      "stays, errors and intervals are taken anew.",
      "kith update penguins.kith new.csv --forget 17,30-35");
  UpdateArguments arguments;
  CLI::App& app = parser.app();
  app.add_option("MODEL", arguments.model, "a file that kith fit wrote")->required()->type_name("");
  app.add_option("TABLE", arguments.table,
                 "rows to add: CSV file with the model's columns and its target; - for "
                 "standard input")
      ->type_name("");
  app.add_option("-o,--out", arguments.out, "model file to write; else MODEL is replaced")->type_name("OUT");
  app.add_option("--forget", arguments.forget,
                 "rows to remove first, by their number in the fitted table, as predict --why names them: "
                 "3,10-20, or @FILE that lists them")
      ->type_name("ROWS");
  app.add_flag("--new-classes", arguments.new_classes,
               "learn classes that no stored row has; else they are refused");
  parser.table_format(arguments.csv);
  parser.common(arguments);
  if (auto message = parser.parse(argc, argv)) return *message;
  check_not_empty(parser, "--out", arguments.out);
  check_not_empty(parser, "--forget", arguments.forget);
  if (arguments.table.empty() && arguments.forget.empty()) {
    parser.wrong("nothing to do: TABLE names rows to add, --forget rows to remove");
  }
  if (arguments.new_classes && arguments.table.empty())
    parser.wrong("--new-classes: only rows that are added need it");
  if (arguments.out == "-") parser.wrong("-o: a model needs a file of its own, not standard output");
  return arguments;
}

Command parse_compress(int argc, char** argv) {
  VerbParser parser(
      "compress",
      "Keeps the rows that can stand for all of a model's (prototypes), and says what accuracy it "
      "costs.",
      "kith compress penguins.kith --rows 50 -o small.kith");
  CompressArguments arguments;
  CLI::App& app = parser.app();
  app.add_option("MODEL", arguments.model, "a file that kith fit wrote")->required()->type_name("");
  app.add_option("--rows", arguments.rows, "rows to keep")
      ->required()
      ->check(whole_number(2, std::numeric_limits<std::uint32_t>::max()))
      ->type_name("N");
  app.add_option("-o,--out", arguments.out,
                 "model file to write; else MODEL's name with -N before its ending, here")
      ->type_name("OUT");
  parser.common(arguments);
  if (auto message = parser.parse(argc, argv)) return *message;
  check_not_empty(parser, "--out", arguments.out);
  if (arguments.out == "-") parser.wrong("-o: a model needs a file of its own, not standard output");
  return arguments;
}

}  // namespace kith::cli
