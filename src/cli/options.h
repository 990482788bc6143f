// The command line as plain structs, and the verbs that take them.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "cli/attend_options.h"
#include "kith/audit.h"
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
  int folds = 0;  ///< of a cross-validation; 0: none.
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

struct AuditArguments : CommonArguments {
  std::string model, with, out, picture;
  CsvOptions csv;
  AuditOptions audit;
};

struct UpdateArguments : CommonArguments {
  std::string model, table, out, forget;
  CsvOptions csv;
  bool new_classes = false;
};

struct CompressArguments : CommonArguments {
  std::string model, out;
  std::size_t rows = 0;
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

using Command =
    std::variant<Message, FitArguments, PredictArguments, ScoreArguments, ShowArguments, AuditArguments,
                 UpdateArguments, CompressArguments, AttendArguments, BenchArguments>;

/// UsageError says what is wrong with the command and names the help that explains it.
Command parse(int argc, char** argv);
Command parse_attend(int argc, char** argv);
Command parse_audit(int argc, char** argv);
Command parse_update(int argc, char** argv);
Command parse_compress(int argc, char** argv);

void run(const Message& message);
void run(FitArguments arguments);
void run(PredictArguments arguments);
void run(const ScoreArguments& arguments);
void run(const ShowArguments& arguments);
void run(AuditArguments arguments);
void run(UpdateArguments arguments);
void run(CompressArguments arguments);
void run(const AttendArguments& arguments);
void run(const BenchArguments& arguments);

}  // namespace kith::cli
