// The backward pass. Per head of keys: fixed groups of key tiles are the tasks; each owns the gradients of
// its keys and values and a private gradient of the queries, and the private ones are added in group order.
// Queries pass by in stretches of fixed length, so that the private copies stay bounded. Groups and stretches
// depend on the sizes alone, never on the threads, so every sum has one order.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "array/threads.h"
#include "attention/run.h"
#include "attention/workspace.h"

namespace kith {
namespace {

using namespace kernels;

constexpr Index kMostGroups = 16;
constexpr Index kLeastGroupKeys = 4 * kKeyBlock;
constexpr Index kStretch = 8192;

struct BackwardRun {
  const Geometry& g;
  const View<const float, 4>&query, &key, &value;
  const Lowered& lowered;
  MaskPlan mask;
  const AttentionResult& result;
  const View<const float, 4>& d_out;
  const View<const float, 3>& d_lse;
  int threads;
  AttentionGradients& gradients;

  Index tile = tile_keys();
  Index tiles = tile_count(g.keys);
  Index pull = lowered.depth;
  Index pull_stride = round_up(pull, vector_floats());
  Index group_keys = std::max(kLeastGroupKeys, round_up((g.keys + kMostGroups - 1) / kMostGroups, kKeyBlock));
  Index groups = (g.keys + group_keys - 1) / group_keys;
  Index stretch = std::min(g.queries, kStretch);
  /// Key heads worked on at once: enough tasks for the threads, bounded memory.
  Index wave = std::clamp<Index>(4 * Index{threads} / std::max<Index>(groups, 1) + 1, 1,
                                 std::max<Index>(g.batch* g.key_heads, 1));

  // Per key head of a wave.
  struct Head {
    Index b = 0, h = 0;
    float* unit_key = nullptr;          // [M][D], cosine
    float* unit_query = nullptr;        // [group][N][D], cosine
    float* key_tiles = nullptr;         // [tiles][depth][tile]
    float* value_tiles = nullptr;       // [tiles][Dv][tile]
    float* finite_key_tiles = nullptr;  // [tiles][depth][tile], distances
    float* key_rows = nullptr;          // [M][pull_stride]
    float* query_rows = nullptr;        // [group][N][pull_stride]
    float* d_out_rows = nullptr;        // [group][N][Dv]
    float* lse2 = nullptr;              // [group][N]
    float* delta = nullptr;             // [group][N]
    float* d_query = nullptr;           // [groups][stretch][pull_stride]
    float* d_key = nullptr;             // [tiles][pull][tile]
    float* d_value = nullptr;           // [tiles][Dv][tile]
    bool d_out_finite = true;
    double d_factor = 0;
    double* row_factor = nullptr;    // [N] of the query head at work
    double* group_factor = nullptr;  // [groups], distance only
  };
  std::vector<Head> heads{};
  float* scratch = nullptr;

  void divide(Divider& memory) {
    heads.resize(static_cast<std::size_t>(wave));
    for (Head& head : heads) {
      const Index rows = g.group() * g.queries;
      if (lowered.normalize) {
        head.unit_key = memory.take<float>(g.keys * g.depth);
        head.unit_query = memory.take<float>(rows * g.depth);
      }
      head.key_tiles = memory.take<float>(tiles * lowered.depth * tile);
      head.value_tiles = memory.take<float>(tiles * g.value_depth * tile);
      head.finite_key_tiles = memory.take<float>(lowered.differences() ? tiles * lowered.depth * tile : 0);
      head.key_rows = memory.take<float>(g.keys * pull_stride);
      head.query_rows = memory.take<float>(rows * pull_stride);
      head.d_out_rows = memory.take<float>(rows * g.value_depth);
      head.lse2 = memory.take<float>(rows);
      head.delta = memory.take<float>(rows);
      head.d_query = memory.take<float>(groups * stretch * pull_stride);
      head.d_key = memory.take<float>(tiles * pull * tile);
      head.d_value = memory.take<float>(tiles * g.value_depth * tile);
      head.row_factor = memory.take<double>(g.queries);
      head.group_factor = memory.take<double>(groups);
    }
    scratch = memory.take<float>(threads * static_cast<Index>(backward_scratch()));
  }

