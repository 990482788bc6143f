#include "layers/matmul.h"

#include <dnnl.h>
#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "array/threads.h"
#include "layers/kernels/kernels.h"
#include "layers/scratch.h"

// oneDNN's threads come from OpenMP, of which this is all that is needed. <omp.h> is not there for every
// compiler.
extern "C" {
void omp_set_num_threads(int);
int omp_get_max_threads(void);
}

namespace kith::layers {
namespace {

/// While it lives, oneDNN uses only the calling thread, whose setting this is.
class OneOpenMpThread {
 public:
  OneOpenMpThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneOpenMpThread() { omp_set_num_threads(before_); }
  OneOpenMpThread(const OneOpenMpThread&) = delete;
  OneOpenMpThread& operator=(const OneOpenMpThread&) = delete;

 private:
  int before_;
};

/// How oneDNN names a matrix: stored by rows, or by columns.
struct Stored {
  char transposed;
  Index leading;

  explicit Stored(const View<const float, 2>& a) {
    const bool by_rows = a.stride[1] == 1 || a.shape[1] == 1;
    transposed = by_rows ? 'N' : 'T';
    // With a single row its stride means nothing, and may be anything.
    const Index lines = by_rows ? a.shape[0] : a.shape[1], length = by_rows ? a.shape[1] : a.shape[0];
    leading = lines <= 1 ? length : a.stride[by_rows ? 0 : 1];
  }
};

void fill_zero(View<float, 2> c) {
  for (Index i = 0; i < c.shape[0]; ++i)
    std::fill_n(c.data + i * c.stride[0], static_cast<std::size_t>(c.shape[1]), 0.0f);
}

template <class T>
View<T, 2> part(const View<T, 2>& a, Index row, Index rows, Index column, Index columns) {
  return {a.data + row * a.stride[0] + column * a.stride[1], {rows, columns}, a.stride};
}

/// b stored by rows. oneDNN packs b for each tile, which takes it much longer from columns: a product of many
/// rows gains a tenth from having them turned once.
void turn(View<const float, 2> b, float* to, int threads) {
  constexpr Index kSquare = 16;
  const Index k = b.shape[0], n = b.shape[1];
  parallel_for(threads, (k + kSquare - 1) / kSquare, [&](Index task) {
    const Index first = task * kSquare, rows = std::min(kSquare, k - first);
    for (Index column = 0; column < n; column += kSquare) {
      for (Index i = first; i < first + rows; ++i) {
        for (Index j = column; j < std::min(column + kSquare, n); ++j) to[i * n + j] = b(i, j);
      }
    }
  });
}

/// How a product is cut. From 128 rows on oneDNN reaches its best speed, packing b again for each tile
/// included; what takes less than some 20 microseconds is not worth a task of its own.
struct Tiles {
  Index row_block, rows, columns, chunk, chunks;
  static constexpr Index kColumnBlock = 512;

  Tiles(Index m, Index n, Index k) {
    constexpr Index kLeastRows = 128, kLeastFlops = 2'000'000, kLeastChunk = 512, kTiles = 16;
    const Index columns_here = std::min(n, kColumnBlock);
    row_block = std::max(kLeastRows, (kLeastFlops / (2 * columns_here * k) + 63) / 64 * 64);
    rows = (m + row_block - 1) / row_block;
    columns = (n + kColumnBlock - 1) / kColumnBlock;
    // Few tiles with long sums, as for a weight's gradient, are cut along the sum as well.
    const Index wanted =
        std::clamp(k / kLeastChunk, Index{1}, (kTiles + rows * columns - 1) / (rows * columns));
    chunk = ((k + wanted - 1) / wanted + 63) / 64 * 64;
    chunks = (k + chunk - 1) / chunk;
  }
};

}  // namespace

void matmul_block(View<const float, 2> a, View<const float, 2> b, View<float, 2> c, bool add) {
  const Index m = c.shape[0], n = c.shape[1], k = a.shape[1];
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!add) fill_zero(c);
    return;
  }
  const Stored as(a), bs(b);
  const OneOpenMpThread one;
  const dnnl_status_t status =
      dnnl_sgemm(as.transposed, bs.transposed, m, n, k, 1.0f, a.data, as.leading, b.data, bs.leading,
                 add ? 1.0f : 0.0f, c.data, m == 1 ? n : c.stride[0]);
  if (status == dnnl_out_of_memory) throw std::bad_alloc();
  if (status != dnnl_success)
    throw Error(fmt::format("matrix product [{}, {}] [{}, {}]: oneDNN refuses it with status {}", m, k, k, n,
                            static_cast<int>(status)));
}

