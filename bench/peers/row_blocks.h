// Attention put together from products of matrices: for each block of queries the logits, their weights, the
// average.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

#include "in_process.h"

namespace kith::bench {

/// `rows` queries of one head from `first` on, and the keys that the last of them sees.
struct RowBlock {
  int64_t head, first, rows, visible;
};

/// So many queries that their logits stay in a core's caches between the products, and that these are tall
/// enough to be fast: found by trying. Of a causal head at most an eighth, since a sixteenth of the pairs
/// computed is then masked.
inline int64_t block_rows(const KithProblem& p) {
  constexpr int64_t kBytes = 1 << 20, kLeast = 16, kMost = 256;
  const int64_t bytes = p.type == kith_float64 ? 8 : 4;
  const int64_t most = p.is_causal ? std::clamp(p.keys / 8, kLeast, kMost) : kMost;
  return std::min(p.queries, std::clamp(kBytes / (p.keys * bytes), kLeast, most));
}

/// The block that begins at query `first`.
inline RowBlock row_block(const KithProblem& p, int64_t head, int64_t first) {
  const int64_t rows = std::min(block_rows(p), p.queries - first);
  return {head, first, rows, p.is_causal ? std::min(p.keys, first + rows) : p.keys};
}

/// Makes libraries compute on the calling thread alone while this object lives.
class SingleThreaded {
 public:
  SingleThreaded() { omp_set_num_threads(1); }
  ~SingleThreaded() { omp_set_num_threads(before_); }
  SingleThreaded(const SingleThreaded&) = delete;
  SingleThreaded& operator=(const SingleThreaded&) = delete;

 private:
  int before_ = omp_get_max_threads();
};

/// work(block, number of the thread) for all blocks, spread over the problem's threads, each block on one:
/// small products shared by all would have them wait for each other after each.
template <class Work>
void for_each_block(const KithProblem& p, const Work& work) {
  const SingleThreaded inside;
  const int64_t rows = block_rows(p), a_head = (p.queries + rows - 1) / rows;
  std::exception_ptr failure;  // which may not leave a parallel region by itself
#pragma omp parallel for schedule(dynamic) num_threads(p.threads)
  for (int64_t i = 0; i < p.heads * a_head; ++i) {
    try {
      // Those that see most first.
      work(row_block(p, i / a_head, (a_head - 1 - i % a_head) * rows), omp_get_thread_num());
    } catch (...) {
#pragma omp critical
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

/// The keys that row `row` of a block sees.
inline int64_t visible_of(const KithProblem& p, const RowBlock& block, int64_t row) {
  return p.is_causal ? std::min(p.keys, block.first + row + 1) : p.keys;
}

}  // namespace kith::bench
