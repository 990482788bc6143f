// Masks as text, and masks made of masks.
#include <gtest/gtest.h>

#include <limits>
#include <memory>

#include "attention/geometry.h"
#include "attention/mask_plan.h"
#include "kith/mask.h"

namespace kith {
namespace {

TEST(DescribeMask, Textbook) {
  EXPECT_EQ(describe({}, 2, 3), "###\n###\n");
  EXPECT_EQ(describe(causal(), 4, 4),
            "#...\n"
            "##..\n"
            "###.\n"
            "####\n");
  EXPECT_EQ(describe(causal(2), 2, 5),
            "###..\n"
            "####.\n");
  EXPECT_EQ(describe(prefix_causal({2}), 4, 4),
            "##..\n"
            "##..\n"
            "###.\n"
            "####\n");
  EXPECT_EQ(describe(window(1, 1), 5, 5),
            "##...\n"
            "###..\n"
            ".###.\n"
            "..###\n"
            "...##\n");
  EXPECT_EQ(describe(causal() & window(1, 0), 4, 4),
            "#...\n"
            "##..\n"
            ".##.\n"
            "..##\n");
  EXPECT_EQ(describe(exclude_self(), 3, 3),
            ".##\n"
            "#.#\n"
            "##.\n");
  const Mask padding = key_lengths({4, 2}) & query_lengths({3, 2});
  EXPECT_EQ(describe(padding, 3, 4, 64, 0),
            "####\n"
            "####\n"
            "####\n");
  EXPECT_EQ(describe(padding, 3, 4, 64, 1),
            "##..\n"
            "##..\n"
            "....\n");
}

TEST(DescribeMask, BlockPatterns) {
  EXPECT_EQ(describe(dilated(6, 6, 1, 2, 1), 6, 6),
            "#.#...\n"
            ".#.#..\n"
            "#.#.#.\n"
            ".#.#.#\n"
            "..#.#.\n"
            "...#.#\n");
  EXPECT_EQ(describe(global_tokens(6, 6, 1, 1, 1), 6, 6),
            "######\n"
            "###...\n"
            "####..\n"
            "#.###.\n"
            "#..###\n"
            "#...##\n");
  // Blocks of two, the last one of a single row or key.
  EXPECT_EQ(describe(dilated(5, 7, 2, 1, 0), 5, 7),
            "##.....\n"
            "##.....\n"
            "..##...\n"
            "..##...\n"
            "....##.\n");
  BlockMap map{2, 3, Array<bool, 4>({1, 2, 2, 2})};
  map.allowed(0, 0, 0, 1) = map.allowed(0, 0, 1, 0) = map.allowed(0, 1, 0, 0) = true;
  const Mask sparse = block_map(std::move(map));
  EXPECT_EQ(describe(sparse, 4, 6),
            "...###\n"
            "...###\n"
            "###...\n"
            "###...\n");
  EXPECT_EQ(describe(sparse, 4, 6, 64, 0, 1),
            "###...\n"
            "###...\n"
            "......\n"
            "......\n");
}

TEST(DescribeMask, CellsStandForBlocksWhereThereAreMany) {
  EXPECT_EQ(describe(causal(), 8, 8, 4),
            "+...\n"
            "#+..\n"
            "##+.\n"
            "###+\n");
  EXPECT_EQ(describe(window(2, 2), 100, 100, 5),
            "++...\n"
            "+++..\n"
            ".+++.\n"
            "..+++\n"
            "...++\n");
  EXPECT_EQ(describe(causal(), 2, 10, 5),  // queries are few enough to have a line each
            "+....\n"
            "#....\n");
}

TEST(DescribeMask, SequencesAndEmptySizes) {
  const Mask packed = ragged({0, 2, 5}, {0, 3, 4}) & causal();
  EXPECT_EQ(describe(packed, 5, 4, 64, 0),
            "#..\n"
            "##.\n");
  EXPECT_EQ(describe(packed, 5, 4, 64, 1),
            "#\n"
            "#\n"
            "#\n");
  EXPECT_EQ(describe(causal(), 0, 3), "");
  EXPECT_EQ(describe(causal(), 2, 0), "\n\n");
  EXPECT_EQ(describe(causal(), 2, 2, 64, 7, 9), "#.\n##\n");  // alike in every row and head
}

TEST(ComposedMasks, KeepEveryPart) {
  Array<std::int64_t, 2> ids({1, 4});
  Array<double, 2> stamps({1, 4});
  Array<bool, 4> allow({1, 1, 4, 4});
  const View<const std::int64_t, 2> id = ids;
  const View<const double, 2> stamp = stamps;
  const Mask parts[] = {
      causal(1),          exclude_self(2),        {.first_key = 1},     key_lengths({3}),
      query_lengths({2}), {.prefix = {2}},        window(1, 2, 3),      ragged({0, 4}, {0, 4}),
      documents(id, id),  exclude_groups(id, id), before(stamp, stamp), dilated(4, 4, 1, 1, 1),
      allowed(allow)};
  Mask forward, backward;
  for (const Mask& part : parts) {
    forward = forward & part;
    backward = part & backward;
    forward = forward & forward;  // the same part twice is no conflict
  }
  for (const Mask& mask : {forward, backward}) {
    EXPECT_EQ(mask.causal_offset, 1);
    EXPECT_EQ(mask.self_offset, 2);
    EXPECT_EQ(mask.first_key, 1);
    EXPECT_EQ(mask.key_length, std::vector<Index>{3});
    EXPECT_EQ(mask.query_length, std::vector<Index>{2});
    EXPECT_EQ(mask.prefix, std::vector<Index>{2});
    EXPECT_EQ(mask.window, (Window{1, 2, 3}));
    EXPECT_EQ(mask.ragged, (Ragged{{0, 4}, {0, 4}}));
    EXPECT_EQ(mask.documents.key.data, id.data);
    EXPECT_EQ(mask.groups.query.data, id.data);
    EXPECT_EQ(mask.times.key.data, stamp.data);
    ASSERT_NE(mask.blocks, nullptr);
    EXPECT_EQ(mask.blocks->key_block, 1);
    EXPECT_EQ(mask.allowed.data, allow.data());
  }
  EXPECT_NO_THROW(static_cast<void>(dilated(4, 4, 1, 1, 1) & dilated(4, 4, 1, 1, 1)));
}

}  // namespace
}  // namespace kith
