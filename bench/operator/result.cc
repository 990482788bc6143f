#include "result.h"

#include <fstream>
#include <map>

#include <fmt/format.h>

#include "attention/kernels/limits.h"
#include "kith/attention.h"

namespace kith::bench {
namespace {

// What the rates of the targets were set on: one core's FMA peak.
constexpr double kZen5Gflops = 264;

bool at_most(Measure measure) { return measure == Measure::time_ratio || measure == Measure::seconds; }

std::string text(Measure measure, double value) {
  switch (measure) {
    case Measure::share_of_fma:
    case Measure::share_of_read:
      return fmt::format("{:.0f} %", 100 * value);
    case Measure::speed_ratio:
    case Measure::time_ratio:
      return fmt::format("{:.2f} ×", value);
    case Measure::pairs_rate:
      return fmt::format("{:.3g} G/s", value);
    case Measure::seconds:
      return fmt::format("{:.3g} s", value);
  }
  return "";
}

const char* name(Measure measure) {
  switch (measure) {
    case Measure::share_of_fma:
      return "share of the FMA peak";
    case Measure::share_of_read:
      return "share of the read bandwidth";
    case Measure::speed_ratio:
      return "speed ratio";
    case Measure::time_ratio:
      return "time ratio";
    case Measure::pairs_rate:
      return "G pairs/s a core";
    case Measure::seconds:
      return "seconds";
  }
  return "";
}

std::string target_text(const Row& row, double value) {
  if (value <= 0) return "–";
  return (at_most(row.measure) ? "≤ " : "≥ ") + text(row.measure, value);
}

std::string reached(const RowResult& result, const Wanted& goal) {
  if (goal.at_least <= 0 || !result.wrong.empty()) return "";
  const auto meets = [&](double x) {
    return at_most(result.row.measure) ? result.value.median <= x : result.value.median >= x;
  };
  return meets(goal.stretch) ? "stretch" : meets(goal.at_least) ? "yes" : "no";
}

std::string peer_text(const PeerResult& peer, const Machine& machine) {
  const std::string name = peer.version.empty() ? peer.target.adapter : peer.version;
  if (!peer.absent.empty()) return fmt::format("{}: {}", name, peer.absent);
  const double at_least = wanted(peer.target, machine);
  const std::string goal = at_least > 0 ? fmt::format(" (≥ {:g})", at_least) : "";
  return fmt::format("{} {:.2f} ×{}", name, peer.ratio.median, goal);
}

std::string speed_text(const RowResult& result) {
  const Problem& problem = result.row.kith;
  const double runs = result.rate / operations(problem);
  if (result.row.measure == Measure::share_of_read)
    return fmt::format("{:.1f} GB/s", runs * bytes(problem) * 1e-9);
  if (problem.value_depth == 1) return fmt::format("{:.2f} G pairs/s", runs * visible_pairs(problem) * 1e-9);
  return fmt::format("{:.1f} GFLOP/s", result.rate * 1e-9);
}

nlohmann::json to_json(const Spread& spread) {
  return {{"median", spread.median}, {"lower_quartile", spread.low}, {"upper_quartile", spread.high}};
}

}  // namespace

Machine this_machine() {
  Machine machine{"unknown", instruction_set()};
  std::map<std::string, std::string> facts;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": "), end = line.find_first_of("\t:");
    if (colon != std::string::npos) facts.emplace(line.substr(0, end), line.substr(colon + 2));
  }
  if (facts.contains("model name")) machine.cpu = facts["model name"];
  machine.is_intel = facts["vendor_id"] == "GenuineIntel";
  machine.is_zen5 = facts["vendor_id"] == "AuthenticAMD" && facts["cpu family"] == "26";
  machine.peak_gflops = kernels::measure_fma_gflops(1, 0.5);
  machine.read_gb_s = kernels::measure_read_gb_s(1, 0.5);
  return machine;
}

