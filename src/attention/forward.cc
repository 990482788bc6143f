// The forward pass: prepare keys and values per head, then one task per block of queries.
//
// Keys are summed in fixed chunks counted from key 0, in float within a chunk and in double across chunks,
// always merged in order through Partial. Threads take blocks of queries or, where there are few, single
// chunks; they never choose where a chunk ends, so a row's bits depend on neither.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "array/threads.h"
#include "attention/run.h"
#include "attention/workspace.h"
#include "kith/partial.h"

namespace kith {
namespace {

using namespace kernels;

struct ForwardRun {
  const Geometry& g;
  const View<const float, 4>&query, &key, &value;
  const Lowered& lowered;
  MaskPlan mask;
  Index top;
  int threads;
  AttentionResult& result;

  bool narrow = g.value_depth <= kNarrowValue;
  Index tile = tile_keys();
  Index tiles = tile_count(g.keys);
  Index value_stride = round_up(g.value_depth, vector_floats());
  Index blocks = (g.queries + kQueryBlock - 1) / kQueryBlock;
  Index chunks = std::max<Index>(1, (g.keys + kKeyChunk - 1) / kKeyChunk);
  Index tasks = g.batch * g.heads * blocks;
  /// Too few query blocks for the threads: their chunks become tasks of their own.
  bool split = chunks > 1 && tasks < 2 * Index{threads};

  // Workspace: per head of keys.
  float* key_tiles = nullptr;             // [B Hk][tiles][depth][tile]
  float* value_tiles = nullptr;           // [B Hk][tiles][Dv][tile], narrow
  float* value_rows = nullptr;            // [B Hk][M][value_stride], wide and not usable in place
  unsigned char* value_finite = nullptr;  // [B Hk]
  // Cosine: normalized copies.
  float* unit_query = nullptr;  // [B Hq][N][D]
  float* unit_key = nullptr;    // [B Hk][M][D]
  // Per worker.
  float* scratch = nullptr;
  std::size_t scratch_floats = forward_scratch(g.value_depth);
  // States: one per worker, or with `split` one per task and chunk.
  struct State {
    double* max;       // [kQueryBlock]
    double* sum;       // [kQueryBlock]
    float* weighted;   // [kQueryBlock][Dv]
    float* top_logit;  // [kQueryBlock][top]
    Index* top_key;    // [kQueryBlock][top]
  };
  State states{};
  // Totals, one per worker.
  double* total_max = nullptr;
  double* total_sum = nullptr;
  double* total_weighted = nullptr;  // [kQueryBlock][Dv]

  bool in_place() const { return g.value_depth % vector_floats() == 0; }

  void divide(Divider& memory) {
    const Index key_heads = g.batch * g.key_heads;
    key_tiles = memory.take<float>(key_heads * tiles * lowered.depth * tile);
    value_finite = memory.take<unsigned char>(key_heads);
    if (narrow) {
      value_tiles = memory.take<float>(key_heads * tiles * g.value_depth * tile);
    } else {
      value_rows = memory.take<float>(key_heads * g.keys * value_stride);
    }
    if (lowered.normalize) {
      unit_query = memory.take<float>(g.batch * g.heads * g.queries * g.depth);
      unit_key = memory.take<float>(key_heads * g.keys * g.depth);
    }
    scratch = memory.take<float>(threads * static_cast<Index>(scratch_floats));
    const Index count = split ? tasks * chunks : threads;
    states.max = memory.take<double>(count * kQueryBlock);
    states.sum = memory.take<double>(count * kQueryBlock);
    states.weighted = memory.take<float>(count * kQueryBlock * g.value_depth);
    states.top_logit = memory.take<float>(count * kQueryBlock * top);
    states.top_key = memory.take<Index>(count * kQueryBlock * top);
    total_max = memory.take<double>(threads * kQueryBlock);
    total_sum = memory.take<double>(threads * kQueryBlock);
    total_weighted = memory.take<double>(threads * kQueryBlock * g.value_depth);
  }

  State state(Index i) const {
    return {states.max + i * kQueryBlock, states.sum + i * kQueryBlock,
            states.weighted + i * kQueryBlock * g.value_depth, states.top_logit + i * kQueryBlock * top,
            states.top_key + i * kQueryBlock * top};
  }

  HeadRows query_rows(Index b, Index h) const {
    if (!lowered.normalize) return head_rows(query, b, h);
    return {unit_query + (b * g.heads + h) * g.queries * g.depth, g.depth};
  }