void matmul(View<const float, 2> a, View<const float, 2> b, View<float, 2> c, const MatmulOptions& options,
            int threads) {
  const Index m = c.shape[0], n = c.shape[1], k = a.shape[1];
  if (a.shape[0] != m || b.shape[0] != k || b.shape[1] != n)
    throw Error(
        fmt::format("matrix product: got [{}, {}] [{}, {}] to [{}, {}], needs [m, k] [k, n] to [m, n]",
                    a.shape[0], k, b.shape[0], b.shape[1], m, n));
  if (m == 0 || n == 0) return;
  const Tiles tiles(m, n, std::max<Index>(k, 1));
  constexpr double kSerialFlops = 1e6;
  const bool tiny =
      2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) < kSerialFlops;
  threads = tiny ? 1 : resolve_threads(threads);

  constexpr Index kWorthTurning = 512;
  const bool turns = m >= kWorthTurning && k > 0 && Stored(b).transposed == 'T';
  Scratch turned(turns ? k * n : 0);
  if (turns) {
    turn(b, turned.data(), threads);
    b = View<const float, 2>(turned.data(), {k, n});
  }

  // The first chunk's sums go to c itself, the others' beside it.
  Scratch partial((tiles.chunks - 1) * m * n);
  const auto sums = [&](Index chunk) {
    return chunk == 0 ? c : View<float, 2>(partial.data() + (chunk - 1) * m * n, {m, n});
  };
  const auto tile_rows = [&](Index tile) {
    const Index first = tile * tiles.row_block;
    return std::pair(first, std::min(tiles.row_block, m - first));
  };
  const auto add_row = [&](View<float, 2> tile, Index column) {
    if (options.row != nullptr) add_to_rows(options.row + column, tile);
  };
  parallel_for(threads, tiles.rows * tiles.columns * tiles.chunks, [&](Index task) {
    const Index chunk = task % tiles.chunks, tile = task / tiles.chunks;
    const auto [row, rows] = tile_rows(tile / tiles.columns);
    const Index column = tile % tiles.columns * Tiles::kColumnBlock,
                columns = std::min(Tiles::kColumnBlock, n - column);
    const Index from = chunk * tiles.chunk, terms = std::min(tiles.chunk, k - from);
    const View<float, 2> to = part(sums(chunk), row, rows, column, columns);
    matmul_block(part(a, row, rows, from, terms), part(b, from, terms, column, columns), to,
                 options.add && chunk == 0);
    if (tiles.chunks == 1) add_row(to, column);
  });
  if (tiles.chunks == 1) return;
  constexpr Index kJoinedRows = 16;
  parallel_for(threads, (m + kJoinedRows - 1) / kJoinedRows, [&](Index task) {
    const Index row = task * kJoinedRows, rows = std::min(kJoinedRows, m - row);
    for (Index i = row; i < row + rows; ++i) {
      for (Index chunk = 1; chunk < tiles.chunks; ++chunk)
        add_numbers(&sums(chunk)(i, 0), n, c.data + i * c.stride[0]);
    }
    add_row(part(c, row, rows, 0, n), 0);
  });
}

}  // namespace kith::layers
