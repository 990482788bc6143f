#include "attention/points/space.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "array/threads.h"
#include "attention/points/kernels/space.h"
#include "attention/points/space_bound.h"
#include "attention/points/space_far.h"
#include "attention/points/space_points.h"

namespace kith::points {
namespace {

constexpr double kSmallMemory = 128e6;  // bytes that need no justification
constexpr double kBytesAKey = 512;
constexpr Index kBlocksATask = 16;
/// Keys of a block that one thread spreads; more are shared out, and their sums added in order.
constexpr Index kKeysAShare = 16384, kMostShares = 16;
constexpr Index kQueriesATask = 8192;

/// What the points of a block touch, and a group of them.
struct Local {
  SpaceNumbers nodes = space_numbers(kSpaceMostColumns * kSpaceLocalSize),
               column = space_numbers(kSpaceMostColumns * kSpaceGroup),
               scratch = space_numbers(kSpaceScratch);
  SpaceCells cells;

  SpacePoints group(Index x, Index y, Index z, const std::array<const double*, 3>& place, Index count,
                    Index columns) const {
    return {count,
            columns,
            {place[0], place[1], place[2]},
            scratch.get(),
            nodes.get() + x * kSpaceLocalPlane + y * kSpaceLocalRow + z,
            column.get()};
  }
};

/// Numbers [begin, end) of the buffer along an axis lie in the block of nodes `step` to the side.
struct Piece {
  Index begin, end, shift;  // shift: place in the block less place in the buffer
};
Piece piece(int step, int low, int high) {
  const int first = step * kSpaceSide + kSpaceBefore;
  return {std::max(low, first), std::min(high + kSpaceWindow, first + kSpaceSide), -first};
}
/// visit(row of the buffer, row of the block, numbers along z) for the rows of both.
template <class Visit>
void for_rows(const SpaceTouched& t, int x, int y, int z, Visit&& visit) {
  const Piece px = piece(x, t.low[0], t.high[0]), py = piece(y, t.low[1], t.high[1]),
              pz = piece(z, t.low[2], t.high[2]);
  for (Index i = px.begin; i < px.end; ++i) {
    for (Index j = py.begin; j < py.end; ++j) {
      visit(i * kSpaceLocalPlane + j * kSpaceLocalRow + pz.begin,
            ((i + px.shift) * kSpaceSide + j + py.shift) * kSpaceSide + pz.begin + pz.shift,
            pz.end - pz.begin);
    }
  }
}

/// Sums in the nodes of some blocks, of a few columns.
struct Nodes {
  const SpaceSet* set = nullptr;
  Index columns = 0;
  SpaceNumbers sums;  // [block][column][kSpaceBlock]

  Nodes(const SpaceSet& blocks, Index columns_)
      : set(&blocks), columns(columns_), sums(space_numbers(blocks.size() * columns_ * kSpaceBlock)) {}
  double* block(Index i, Index column) { return sums.get() + (i * columns + column) * kSpaceBlock; }
  const double* block(Index i, Index column) const {
    return sums.get() + (i * columns + column) * kSpaceBlock;
  }
};

struct Run {
  const Task& t;
  SpaceGrid grid;
  SpaceSorted keys;
  SpaceSet spread, along_z, along_y, along_x;  // the blocks of nodes that exist after each step

  Run(const Task& task, const SpaceGrid& g)
      : t(task), grid(g), keys(g, task.key, task.keys, true, task.threads) {}

  /// The blocks that keys reach; false if there are too many for this many keys.
  bool lay() {
    // Before a set is made of them: a block of keys touches up to 27.
    const double budget = std::max(kSmallMemory, kBytesAKey * static_cast<double>(t.keys));
    const auto fits = [&](Index blocks) {
      return static_cast<double>(blocks * std::min(t.value_depth + 1, kSpaceMostColumns) * kSpaceBlock) *
                 sizeof(double) <=
             budget;
    };
    if (!fits(static_cast<Index>(keys.runs.size()))) return false;
    spread = keys.nodes(grid);
    if (!fits(spread.size())) return false;
    along_z = spread.spread(grid.stride(2), kSpaceReach);
    if (!fits(spread.size() + along_z.size())) return false;
    along_y = along_z.spread(grid.stride(1), kSpaceReach);
    return fits(along_z.size() + along_y.size());
  }

