// The command line as plain structs, and the verbs that take them.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "cli/attend_options.h"
#include "kith/neighbors.h"
#include "kith/table.h"

namespace kith::cli {

/// The command itself is wrong: exit code 2. Everything else that goes wrong is exit code 1.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// What every verb understands.
struct CommonArguments {
  bool json = false;
  bool quiet = false;
  int threads = 0;
  std::uint64_t seed = 0;
};

struct FitArguments : CommonArguments {
  std::string table, model, validation, picture;
  CsvOptions csv;
  FitOptions fit;
};

struct PredictArguments : CommonArguments {
  enum class Format { automatic, csv, text };
  std::string model, table, out, picture;
  CsvOptions csv;
  std::optional<double> interval;
  int why = 0;
  std::size_t row = 0;  ///< of the picture, from 1.
  Format format = Format::automatic;
};

struct ScoreArguments : CommonArguments {
  std::string model, table;
  CsvOptions csv;
  double interval = 0.9;
  bool baselines = false;
};

struct ShowArguments : CommonArguments {
  std::string model, picture;
};

struct BenchArguments : CommonArguments {
  double seconds = 1;
};

struct AttendArguments : CommonArguments {
  AttendOptions attend;
};

/// --help or --version: text to print, nothing to do.
struct Message {
  std::string text;
};

using Command = std::variant<Message, FitArguments, PredictArguments, ScoreArguments, ShowArguments,
                             AttendArguments, BenchArguments>;

/// UsageError says what is wrong with the command and names the help that explains it.
Command parse(int argc, char** argv);
Command parse_attend(int argc, char** argv);

void run(const Message& message);
void run(FitArguments arguments);
void run(PredictArguments arguments);
void run(const ScoreArguments& arguments);
void run(const ShowArguments& arguments);
void run(const AttendArguments& arguments);
void run(const BenchArguments& arguments);

}  // namespace kith::cli
