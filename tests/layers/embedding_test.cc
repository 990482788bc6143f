#include "kith/layers/embedding.h"

#include "layers/check.h"

namespace kith {
namespace {

TEST(Embedding, PicksRowsAndAddsUpTheirGradients) {
  for (const Index width : {1, 5, 130}) {
    Random random(2);
    Embedding layer("city", 4, width, random);
    EXPECT_EQ(layer.parameters()[0]->name, "city.table");
    // Level 3 is not there, 4 and beyond the table does not know.
    const std::vector<std::uint32_t> code{2, 0, 2, 4, 1, 4000000000U, 2};
    const Floats d_y = random_floats(7, width, 3);
    Gapped y(7, width);
    layer.forward(code, y.view);
    layer.backward(code, d_y);
    Doubles want({7, width}), slope({4, width});
    for (Index i = 0; i < 7; ++i) {
      const Index level = code[static_cast<std::size_t>(i)];
      for (Index c = 0; c < width && level < 4; ++c) {
        want(i, c) = static_cast<double>(layer.table.value(level, c));
        slope(level, c) += static_cast<double>(d_y(i, c));
      }
    }
    expect_near(y.view, want, 0, "y");
    EXPECT_TRUE(y.guards_stand());
    expect_near(layer.table.gradient, slope, 4, "d_table");
  }
}

TEST(Embedding, HasTheSameBitsOnAnyNumberOfThreads) {
  const Floats d_y = random_floats(3000, 150, 3);
  std::vector<std::uint32_t> code(3000);
  Random random(8);
  for (std::uint32_t& c : code) c = static_cast<std::uint32_t>(random.below(20));
  expect_same_bits([&](int threads) {
    Random start(2);
    Embedding layer("a", 18, 150, start);
    Floats y({3000, 150});
    layer.forward(code, y, threads);
    layer.backward(code, d_y, threads);
    std::vector<float> all;
    append(all, y);
    append(all, layer.table.gradient);
    return all;
  });
}

TEST(Embedding, TakesNoRowsAndSaysWhatDoesNotFit) {
  Random random(2);
  Embedding layer("a", 4, 3, random);
  Floats none({0, 3}), y({2, 3});
  layer.forward({}, none);
  layer.backward({}, none);
  const std::vector<std::uint32_t> code{1, 2, 3};
  expect_error([&] { layer.forward(code, y); }, "Embedding: y: got shape [2, 3], needs [3, 3]");
  expect_error([&] { layer.backward(code, y); }, "Embedding: d_y: got shape [2, 3], needs [3, 3]");
}

}  // namespace
}  // namespace kith
