#include "kith/layers/dropout.h"

#include <cmath>

#include "kith/layers/random.h"
#include "layers/rows.h"

namespace kith {

using namespace layers;

void DropoutLayer::forward(View<const float, 2> x, View<float, 2> y, std::uint64_t step, int threads) const {
  if (!(rate >= 0 && rate < 1)) throw Error(fmt::format("Dropout: rate: got {}, needs 0 <= rate < 1", rate));
  need_shape("Dropout", "x", x, kAny, kAny);
  need_shape("Dropout", "y", y, x.shape[0], x.shape[1]);
  const auto threshold = static_cast<std::uint32_t>(std::llround(static_cast<double>(rate) * 0x1p32));
  const float scale = 1 / (1 - rate);
  for_row_blocks(x.shape[0], x.shape[1], threads, [&](Index first, Index count) {
    for (Index i = first; i < first + count; ++i) {
      drop_row(x.data + i * x.stride[0], x.shape[1], random_at(seed, step, static_cast<std::uint64_t>(i)),
               threshold, scale, y.data + i * y.stride[0]);
    }
  });
}

}  // namespace kith