  // Head `head` of B x Hk: its keys into tiles, its values into tiles or padded finite rows.
  void prepare(Index head) {
    const Index b = head / g.key_heads, h = head % g.key_heads;
    HeadRows keys = head_rows(key, b, h);
    if (lowered.normalize) {
      float* unit = unit_key + head * g.keys * g.depth;
      normalize_rows(keys, g.keys, g.depth, unit);
      keys = {unit, g.depth};
      for (Index q = h * g.group(); q < (h + 1) * g.group(); ++q) {
        normalize_rows(head_rows(query, b, q), g.queries, g.depth,
                       unit_query + (b * g.heads + q) * g.queries * g.depth);
      }
    }
    pack_tiles(keys.data, keys.stride, g.keys, lowered.depth, 0, tiles,
               key_tiles + head * tiles * lowered.depth * tile);
    const HeadRows values = head_rows(value, b, h);
    value_finite[head] = all_finite(values, g.keys, g.value_depth);
    if (narrow) {
      float* to = value_tiles + head * tiles * g.value_depth * tile;
      pack_tiles(values.data, values.stride, g.keys, g.value_depth, 0, tiles, to);
      if (!value_finite[head]) {
        std::replace_if(
            to, to + tiles * g.value_depth * tile, [](float x) { return !std::isfinite(x); }, 0.0f);
      }
    } else if (!in_place() || !value_finite[head]) {
      copy_finite(values, g.keys, g.value_depth, value_rows + head * g.keys * value_stride, value_stride);
    }
  }

  void clear_top(const State& s) const {
    std::fill_n(s.top_logit, kQueryBlock * top, -std::numeric_limits<float>::infinity());
    std::fill_n(s.top_key, kQueryBlock * top, Index{-1});
  }

  void run_chunk(Index task, Index chunk, const State& s) {
    const Index head = task / blocks, first = task % blocks * kQueryBlock;
    const Index b = head / g.heads, h = head % g.heads, key_head = b * g.key_heads + h / g.group();
    const HeadRows queries = query_rows(b, h);
    const HeadRows values = head_rows(value, b, h / g.group());
    ForwardTask t;
    t.logit = lowered.logit;
    t.factor = lowered.factor2();
    t.query = queries.data + first * queries.stride;
    t.query_stride = queries.stride;
    t.rows = std::min(kQueryBlock, g.queries - first);
    t.key_tiles = key_tiles + key_head * tiles * lowered.depth * tile;
    if (narrow) {
      t.value_tiles = value_tiles + key_head * tiles * g.value_depth * tile;
    } else if (in_place() && value_finite[key_head]) {
      t.value = values.data;
      t.value_stride = values.stride;
    } else {
      t.value = value_rows + key_head * g.keys * value_stride;
      t.value_stride = value_stride;
    }
    t.depth = lowered.depth;
    t.value_depth = g.value_depth;
    t.mask = &mask;
    t.batch = b;
    t.first_query = first;
    t.key_begin = chunk * kKeyChunk;
    t.key_end = std::min(g.keys, t.key_begin + kKeyChunk);
    t.top = {s.top_logit, s.top_key, static_cast<int>(top)};
    t.scratch = scratch + worker_index() * static_cast<Index>(scratch_floats);
    t.max = s.max;
    t.sum = s.sum;
    t.weighted = s.weighted;
    forward(t);
  }

  // The rows of a task from its chunks, in order.
  template <class ChunkState>
  void finish(Index task, ChunkState&& chunk_state) {
    const Index head = task / blocks, first = task % blocks * kQueryBlock;
    const Index rows = std::min(kQueryBlock, g.queries - first);
    const auto depth = static_cast<std::size_t>(g.value_depth);
    const Index worker = worker_index();
    double* max = total_max + worker * kQueryBlock;
    double* sum = total_sum + worker * kQueryBlock;
    double* weighted = total_weighted + worker * kQueryBlock * g.value_depth;
    std::fill_n(max, rows, Partial::kNone);
    std::fill_n(sum, rows, 0.0);
    std::fill_n(weighted, rows * g.value_depth, 0.0);
    State last{};
    for (Index chunk = 0; chunk < chunks; ++chunk) {
      last = chunk_state(chunk);
      for (Index r = 0; r < rows; ++r) {
        Partial row{max[r], sum[r], {weighted + r * g.value_depth, depth}};
        merge(row, last.max[r], last.sum[r],
              std::span<const float>(last.weighted + r * g.value_depth, depth));
        max[r] = row.max;
        sum[r] = row.sum;
      }
    }
    for (Index r = 0; r < rows; ++r) {
      const Partial row{max[r], sum[r], {weighted + r * g.value_depth, depth}};
      const bool seen = row.max != Partial::kNone;
      const double lse = log_sum_exp(row);
      float* out = result.out.data() + (head * g.queries + first + r) * g.value_depth;
      for (std::size_t c = 0; c < depth; ++c)
        out[c] = seen ? static_cast<float>(row.weighted[c] / row.sum) : 0.0f;
      if (!result.lse.empty()) result.lse.data()[head * g.queries + first + r] = static_cast<float>(lse);
      for (Index k = 0; k < top; ++k) {
        const Index at = (head * g.queries + first + r) * top + k;
        const Index found = last.top_key[r * top + k];
        const double logit = static_cast<double>(last.top_logit[r * top + k]) * std::numbers::ln2;
        result.top_key.data()[at] = found;
        result.top_weight.data()[at] = found < 0 ? 0.0f : static_cast<float>(std::exp(logit - lse));
      }
    }
  }

