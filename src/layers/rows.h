// How layers cut their rows into tasks, and what they ask of their arguments' shapes. The cuts follow from
// the shapes alone, so that no result depends on the number of threads.
#pragma once

#include <fmt/format.h>

#include <algorithm>

#include "array/threads.h"
#include "kith/error.h"
#include "kith/view.h"
#include "layers/kernels/kernels.h"
#include "layers/scratch.h"

namespace kith::layers {

/// Numbers that a task of cheap arithmetic handles: enough to hide what starting it costs.
constexpr Index kTaskNumbers = 16384;

inline Index block_count(Index count, Index block) { return (count + block - 1) / block; }

template <class T>
View<T, 2> row_range(const View<T, 2>& x, Index first, Index count) {
  return {x.data + first * x.stride[0], {count, x.shape[1]}, x.stride};
}

/// Rows a task, of `numbers` numbers each.
inline Index row_block(Index numbers) {
  return std::max<Index>(1, kTaskNumbers / std::max<Index>(1, numbers));
}

/// Calls body(first row, number of rows) for blocks of rows of `numbers` numbers each, at least `least` rows.
template <class F>
void for_row_blocks(Index rows, Index numbers, Index least, int threads, F&& body) {
  if (rows == 0) return;
  const Index block = std::max(least, row_block(numbers));
  const Index tasks = block_count(rows, block);
  parallel_for(tasks == 1 ? 1 : resolve_threads(threads), tasks,
               [&](Index task) { body(task * block, std::min(block, rows - task * block)); });
}

template <class F>
void for_row_blocks(Index rows, Index numbers, int threads, F&& body) {
  for_row_blocks(rows, numbers, 1, threads, body);
}

/// Sums over rows: body(first row, number of rows, sums) adds to `width` sums that start at 0, one set a
/// chunk of rows; these are added in order to `to`. At most 64 chunks, so that joining them stays cheap.
template <class F>
void sum_over_rows(Index rows, Index numbers, Index least, Index width, int threads, float* to, F&& body) {
  if (rows == 0) return;
  constexpr Index kMostChunks = 64;
  const Index chunk = std::max({least, row_block(numbers), block_count(rows, kMostChunks)});
  const Index chunks = block_count(rows, chunk);
  // Rows of their own cache lines, lest threads write to one.
  const Index stride = (width + 15) / 16 * 16;
  Scratch sums(chunks * stride);
  parallel_for(chunks == 1 ? 1 : resolve_threads(threads), chunks, [&](Index task) {
    float* mine = sums.data() + task * stride;
    std::fill_n(mine, static_cast<std::size_t>(width), 0.0f);
    body(task * chunk, std::min(chunk, rows - task * chunk), mine);
  });
  for (Index task = 0; task < chunks; ++task) add_numbers(sums.data() + task * stride, width, to);
}
template <class F>
void sum_over_rows(Index rows, Index numbers, Index width, int threads, float* to, F&& body) {
  sum_over_rows(rows, numbers, 1, width, threads, to, body);
}

/// A wanted extent of any size.
constexpr Index kAny = -1;

/// Error: `layer`: `argument`: another shape than rows x columns, or columns that are apart.
template <class T>
void need_shape(const char* layer, const char* argument, const View<T, 2>& x, Index rows, Index columns) {
  const auto text = [](Index extent) { return extent == kAny ? std::string("any") : fmt::to_string(extent); };
  if ((rows != kAny && x.shape[0] != rows) || (columns != kAny && x.shape[1] != columns))
    throw Error(fmt::format("{}: {}: got shape [{}, {}], needs [{}, {}]", layer, argument, x.shape[0],
                            x.shape[1], text(rows), text(columns)));
  if (x.size() > 0 && x.shape[1] > 1 && x.stride[1] != 1)
    throw Error(
        fmt::format("{}: {}: got columns {} numbers apart, needs dense rows", layer, argument, x.stride[1]));
}

/// What an optional output looks like when it is not wanted. One of no rows is wanted, and stays as it is.
template <class T>
bool wanted(const View<T, 2>& x) {
  return x.data != nullptr;
}

}  // namespace kith::layers