  /// Leaves out what no query needs: for its rows the rest is the same, to the bit.
  void keep_needed(const SpaceSorted& queries) {
    const SpaceSet wanted = queries.nodes(grid);
    const SpaceSet before = wanted.spread(grid.stride(0), kSpaceReach),
                   first = before.spread(grid.stride(1), kSpaceReach);
    along_z = spread.spread_into(grid.stride(2), kSpaceReach, first);
    along_y = along_z.spread_into(grid.stride(1), kSpaceReach, before);
    along_x = along_y.spread_into(grid.stride(0), kSpaceReach, wanted);
  }

  /// Columns [first, first + columns) of the values, column 0 being one of ones.
  void spread_share(Index b, Index begin, Index end, Index first, Index columns, Local& local) const {
    const SpaceTouched& touched = keys.touched[static_cast<std::size_t>(b)];
    for (Index c = 0; c < columns; ++c) {
      for (Index x = touched.low[0]; x < touched.high[0] + kSpaceWindow; ++x) {
        std::fill_n(local.nodes.get() + c * kSpaceLocalSize + x * kSpaceLocalPlane, kSpaceLocalPlane, 0.0);
      }
    }
    for (Index from = begin; from < end; from += SpaceCells::kMost) {
      const Index to = std::min(end, from + SpaceCells::kMost);
      for (Index i = from; first + columns > 1 && i < to; ++i) {
        __builtin_prefetch(t.value[keys.order[static_cast<std::size_t>(i)]]);
      }
      local.cells.load(grid, keys, b, from, to);
      local.cells.for_groups([&](Index x, Index y, Index z, const std::array<const double*, 3>& place,
                                 const std::uint32_t* rows, Index count) {
        for (Index c = 0; c < columns; ++c) {
          double* value = local.column.get() + c * kSpaceGroup;
          if (first + c == 0) {
            std::fill_n(value, count, 1.0);
            continue;
          }
          for (Index j = 0; j < count; ++j) {
            const Index row = keys.order[static_cast<std::size_t>(from) + rows[j]];
            value[j] = static_cast<double>(t.value[row][first + c - 1]);
          }
        }
        space_spread(local.group(x, y, z, place, count, columns));
      });
    }
  }

  void spread_block(Index b, Index first, Index columns, Local& local, Nodes& nodes) const {
    const CellRun& block = keys.runs[static_cast<std::size_t>(b)];
    const Index count = block.end - block.begin,
                shares = std::clamp<Index>(count / kKeysAShare, 1, kMostShares);
    const auto share = [&](Index i) { return block.begin + i * count / shares; };
    if (shares == 1) {
      spread_share(b, block.begin, block.end, first, columns, local);
      add(b, columns, local, nodes);
      return;
    }
    std::vector<Local> locals(static_cast<std::size_t>(shares));
    parallel_for(t.threads, shares, [&](Index i) {
      spread_share(b, share(i), share(i + 1), first, columns, locals[static_cast<std::size_t>(i)]);
    });
    for (const Local& own : locals) add(b, columns, own, nodes);
  }
  void add(Index b, Index columns, const Local& local, Nodes& nodes) const {
    const SpaceTouched& touched = keys.touched[static_cast<std::size_t>(b)];
    keys.for_touched(grid, b, [&](int x, int y, int z, Index code) {
      const Index at = spread.find(code);
      for (Index c = 0; c < columns; ++c) {
        const double* from = local.nodes.get() + c * kSpaceLocalSize;
        double* to = nodes.block(at, c);
        for_rows(touched, x, y, z, [&](Index buffer, Index row, Index count) {
          for (Index k = 0; k < count; ++k) to[row + k] += from[buffer + k];
        });
      }
    });
  }

  /// Lines of blocks along z in turns: those of one turn touch no block together, and the turns' order is
  /// the order of every node's sum.
  Nodes spread_keys(Index first, Index columns) const {
    constexpr Index kApart = 3;
    Nodes nodes(spread, columns);
    std::vector<std::pair<Index, Index>> lines[kApart * kApart];
    const auto count = static_cast<Index>(keys.runs.size());
    for (Index b = 0, begin = 0; b < count; ++b) {
      const Index code = keys.runs[static_cast<std::size_t>(b)].cell;
      if (b + 1 < count &&
          keys.runs[static_cast<std::size_t>(b + 1)].cell / grid.blocks[2] == code / grid.blocks[2]) {
        continue;
      }
      const std::array<Index, 3> place = grid.place(code);
      lines[place[0] % kApart * kApart + place[1] % kApart].emplace_back(begin, b + 1);
      begin = b + 1;
    }
    std::fill_n(nodes.sums.get(), spread.size() * columns * kSpaceBlock, 0.0);
    for (const auto& turn : lines) {
      parallel_for(t.threads, static_cast<Index>(turn.size()), [&](Index i) {
        Local local;
        const auto [begin, end] = turn[static_cast<std::size_t>(i)];
        for (Index b = begin; b < end; ++b) spread_block(b, first, columns, local, nodes);
      });
    }
    return nodes;
  }