  void run_task(Index task) {
    const State s = state(worker_index());
    if (top > 0) clear_top(s);
    finish(task, [&](Index chunk) {
      run_chunk(task, chunk, s);
      return s;
    });
  }

  // Lists of the chunks of one task into the list of its last chunk, earlier chunks first so that ties keep
  // the earlier key.
  void merge_top(Index task) {
    const State last = state(task * chunks + chunks - 1);
    struct Entry {
      float logit;
      Index key;
    };
    std::vector<Entry> entries;
    for (Index r = 0; r < kQueryBlock; ++r) {
      entries.clear();
      for (Index chunk = 0; chunk < chunks; ++chunk) {
        const State s = state(task * chunks + chunk);
        for (Index k = 0; k < top && s.top_key[r * top + k] >= 0; ++k) {
          entries.push_back({s.top_logit[r * top + k], s.top_key[r * top + k]});
        }
      }
      std::stable_sort(entries.begin(), entries.end(),
                       [](const Entry& x, const Entry& y) { return x.logit > y.logit; });
      for (Index k = 0; k < std::min<Index>(top, static_cast<Index>(entries.size())); ++k) {
        last.top_logit[r * top + k] = entries[static_cast<std::size_t>(k)].logit;
        last.top_key[r * top + k] = entries[static_cast<std::size_t>(k)].key;
      }
    }
  }

  // Values that are not finite were taken as 0; they reach exactly the rows that see their key.
  void spread_non_finite(Index key_head) {
    const Index b = key_head / g.key_heads, h = key_head % g.key_heads;
    const HeadRows values = head_rows(value, b, h);
    for (Index j = 0; j < g.keys; ++j) {
      for (Index c = 0; c < g.value_depth; ++c) {
        const float x = values.data[j * values.stride + c];
        if (std::isfinite(x)) continue;
        for (Index q = h * g.group(); q < (h + 1) * g.group(); ++q) {
          for (Index i = 0; i < g.queries; ++i) {
            if (mask.visible(b, i, j)) result.out(b, q, i, c) += x;
          }
        }
      }
    }
  }

  void run() {
    parallel_for(threads, g.batch * g.key_heads, [&](Index head) { prepare(head); });
    if (split) {
      parallel_for(threads, tasks * chunks, [&](Index i) {
        const State s = state(i);
        if (top > 0) clear_top(s);
        run_chunk(i / chunks, i % chunks, s);
      });
      parallel_for(threads, tasks, [&](Index task) {
        if (top > 0) merge_top(task);
        finish(task, [&](Index chunk) { return state(task * chunks + chunk); });
      });
    } else {
      parallel_for(threads, tasks, [&](Index task) { run_task(task); });
    }
    for (Index head = 0; head < g.batch * g.key_heads; ++head) {
      if (!value_finite[head]) spread_non_finite(head);
    }
  }
};

}  // namespace

void run_forward(const Geometry& g, const View<const float, 4>& query, const View<const float, 4>& key,
                 const View<const float, 4>& value, const Lowered& lowered, const Mask& mask, Index top,
                 int threads, AttentionResult& result, Workspace& workspace) {
  if (g.batch * g.heads * g.queries == 0) return;
  ForwardRun run{g, query, key, value, lowered, MaskPlan(mask, g.keys), top, threads, result};
  divide_workspace(workspace, [&](Divider& memory) { run.divide(memory); });
  run.run();
}

}  // namespace kith
