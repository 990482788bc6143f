#include "runner.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "attention/kernels/limits.h"
#include "kith/attention.h"

namespace kith::bench {
namespace {

namespace fs = std::filesystem;

// Operations or bytes a second that the machine allows.
double limit(const Row& row, const Effort& effort) {
  const Problem& problem = row.kith;
  if (row.measure == Measure::share_of_read)
    return 1e9 * kernels::measure_read_gb_s(problem.threads, effort.limit_slice);
  if (!problem.instruction_set.empty()) force_instruction_set(problem.instruction_set.c_str());
  const double gflops = kernels::measure_fma_gflops(problem.threads, effort.limit_slice);
  if (!problem.instruction_set.empty()) force_instruction_set("");
  return 1e9 * gflops * (problem.dtype == Dtype::float64 ? 0.5 : 1);
}

bool has_limit(Measure measure) {
  return measure == Measure::share_of_fma || measure == Measure::share_of_read;
}

Spread scaled(Spread spread, double factor) {
  return {spread.median * factor, spread.low * factor, spread.high * factor};
}

// Contestant 0 is Kith; 1 is the limit or the baseline, where there is one.
Spread value(const Row& row, const Rounds& rounds) {
  switch (row.measure) {
    case Measure::share_of_fma:
    case Measure::speed_ratio:
      return rounds.ratio(0, 1);
    case Measure::share_of_read:
      return scaled(rounds.ratio(0, 1), bytes(row.kith) / operations(row.kith));
    case Measure::time_ratio:
      return scaled(rounds.ratio(1, 0), operations(row.kith) / operations(*row.baseline));
    case Measure::pairs_rate:
      return scaled(rounds.rates(0),
                    1e-9 * visible_pairs(row.kith) / operations(row.kith) / row.kith.threads);
    case Measure::seconds: {
      const Spread rate = rounds.rates(0);
      const double work = operations(row.kith);
      return {work / rate.median, work / rate.high, work / rate.low};
    }
  }
  return {};
}

Contestant contestant(Own& own, const Problem& problem, const Effort& effort) {
  return {"kith", [&own, work = operations(problem), &effort] {
            return work / seconds([&] { own.run(); }, effort.slice);
          }};
}

Contestant contestant(Peer& peer, const std::string& name, const Problem& problem, const Effort& effort) {
  return {name, [&peer, work = operations(problem), &effort] { return work / peer.seconds(effort.slice); }};
}

}  // namespace

Runner::Runner(const Effort& effort, bool with_peers) : effort_(effort), with_peers_(with_peers) {
  std::string name = (fs::temp_directory_path() / "kith-bench-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw Error(fmt::format("{}: cannot be made", name));
  folder_ = name;
}

Runner::~Runner() {
  peers_.clear();
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

Runner::Prepared Runner::prepare_peer(const std::string& adapter, const Problem& problem, const Own& own) {
  Prepared prepared;
  const std::pair key(adapter, problem.threads);
  try {
    std::unique_ptr<Peer>& peer = peers_[key];
    if (!peer) peer = open_peer(adapter, problem.threads, folder_);
    prepared.bytes = peer->prepare(problem, own);
    prepared.version = peer->version();
    prepared.peer = peer.get();
  } catch (const std::exception& error) {
    prepared.absent = error.what();
    if (peers_[key]) prepared.version = peers_[key]->version();
    peers_.erase(key);
  }
  return prepared;
}

// What would take minutes is measured with a tenth of the queries, or a hundredth, where they are many enough
// to be most of the work. What a call costs whatever its queries (a sort, a tree) is told apart by two sizes.
Problem Runner::affordable(const Row& row) const {
  constexpr Index kLeast = 10000, kMost = 3;  // a row has room for some calls
  const bool is_absolute = row.measure == Measure::seconds || row.measure == Measure::pairs_rate;
  if (!is_absolute || row.kith.queries < kLeast) return row.kith;
  const auto part_of = [&](Index share) {
    Problem part = row.kith;
    part.queries /= share;
    return part;
  };
  const auto seconds_of = [&](const Problem& problem) {
    const auto own = prepare(problem);
    return seconds([&] { own->run(); }, effort_.slice);
  };
  const Problem hundredth = part_of(100), tenth = part_of(10);
  const double least = seconds_of(hundredth);
  if (10 * least > effort_.row_seconds) return hundredth;
  const double more = seconds_of(tenth), a_hundredth = (more - least) / 9;
  return kMost * (more + 90 * a_hundredth) < effort_.row_seconds ? row.kith : tenth;
}

RowResult Runner::run(const Row& row) {
  RowResult result;
  result.row = row;
  try {
    const Problem measured = affordable(row);
    result.is_estimate = measured.queries != row.kith.queries;
    const auto own = prepare(measured);
    result.error = own->error();
    std::vector<Contestant> contestants = {contestant(*own, measured, effort_)};
    if (has_limit(row.measure)) contestants.push_back({"limit", [&] { return limit(row, effort_); }});
    std::unique_ptr<Own> baseline;
    if (row.baseline) {
      baseline = prepare(*row.baseline);
      contestants.push_back(contestant(*baseline, *row.baseline, effort_));
    }

    std::vector<std::size_t> place;  // of the peers among the contestants
    for (const PeerTarget& target : with_peers_ ? row.peers : std::vector<PeerTarget>{}) {
      Problem problem = measured;
      problem.queries = std::min(measured.queries, target.queries.value_or(measured.queries));
      const Prepared prepared = prepare_peer(target.adapter, problem, *own);
      result.peers.push_back({target, prepared.version, prepared.absent});
      place.push_back(contestants.size());
      if (prepared.peer == nullptr) continue;
      contestants.push_back(contestant(*prepared.peer, target.adapter, problem, effort_));
    }

    const Rounds rounds = compete(contestants, row.kith.threads, effort_);
    result.value = value(row, rounds);
    result.rate = rounds.rates(0).median;
    if (has_limit(row.measure)) result.limit = rounds.rates(1).median;
    result.pairs = static_cast<int>(rounds.rate[0].size());
    result.thrown_out = rounds.thrown_out;
    result.is_disturbed = rounds.is_disturbed;
    for (std::size_t p = 0; p < result.peers.size(); ++p)
      if (result.peers[p].absent.empty()) result.peers[p].ratio = rounds.ratio(0, place[p]);
  } catch (const std::exception& error) {
    result.wrong = error.what();
  }
  return result;
}

std::vector<GrowthPoint> Runner::growth(Index most) {
  // Whose memory grows quadratically is not tried where it would fill an ordinary machine.
  constexpr double kMostBytes = 8e9;
  // Above, a call takes seconds, and one round has to do.
  constexpr Index kOneRound = 16384;
  std::map<std::string, double> last_bytes;
  std::vector<GrowthPoint> points;
  for (Index n = 128; n <= most; n *= 2) {
    Problem problem = transformer(n, 64);
    problem.heads = 1;
    const auto own = prepare(problem);
    const std::size_t first = points.size();
    points.push_back({"Kith", n, 0, own->peak_memory() * 1e-6});
    std::vector<Contestant> contestants = {contestant(*own, problem, effort_)};
    for (const char* adapter : {"libtorch_sdpa", "onnx_mha", "flex_attention"}) {
      if (!with_peers_ || 4 * last_bytes[adapter] > kMostBytes) continue;
      // What a library loads and compiles once is not the memory of a call.
      if (n == 128) prepare_peer(adapter, problem, *own);
      const Prepared prepared = prepare_peer(adapter, problem, *own);
      if (prepared.peer == nullptr) continue;
      last_bytes[adapter] = prepared.bytes;
      points.push_back({prepared.version, n, 0, prepared.bytes * 1e-6});
      contestants.push_back(contestant(*prepared.peer, adapter, problem, effort_));
    }
    Effort effort = effort_;
    if (n > kOneRound) effort.pairs = 1;
    const Rounds rounds = compete(contestants, problem.threads, effort);
    for (std::size_t c = 0; c < contestants.size(); ++c)
      points[first + c].gflops = rounds.rates(c).median * 1e-9;
  }
  return points;
}

}  // namespace kith::bench
