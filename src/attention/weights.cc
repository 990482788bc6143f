// The weights themselves, from the forward pass's lse: one tile after the other into the caller's N x M
// array, or summed over the queries into what each key received. A task is a block of keys of one query head;
// it sums its queries in ascending blocks, so the threads change no bit.
#include <algorithm>
#include <array>
#include <numbers>
#include <vector>

#include "array/threads.h"
#include "attention/prepared_rows.h"
#include "attention/run.h"
#include "attention/terms.h"
#include "attention/workspace.h"

namespace kith {
namespace {

using namespace kernels;

template <class T>
struct WeightsRun {
  using Real = compute_t<T>;

  const Geometry& g;
  const View<const T, 4>&query, &key;
  const AttentionOptions& options;
  int threads;
  const Array<Real, 3>& lse;
  Array<Real, 3>* received;
  Array<Real, 4>* weights;

  Lowered lowered = lower<Real>(options, g);
  MaskPlan plan{options.mask, g.batch, g.queries, g.keys};
  TermArrays<Real> arrays{options, g, lowered, plan};
  PreparedRows<T> rows{query, key, options, g, plan};
  Index key_blocks = (most_keys() + kKeyBlock - 1) / kKeyBlock;

  Real* scratch = nullptr;  // per worker
  Real* block = nullptr;    // per worker [kQueryBlock][kKeyBlock]
  Index scratch_size = static_cast<Index>(backward_scratch<Real>());

  Index most_keys() const {
    Index most = 0;
    for (const Sequence& s : plan.sequences()) most = std::max(most, s.keys);
    return most;
  }

  void divide(Divider& memory) {
    arrays.divide(memory);
    rows.divide(memory);
    scratch = memory.take<Real>(threads * scratch_size);
    block = memory.take<Real>(threads * kQueryBlock * kKeyBlock);
  }

  void run_block(Index number, Index h, Index first_key) {
    const Sequence& s = plan.sequence(number);
    const Index keys = std::min(kKeyBlock, s.keys - first_key);
    const Terms<Real> terms = arrays.terms(number, h);
    const HeadRows<Real> queries = rows.queries(number, h);
    BackwardTask<Real> t;
    t.pair = lowered.pair;
    t.factor = static_cast<Real>(lowered.task_factor());
    t.terms = &terms;
    t.coefficient = arrays.coefficient();
    t.query_stride = queries.stride;
    t.key_tiles = rows.keys(number, h / g.group());
    t.depth = lowered.depth;
    t.mask = &plan;
    t.sequence = number;
    t.head = h;
    t.first_key = first_key;
    t.last_key = first_key + keys;
    t.scratch = scratch + worker_index() * scratch_size;

    std::array<double, kKeyBlock> total{};
    for (Index first = 0; first < s.queries; first += kQueryBlock) {
      const Index count = std::min(kQueryBlock, s.queries - first), row = s.first_query + first;
      if (plan.classify(number, h, first, first + count, first_key, t.last_key) == MaskPlan::Seen::none)
        continue;
      std::array<Real, kQueryBlock> lse2;
      for (Index i = 0; i < count; ++i) {
        const double natural = static_cast<double>(lse(s.batch, h, row + i));
        lse2[static_cast<std::size_t>(i)] = static_cast<Real>(natural * std::numbers::log2e);
      }
      t.lse2 = lse2.data();
      t.query = queries.data + first * queries.stride;
      t.first_query = first;
      t.last_query = first + count;
      if (weights != nullptr) {
        weigh<Real>(t, &(*weights)(s.batch, h, row, s.first_key + first_key), g.keys);
        continue;
      }
      Real* p = block + worker_index() * kQueryBlock * kKeyBlock;
      weigh<Real>(t, p, kKeyBlock);
      std::array<Real, kKeyBlock> sum{};
      for (Index i = 0; i < count; ++i) {
        for (Index j = 0; j < keys; ++j) sum[static_cast<std::size_t>(j)] += p[i * kKeyBlock + j];
      }
      for (std::size_t j = 0; j < sum.size(); ++j) total[j] += static_cast<double>(sum[j]);
    }
    if (received == nullptr) return;
    Real* to = &(*received)(s.batch, h, s.first_key + first_key);
    for (Index j = 0; j < keys; ++j) to[j] = static_cast<Real>(total[static_cast<std::size_t>(j)]);
  }

  void run() {
    if (received != nullptr) std::fill(received->begin(), received->end(), Real{0});
    if (weights != nullptr) std::fill(weights->begin(), weights->end(), Real{0});
    arrays.fill();
    rows.prepare(threads);
    parallel_for(threads, plan.sequence_count() * g.heads * key_blocks, [&](Index i) {
      const Index head = i / key_blocks, first_key = i % key_blocks * kKeyBlock;
      if (first_key < plan.sequence(head / g.heads).keys)
        run_block(head / g.heads, head % g.heads, first_key);
    });
  }
};

}  // namespace

template <class T>
void run_weights(const Geometry& g, const View<const T, 4>& query, const View<const T, 4>& key,
                 const AttentionOptions& options, int threads, const Array<compute_t<T>, 3>& lse,
                 Array<compute_t<T>, 3>* received, Array<compute_t<T>, 4>* weights) {
  if (g.batch * g.heads == 0 || g.keys == 0) return;
  WeightsRun<T> run{g, query, key, options, threads, lse, received, weights};
  Workspace workspace;
  divide_workspace(workspace, [&](Divider& memory) { run.divide(memory); });
  run.run();
}

#define KITH_INSTANTIATE(T)                                                                    \
  template void run_weights(const Geometry&, const View<const T, 4>&, const View<const T, 4>&, \
                            const AttentionOptions&, int, const Array<compute_t<T>, 3>&,       \
                            Array<compute_t<T>, 3>*, Array<compute_t<T>, 4>*);
KITH_INSTANTIATE(float)
KITH_INSTANTIATE(double)
KITH_INSTANTIATE(bfloat16)
KITH_INSTANTIATE(float16)
#undef KITH_INSTANTIATE

}  // namespace kith