  HeadRows queries(const Head& head, Index q) const {
    if (lowered.normalize) return {head.unit_query + q * g.queries * g.depth, g.depth};
    return head_rows(query, head.b, head.h * g.group() + q);
  }
  HeadRows keys(const Head& head) const {
    if (lowered.normalize) return {head.unit_key, g.depth};
    return head_rows(key, head.b, head.h);
  }

  void prepare(Head& head, Index number) {
    head.b = number / g.key_heads;
    head.h = number % g.key_heads;
    head.d_factor = 0;
    if (lowered.normalize) normalize_rows(head_rows(key, head.b, head.h), g.keys, g.depth, head.unit_key);
    const HeadRows key_rows = keys(head), value_rows = head_rows(value, head.b, head.h);
    pack_tiles(key_rows.data, key_rows.stride, g.keys, lowered.depth, 0, tiles, head.key_tiles);
    pack_tiles(value_rows.data, value_rows.stride, g.keys, g.value_depth, 0, tiles, head.value_tiles);
    std::fill_n(head.d_key, tiles * pull * tile, 0.0f);
    std::fill_n(head.d_value, tiles * g.value_depth * tile, 0.0f);
    if (pull > 0) copy_finite(key_rows, g.keys, g.depth, head.key_rows, pull_stride);
    if (lowered.differences())
      pack_tiles(head.key_rows, pull_stride, g.keys, g.depth, 0, tiles, head.finite_key_tiles);
    std::fill_n(head.group_factor, groups, 0.0);
    head.d_out_finite = true;
    for (Index q = 0; q < g.group(); ++q) {
      const Index h = head.h * g.group() + q;
      if (lowered.normalize) {
        normalize_rows(head_rows(query, head.b, h), g.queries, g.depth,
                       head.unit_query + q * g.queries * g.depth);
      }
      float* query_rows = head.query_rows + q * g.queries * pull_stride;
      if (pull > 0) copy_finite(queries(head, q), g.queries, g.depth, query_rows, pull_stride);
      const HeadRows d_out_rows = head_rows(d_out, head.b, h);
      head.d_out_finite &= all_finite(d_out_rows, g.queries, g.value_depth);
      copy_finite(d_out_rows, g.queries, g.value_depth, head.d_out_rows + q * g.queries * g.value_depth,
                  g.value_depth);
      for (Index i = 0; i < g.queries; ++i) {
        const float* out = &result.out(head.b, h, i, 0);
        double delta = d_lse.data == nullptr ? 0 : -static_cast<double>(d_lse(head.b, h, i));
        for (Index c = 0; c < g.value_depth; ++c) {
          delta +=
              static_cast<double>(d_out_rows.data[i * d_out_rows.stride + c]) * static_cast<double>(out[c]);
        }
        head.delta[q * g.queries + i] = static_cast<float>(delta);
        head.lse2[q * g.queries + i] =
            static_cast<float>(static_cast<double>(result.lse(head.b, h, i)) * std::numbers::log2e);
      }
    }
  }