Wanted wanted(const Row& row, const Machine& machine) {
  const Target& target = row.target;
  if (machine.is_zen5) return {target.zen5, target.zen5_stretch};
  if (row.measure == Measure::pairs_rate) {
    const double scale = machine.peak_gflops / kZen5Gflops;
    return {target.zen5 * scale, target.zen5_stretch * scale};
  }
  if (target.other <= 0) return {target.zen5, target.zen5_stretch};
  return {target.other, target.other_stretch};
}

double wanted(const PeerTarget& peer, const Machine& machine) {
  return machine.is_intel && peer.intel > 0 ? peer.intel : peer.at_least;
}

std::string table_head(const Machine& machine) {
  return fmt::format(
      "{}, {}; one thread: {:.0f} GFLOP/s of multiply-adds, {:.1f} GB/s read. Targets are those for {}.\n\n"
      "| what | at least | stretch | measured | quartiles | reached | speed | error | Kith's speed over "
      "peers' |\n"
      "|---|---|---|---|---|---|---|---|---|\n",
      machine.cpu, machine.instructions, machine.peak_gflops, machine.read_gb_s,
      machine.is_zen5 ? "Zen 5" : "other CPUs with AVX-512, rates scaled by the FMA peak");
}

std::string table_line(const RowResult& result, const Machine& machine) {
  const Row& row = result.row;
  const Wanted goal = wanted(row, machine);
  std::string line = fmt::format("| {} | {} | {} |", row.what, target_text(row, goal.at_least),
                                 target_text(row, goal.stretch));
  if (!result.wrong.empty()) return fmt::format("{} {} | | | | | |\n", line, result.wrong);
  std::string peers;
  for (const PeerResult& peer : result.peers) peers += (peers.empty() ? "" : "; ") + peer_text(peer, machine);
  const std::string speed = speed_text(result);
  return fmt::format("{} {}{}{} | {} … {} | {} | {} | {:.0e} | {} |\n", line,
                     result.is_estimate ? "about " : "", text(row.measure, result.value.median),
                     result.is_disturbed ? fmt::format(" (disturbed, {} pairs)", result.pairs) : "",
                     text(row.measure, result.value.low), text(row.measure, result.value.high),
                     reached(result, goal), speed, result.error, peers);
}

nlohmann::json to_json(const Machine& machine) {
  return {{"cpu", machine.cpu},
          {"instructions", machine.instructions},
          {"peak_gflops", machine.peak_gflops},
          {"read_gb_s", machine.read_gb_s}};
}

nlohmann::json to_json(const RowResult& result, const Machine& machine) {
  const Row& row = result.row;
  const Wanted goal = wanted(row, machine);
  nlohmann::json object = {{"name", row.name},
                           {"what", row.what},
                           {"measure", name(row.measure)},
                           {"problem", to_json(row.kith)},
                           {"target", goal.at_least},
                           {"stretch", goal.stretch}};
  if (row.baseline) object["baseline"] = to_json(*row.baseline);
  if (!result.wrong.empty()) {
    object["wrong"] = result.wrong;
    return object;
  }
  object["value"] = to_json(result.value);
  object["reached"] = reached(result, goal);
  object["operations_per_second"] = result.rate;
  object["limit"] = result.limit;
  object["error"] = result.error;
  object["pairs"] = result.pairs;
  object["thrown_out"] = result.thrown_out;
  object["is_disturbed"] = result.is_disturbed;
  object["is_estimate"] = result.is_estimate;
  object["peers"] = nlohmann::json::array();
  for (const PeerResult& peer : result.peers) {
    nlohmann::json entry = {{"adapter", peer.target.adapter},
                            {"version", peer.version},
                            {"at_least", wanted(peer.target, machine)}};
    if (peer.absent.empty()) {
      entry["ratio"] = to_json(peer.ratio);
    } else {
      entry["absent"] = peer.absent;
    }
    object["peers"].push_back(entry);
  }
  return object;
}

}  // namespace kith::bench
