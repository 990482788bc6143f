// What was measured, and how it is shown.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "measure.h"
#include "rows.h"

namespace kith::bench {

struct PeerResult {
  PeerTarget target;
  std::string version;  ///< "PyTorch 2.15.0"
  std::string absent;   ///< why there is no ratio: not installed, no such operation, an error
  Spread ratio{};       ///< Kith's speed over the peer's
};

struct RowResult {
  Row row;
  std::string wrong;  ///< why nothing was measured
  Spread value{};     ///< in the measure's own unit
  double rate = 0;    ///< operations a second, median
  double limit = 0;   ///< the limit's median in the same rounds, operations or bytes a second
  double error = 0;
  int pairs = 0, thrown_out = 0;
  bool is_disturbed = false;  ///< fewer undisturbed pairs than wanted
  bool is_estimate = false;   ///< from a hundredth of the queries, since all would take too long
  std::vector<PeerResult> peers;
};

/// Speed and memory beyond the inputs, at one N.
struct GrowthPoint {
  std::string who;
  Index rows = 0;
  double gflops = 0, megabytes = 0;
};

struct Machine {
  std::string cpu, instructions;
  bool is_zen5 = false, is_intel = false;
  double peak_gflops = 0, read_gb_s = 0;  ///< of one thread
};
Machine this_machine();

/// Targets on this machine.
struct Wanted {
  double at_least = 0, stretch = 0;
};
Wanted wanted(const Row& row, const Machine& machine);
double wanted(const PeerTarget& peer, const Machine& machine);

/// Markdown: the head of the table, and one line of it.
std::string table_head(const Machine& machine);
std::string table_line(const RowResult& result, const Machine& machine);

nlohmann::json to_json(const Machine& machine);
nlohmann::json to_json(const RowResult& result, const Machine& machine);

/// Numbers for bench/plots.gp: FOLDER/machine.gp, roofline.dat and ratios.dat; growth.dat.
void write_plot_data(const std::string& folder, const std::vector<RowResult>& results,
                     const Machine& machine);
void write_growth_data(const std::string& folder, const std::vector<GrowthPoint>& points);

}  // namespace kith::bench
