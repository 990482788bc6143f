// The program's JSON, with the keys that README and --help promise. Numbers that are no number are null.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "kith/audit.h"
#include "kith/edit.h"

namespace kith::cli {

struct KernelTime {
  enum class Unit { gflops, gb_s, gpairs_s };
  std::string name;
  std::string shape;
  int threads = 1;
  Unit unit = Unit::gflops;
  double rate = 0;      ///< median, in `unit`.
  double of_limit = 0;  ///< median share of the limit measured beside each run.
};

struct BenchResult {
  std::string cpu;
  std::string instructions;
  double peak_gflops = 0;
  double read_gb_s = 0;
  std::vector<KernelTime> kernels;
};

/// Of `kith attend`: its first output, and every file.
struct AttendSummary {
  std::vector<Index> shape;
  std::string dtype, similarity, method;
  double seconds = 0;
  std::vector<std::pair<std::string, std::string>> files;  ///< what is in it, and its path
};

/// Of `kith update`.
struct UpdateSummary {
  std::string path;
  std::size_t added = 0, forgotten = 0, left_out = 0, first_row = 0;
  Errors before;
  std::vector<std::string> notes;
};

const char* name(KernelTime::Unit unit);

/// Each is one line, ended by a line feed.
/// `checked`: without folds where none was asked for.
std::string fit_json(const std::string& path, const Model& model, const CrossValidation& checked);
/// `row` from 0; its first `why` rows behind it.
std::string prediction_json(const Model& model, const Prediction& prediction, std::size_t row, int why);
std::string score_json(const Model& model, const Score& score, const std::vector<Baseline>& baselines);
std::string show_json(const std::string& path, const Model& model);
/// `with`: whether another table was compared.
std::string audit_json(const std::string& path, const Model& model, const Audit& audit, bool with);
std::string update_json(const UpdateSummary& summary, const Model& model);
std::string compress_json(const std::string& path, const Model& old, const Compressed& result);
std::string attend_json(const AttendSummary& result);
/// A mask drawn as text.
std::string mask_json(Index queries, Index keys, const std::string& text);
std::string bench_json(const BenchResult& result);

}  // namespace kith::cli