  Nodes convolve(int axis, const Nodes& from, const SpaceSet& blocks) const {
    Nodes to(blocks, from.columns);
    parallel_for(t.threads, (blocks.size() + kBlocksATask - 1) / kBlocksATask, [&](Index task) {
      for (Index i = task * kBlocksATask; i < std::min(blocks.size(), (task + 1) * kBlocksATask); ++i) {
        for (Index c = 0; c < from.columns; ++c) {
          SpaceSource source[2 * kSpaceReach + 1];
          Index count = 0;
          for (int offset = -kSpaceReach; offset <= kSpaceReach; ++offset) {
            const Index at = from.set->find(blocks[i] - offset * grid.stride(axis));
            if (at >= 0) source[count++] = {from.block(at, c), offset};
          }
          space_convolve(axis, source, count, to.block(i, c));
        }
      }
    });
    return to;
  }

  /// The nodes that block b's queries touch; false if there are none.
  bool gather(const SpaceSorted& queries, Index b, const Nodes& nodes, Local& local) const {
    const SpaceTouched& touched = queries.touched[static_cast<std::size_t>(b)];
    bool any = false;
    queries.for_touched(grid, b, [&](int x, int y, int z, Index code) {
      const Index at = nodes.set->find(code);
      any = any || at >= 0;
      for (Index c = 0; c < nodes.columns; ++c) {
        double* to = local.nodes.get() + c * kSpaceLocalSize;
        const double* from = at < 0 ? nullptr : nodes.block(at, c);
        for_rows(touched, x, y, z, [&](Index buffer, Index row, Index count) {
          if (from == nullptr) {
            std::fill_n(to + buffer, count, 0.0);
          } else {
            std::copy_n(from + row, count, to + buffer);
          }
        });
      }
    });
    return any;
  }

  struct Part {
    Index block, begin, end;
  };
  /// weight: [queries, in their order], the sums; 0 where a row is far.
  void answer(const SpaceSorted& queries, const std::vector<Part>& parts, const std::vector<double>& bound,
              const Nodes& nodes, Index first, std::vector<double>& weight) const {
    parallel_for(t.threads, static_cast<Index>(parts.size()), [&](Index i) {
      const Part& part = parts[static_cast<std::size_t>(i)];
      Local local;
      if (!gather(queries, part.block, nodes, local)) return;
      const double* needed = bound.data() + part.block * kSpaceCoarseCells;
      for (Index from = part.begin; from < part.end; from += SpaceCells::kMost) {
        const Index to = std::min(part.end, from + SpaceCells::kMost);
        for (Index at = from; at < to; ++at) {
          const Index row = queries.order[static_cast<std::size_t>(at)];
          __builtin_prefetch(t.lse + row, 1);
          __builtin_prefetch(t.average + row * t.value_depth, 1);
        }
        local.cells.load(grid, queries, part.block, from, to);
        local.cells.for_groups([&](Index x, Index y, Index z, const std::array<const double*, 3>& place,
                                   const std::uint32_t* rows, Index count) {
          const Index coarse =
              (x / kSpaceCoarse * kSpaceCoarseSide + y / kSpaceCoarse) * kSpaceCoarseSide + z / kSpaceCoarse;
          space_evaluate(local.group(x, y, z, place, count, nodes.columns));
          for (Index j = 0; j < count; ++j) {
            const Index at = from + rows[j];
            write(queries.order[static_cast<std::size_t>(at)], local.column.get() + j, needed[coarse], first,
                  nodes.columns, weight[static_cast<std::size_t>(at)]);
          }
        });
      }
    });
  }
  void write(Index row, const double* column, double bound, Index first, Index columns,
             double& weight) const {
    Index c = 0;
    if (first == 0) {
      weight = kSpaceTolerance * column[0] >= bound ? column[0] : 0;
      if (weight > 0) t.lse[row] = std::log(weight);
      c = 1;
    }
    if (!(weight > 0)) return;
    for (; c < columns; ++c) {
      t.average[row * t.value_depth + first + c - 1] = column[c * kSpaceGroup] / weight;
    }
  }

