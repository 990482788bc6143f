#include "kith/layers/embedding.h"

#include "layers/rows.h"

namespace kith {

using namespace layers;

namespace {

void check(const Embedding& layer, std::span<const std::uint32_t> code, const char* name,
           const View<const float, 2>& y) {
  need_shape("Embedding", name, y, static_cast<Index>(code.size()), layer.width());
}

}  // namespace

Embedding::Embedding(const std::string& name, Index levels, Index width, Random& random, double deviation)
    : table(name + ".table", {levels, width}) {
  fill_normal(random, deviation, table.value);
}

void Embedding::forward(std::span<const std::uint32_t> code, View<float, 2> y, int threads) const {
  check(*this, code, "y", y);
  const auto n = static_cast<std::size_t>(width());
  for_row_blocks(y.shape[0], width(), threads, [&](Index first, Index count) {
    for (Index i = first; i < first + count; ++i) {
      float* to = y.data + i * y.stride[0];
      const Index level = code[static_cast<std::size_t>(i)];
      if (level < levels()) {
        std::copy_n(table.value.data() + level * width(), n, to);
      } else {
        std::fill_n(to, n, 0.0f);
      }
    }
  });
}

// Rows may share a level, so threads share out the columns: each adds up a band of them over all rows in
// order.
void Embedding::backward(std::span<const std::uint32_t> code, View<const float, 2> d_y, int threads) {
  check(*this, code, "d_y", d_y);
  constexpr Index kBand = 64;
  const Index bands = block_count(width(), kBand);
  parallel_for(d_y.size() < kTaskNumbers ? 1 : resolve_threads(threads), bands, [&](Index band) {
    const Index first = band * kBand, columns = std::min(kBand, width() - first);
    for (Index i = 0; i < d_y.shape[0]; ++i) {
      const Index level = code[static_cast<std::size_t>(i)];
      if (level < levels())
        add_numbers(d_y.data + i * d_y.stride[0] + first, columns,
                    table.gradient.data() + level * width() + first);
    }
  });
}

}  // namespace kith