  // Query head q of the group, queries of one stretch, keys of one group.
  void run_group(Head& head, Index q, Index first, Index last, Index group) {
    float* d_query = head.d_query + group * stretch * pull_stride;
    std::fill_n(d_query, (last - first) * pull_stride, 0.0f);
    const HeadRows query_rows = queries(head, q),
                   d_out_rows = head_rows(d_out, head.b, head.h * g.group() + q);
    const Index row = q * g.queries + first;
    BackwardTask t;
    t.logit = lowered.logit;
    t.factor = lowered.factor2();
    t.query = query_rows.data + first * query_rows.stride;
    t.query_stride = query_rows.stride;
    t.key_tiles = head.key_tiles;
    t.d_out = d_out_rows.data + first * d_out_rows.stride;
    t.d_out_stride = d_out_rows.stride;
    t.value_tiles = head.value_tiles;
    t.lse2 = head.lse2 + row;
    t.delta = head.delta + row;
    t.query_rows = head.query_rows + row * pull_stride;
    t.query_rows_stride = pull_stride;
    t.d_out_rows = head.d_out_rows + row * g.value_depth;
    t.d_out_rows_stride = g.value_depth;
    t.key_rows = head.key_rows;
    t.key_rows_stride = pull_stride;
    t.finite_key_tiles = head.finite_key_tiles;
    t.depth = lowered.depth;
    t.value_depth = g.value_depth;
    t.pull_depth = pull;
    t.mask = &mask;
    t.batch = head.b;
    t.first_query = first;
    t.last_query = last;
    t.first_key = group * group_keys;
    t.last_key = std::min(g.keys, t.first_key + group_keys);
    t.scratch = scratch + worker_index() * static_cast<Index>(backward_scratch());
    t.d_query = d_query;
    t.d_query_stride = pull_stride;
    t.d_key_tiles = head.d_key + t.first_key / tile * pull * tile;
    t.d_value_tiles = head.d_value + t.first_key / tile * g.value_depth * tile;
    t.d_factor = head.group_factor + group;
    backward(t);
  }

  // From the sums of one row (of queries, or of keys with sign -1 for q - k) to its gradient, and its part of
  // dL/dfactor.
  //   dot:    logit = f q.k       dq = f sum dS k             dL/df = sum_i q_i . (sum_j dS_ij k_j)
  //   |.|^2:  logit = f |q-k|^2   dq = 2 f sum dS (q - k)     dL/df = sum_i q_i . a_i + sum_j k_j . a_j, for
  //   sums a
  //   |.|:    logit = f |q-k|     dq = f sum dS (q - k) / |q-k|     dL/df = sum dS |q-k|, summed by the
  //   kernel
  // The second is homogeneity; it holds about any origin, and the first key is one without needless digits.
  double finish_row(const Head& head, const double* sums, const float* row, HeadRows raw, Index i,
                    double sign, float* gradient) const {
    const double f = lowered.factor;
    double dot = 0;
    if (lowered.differences()) {
      const double scale = lowered.logit == Logit::squared_distance ? 2 * f : f;
      const float* origin = head.key_rows;
      for (Index c = 0; c < g.depth; ++c) {
        gradient[c] = static_cast<float>(scale * sign * sums[c]);
        dot += (static_cast<double>(row[c]) - static_cast<double>(origin[c])) * sign * sums[c];
      }
      return lowered.logit == Logit::squared_distance ? dot : 0;
    }
    for (Index c = 0; c < pull; ++c) dot += static_cast<double>(row[c]) * sums[c];
    if (!lowered.normalize) {
      for (Index c = 0; c < pull; ++c) gradient[c] = static_cast<float>(f * sums[c]);
      return dot;
    }
    // Through x / |x|: (a - u (u.a)) / |x|.
    double squares = 0;
    for (Index c = 0; c < g.depth; ++c) {
      const double x = static_cast<double>(raw.data[i * raw.stride + c]);
      squares += x * x;
    }
    const double inverse = squares == 0 || !std::isfinite(squares) ? 0 : 1 / std::sqrt(squares);
    for (Index c = 0; c < g.depth; ++c) {
      gradient[c] = static_cast<float>(f * (sums[c] - static_cast<double>(row[c]) * dot) * inverse);
    }
    return dot;
  }

  void finish_queries(Head& head, Index q, Index first, Index last) {
    const Index h = head.h * g.group() + q;
    std::vector<double> sums(static_cast<std::size_t>(pull_stride));
    for (Index i = first; i < last; ++i) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (Index group = 0; group < groups; ++group) {
        const float* part = head.d_query + (group * stretch + i % stretch) * pull_stride;
        for (Index c = 0; c < pull; ++c) sums[static_cast<std::size_t>(c)] += static_cast<double>(part[c]);
      }
      const float* row = head.query_rows + (q * g.queries + i) * pull_stride;
      head.row_factor[i] = finish_row(head, sums.data(), row, head_rows(query, head.b, h), i, 1,
                                      &gradients.query(head.b, h, i, 0));
    }
  }

