#include <fstream>
#include <map>

#include <fmt/format.h>

#include "result.h"

namespace kith::bench {

void write_plot_data(const std::string& folder, const std::vector<RowResult>& results,
                     const Machine& machine) {
  std::ofstream limits(folder + "/machine.gp"), roofline(folder + "/roofline.dat"),
      ratios(folder + "/ratios.dat");
  limits << fmt::format("peak = {}\nread = {}\n", machine.peak_gflops, machine.read_gb_s);
  roofline << "# operations a byte, GFLOP/s, row\n";
  ratios << "# Kith's speed over the peer's, quartiles, row, peer\n";
  for (const RowResult& result : results) {
    const Row& row = result.row;
    if (!result.wrong.empty()) continue;
    const bool has_roof = row.measure == Measure::share_of_fma || row.measure == Measure::share_of_read;
    if (has_roof && row.kith.instruction_set.empty() && row.kith.threads == 1) {
      roofline << fmt::format("{} {} \"{}\"\n", operations(row.kith) / bytes(row.kith), result.rate * 1e-9,
                              row.name);
    }
    for (const PeerResult& peer : result.peers) {
      if (!peer.absent.empty()) continue;
      ratios << fmt::format("{} {} {} \"{}\" \"{}\"\n", peer.ratio.median, peer.ratio.low, peer.ratio.high,
                            row.name, peer.version);
    }
  }
}

// A block for each contestant, as gnuplot's `index` counts them, with its name as head.
void write_growth_data(const std::string& folder, const std::vector<GrowthPoint>& points) {
  if (points.empty()) return;
  std::map<std::string, std::string> blocks;
  for (const GrowthPoint& p : points)
    blocks[p.who] += fmt::format("{} {} {}\n", p.rows, p.gflops, p.megabytes);
  std::ofstream file(folder + "/growth.dat");
  file << "# N, GFLOP/s, MB beyond the inputs\n";
  for (const auto& [who, lines] : blocks) file << fmt::format("\"{}\"\n{}\n\n", who, lines);
}

}  // namespace kith::bench