  std::vector<Index> run() {
    const SpaceSorted queries(grid, t.query, t.queries, false, t.threads);
    keep_needed(queries);
    std::vector<double> weight(static_cast<std::size_t>(queries.outside));
    if (along_x.size() > 0) {
      const std::vector<double> bound = space_bound(grid, keys, queries, t.threads);
      std::vector<Part> parts;
      for (Index b = 0; b < static_cast<Index>(queries.runs.size()); ++b) {
        const CellRun& block = queries.runs[static_cast<std::size_t>(b)];
        for (Index begin = block.begin; begin < block.end; begin += kQueriesATask) {
          parts.push_back({b, begin, std::min(block.end, begin + kQueriesATask)});
        }
      }
      for (Index first = 0; first <= t.value_depth; first += kSpaceMostColumns) {
        const Index columns = std::min(kSpaceMostColumns, t.value_depth + 1 - first);
        answer(queries, parts, bound, sums(first, columns), first, weight);
      }
    }
    std::vector<Index> far;
    for (Index i = 0; i < t.queries; ++i) {
      if (i >= queries.outside || !(weight[static_cast<std::size_t>(i)] > 0)) {
        far.push_back(queries.order[static_cast<std::size_t>(i)]);
      }
    }
    sum_space_far(t, grid, keys, far);
    std::sort(far.begin(), far.end());
    return far;
  }
  Nodes sums(Index first, Index columns) const {
    Nodes nodes = convolve(2, spread_keys(first, columns), along_z);
    nodes = convolve(1, nodes, along_y);
    return convolve(0, nodes, along_x);
  }
};

bool sizes_fit(const Task& t) {
  constexpr Index kMost = Index{1} << 31;
  return t.kernel == Kernel::gaussian && t.depth == 3 && t.value_depth >= 0 &&
         t.value_depth <= kSpaceMostValues && t.keys < kMost && t.queries < kMost;
}

/// Of some queries, how many have no keys in the blocks next to theirs, seen in some of the keys.
double far_share(const Task& t, const SpaceGrid& grid) {
  constexpr Index kQueries = 256, kKeys = 1 << 16;
  if (t.queries == 0 || t.keys == 0) return 0;
  const Index queries = std::min(t.queries, kQueries), keys = std::min(t.keys, kKeys);
  std::vector<Index> codes;
  for (Index j = 0; j < keys; ++j) codes.push_back(grid.code(t.key[j * t.keys / keys]));
  const SpaceSet near =
      SpaceSet(std::move(codes)).spread(1, 1).spread(grid.stride(1), 1).spread(grid.stride(0), 1);
  Index far = 0;
  for (Index i = 0; i < queries; ++i) far += near.has(grid.code(t.query[i * t.queries / queries])) ? 0 : 1;
  return static_cast<double>(far) / static_cast<double>(queries);
}

}  // namespace

SpaceCost space_cost(const Task& t) {
  SpaceCost cost;
  if (!sizes_fit(t)) return cost;
  const SpaceGrid grid = lay_space(t.key, t.keys, t.bandwidth, t.threads);
  if (!grid.countable) return cost;
  const auto n = static_cast<double>(t.keys), m = static_cast<double>(t.queries),
             columns = static_cast<double>(t.value_depth + 1);
  cost.blocks = t.keys == 0 ? 0 : estimate_space(grid, t.key, t.keys, t.threads);
  const double bytes =
      2 * cost.blocks * std::min(columns, 1.0 * kSpaceMostColumns) * kSpaceBlock * sizeof(double);
  cost.far = far_share(t, grid);
  cost.possible = bytes <= std::max(kSmallMemory, kBytesAKey * n);
  // Fitted to 10^5 and 10^6 points, uniform and normal, 0, 1 and 8 value columns.
  cost.seconds =
      (n + (1 - cost.far) * m) * (20e-9 + 112e-9 * columns) + cost.blocks * (20e-6 + 46e-6 * columns);
  return cost;
}

std::vector<Index> space(const Task& task) {
  if (task.queries == 0) return {};
  if (sizes_fit(task)) {
    if (task.keys == 0) {
      std::fill_n(task.lse, task.queries, -std::numeric_limits<double>::infinity());
      std::fill_n(task.average, task.queries * task.value_depth, 0.0);
      return {};
    }
    const SpaceGrid grid = lay_space(task.key, task.keys, task.bandwidth, task.threads);
    if (grid.countable) {
      Run run(task, grid);
      if (run.lay()) return run.run();
    }
  }
  std::vector<Index> every(static_cast<std::size_t>(task.queries));
  std::iota(every.begin(), every.end(), Index{0});
  return every;
}

}  // namespace kith::points