  void finish_keys(Head& head) {
    std::vector<double> sums(static_cast<std::size_t>(pull));
    for (Index j = 0; j < g.keys; ++j) {
      const Index at = j / tile, lane = j % tile;
      float* d_value = &gradients.value(head.b, head.h, j, 0);
      for (Index c = 0; c < g.value_depth; ++c)
        d_value[c] = head.d_value[(at * g.value_depth + c) * tile + lane];
      if (pull == 0) continue;
      for (Index c = 0; c < pull; ++c) {
        sums[static_cast<std::size_t>(c)] = static_cast<double>(head.d_key[(at * pull + c) * tile + lane]);
      }
      const double factor =
          finish_row(head, sums.data(), head.key_rows + j * pull_stride, head_rows(key, head.b, head.h), j,
                     -1, &gradients.key(head.b, head.h, j, 0));
      if (lowered.differences()) head.d_factor += factor;
    }
    for (Index group = 0; group < groups; ++group) head.d_factor += head.group_factor[group];
    if (!head.d_out_finite) spread_non_finite(head);
  }

  // Entries of d_out that are not finite were taken as 0 in dV; they reach exactly the keys their row sees.
  void spread_non_finite(const Head& head) {
    for (Index q = head.h * g.group(); q < (head.h + 1) * g.group(); ++q) {
      const HeadRows rows = head_rows(d_out, head.b, q);
      for (Index i = 0; i < g.queries; ++i) {
        for (Index c = 0; c < g.value_depth; ++c) {
          const float x = rows.data[i * rows.stride + c];
          if (std::isfinite(x)) continue;
          for (Index j = 0; j < g.keys; ++j) {
            if (mask.visible(head.b, i, j)) gradients.value(head.b, head.h, j, c) += x;
          }
        }
      }
    }
  }

  double run() {
    double d_factor = 0;
    const Index all = g.batch * g.key_heads;
    for (Index begin = 0; begin < all; begin += wave) {
      const Index count = std::min(wave, all - begin);
      const auto head = [&](Index i) -> Head& { return heads[static_cast<std::size_t>(i)]; };
      parallel_for(threads, count, [&](Index i) { prepare(head(i), begin + i); });
      for (Index q = 0; q < g.group(); ++q) {
        for (Index first = 0; first < g.queries; first += stretch) {
          const Index last = std::min(g.queries, first + stretch);
          parallel_for(threads, count * groups,
                       [&](Index i) { run_group(head(i / groups), q, first, last, i % groups); });
          const Index parts = (last - first + kQueryBlock - 1) / kQueryBlock;
          parallel_for(threads, count * parts, [&](Index i) {
            const Index part = first + i % parts * kQueryBlock;
            finish_queries(head(i / parts), q, part, std::min(last, part + kQueryBlock));
          });
        }
        for (Index i = 0; i < count; ++i) {
          for (Index row = 0; row < g.queries; ++row) head(i).d_factor += head(i).row_factor[row];
        }
      }
      parallel_for(threads, count, [&](Index i) { finish_keys(head(i)); });
      for (Index i = 0; i < count; ++i) d_factor += head(i).d_factor;
    }
    return d_factor;
  }
};

}  // namespace

double run_backward(const Geometry& g, const View<const float, 4>& query, const View<const float, 4>& key,
                    const View<const float, 4>& value, const Lowered& lowered, const Mask& mask,
                    const AttentionResult& result, const View<const float, 4>& d_out,
                    const View<const float, 3>& d_lse, int threads, AttentionGradients& gradients) {
  if (g.batch * g.heads * g.queries == 0 || g.keys == 0) return 0;
  BackwardRun run{g,      query, key,   value,   lowered,  MaskPlan(mask, g.keys),
                  result, d_out, d_lse, threads, gradients};
  Workspace workspace;
  divide_workspace(workspace, [&](Divider& memory) { run.divide(memory); });
  return run.run();
}

}  // namespace kith
