// What is asked for beside `out`: that asking changes nothing else, and which blocks were computed for it.
#include "attention/contract.h"

namespace kith {
namespace {

using namespace test;

/// Every output is the same whatever else is asked for.
TEST(Outputs, AskingForOneDoesNotChangeTheRest) {
  for (std::size_t n = 3; n < cases().size(); n += 9) {
    const Case& c = cases()[n];
    with_type(c.dtype, [&]<class T>() {
      const Values v = make_values(c);
      const Call<T> call(c, v);
      AttentionOptions options = all_outputs(c, v);
      const auto all = call.forward(options);
      const Want want = options.want;
      const auto check = [&](const Want& one, const auto& of) {
        options.want = one;
        const auto got = call.forward(options);
        EXPECT_TRUE(same_bits(got.out, all.out)) << replay(c);
        EXPECT_TRUE(same_bits(of(got), of(all))) << replay(c);
      };
      check({}, [](const auto& r) { return r.out; });
      check({.lse = true}, [](const auto& r) { return r.lse; });
      check({.top = want.top}, [](const auto& r) { return r.top_weight; });
      check({.top = want.top}, [](const auto& r) { return r.top_key; });
      check({.entropy = true}, [](const auto& r) { return r.entropy; });
      check({.largest = true}, [](const auto& r) { return r.largest; });
      check({.received = true}, [](const auto& r) { return r.received; });
      check({.position = true}, [](const auto& r) { return r.position; });
      check({.second_moment = true}, [](const auto& r) { return r.second_moment; });
    });
  }
}

/// Every output where its row is merged from three chunks of keys, by whole blocks of queries and by chunks.
template <class T>
void check_chunks(const Case& c) {
  const Values v = make_values(c);
  const Call<T> call(c, v);
  AttentionOptions options = all_outputs(c, v);
  const Flat expected = outputs_of(reference::attend(v.query, v.key, v.value, options));
  const Named plain = plain_outputs<compute_t<T>>(v);
  for (const char* instructions : instruction_sets()) {
    const ForcedInstructionSet forced(instructions);
    for (const int threads : {1, 4}) {
      options.threads = threads;
      const auto result = call.forward(options);
      const Flat got = outputs_of(result);
      for (const char* name : {"out", "lse", "entropy", "largest", "received", "position", "second_moment"}) {
        EXPECT_EQ(disagreement(c, name, got.at(name), expected.at(name), plain.at(name)), "")
            << instructions << ", " << threads << " threads" << replay(c);
      }
      for (Index i = 0; i < c.queries; ++i) {
        EXPECT_EQ(result.top_weight(0, 0, i, 0), result.largest(0, 0, i)) << instructions << replay(c);
      }
    }
  }
}

TEST(Outputs, RowsOfSeveralChunks) {
  for (const char* text : {"N=9 M=4000 D=3 Dv=2 similarity=dot outputs=entropy+largest+top+position+moment",
                           "N=9 M=4000 D=5 Dv=17 similarity=laplace sink=one cap=1.5 mask=causal_end",
                           "N=9 M=4000 D=2 Dv=3 similarity=euclidean mask=ragged bias=alibi"}) {
    Case c = parse(text);
    check_chunks<float>(c);
    c.dtype = Dtype::float64;
    check_chunks<double>(c);
  }
}

/// Three chunks of keys, of which a call with few query blocks makes tasks of their own.
TEST(Outputs, EqualWeightsInDifferentChunksByAscendingKey) {
  constexpr Index kKeys = 5000, kTop = 6;
  Array<float, 4> query({1, 1, 2, 1}), key({1, 1, kKeys, 1}), value({1, 1, kKeys, 1});
  for (float& x : query) x = 1;
  for (const Index j : {4, 1919, 1920, 3839, 3840, 4999}) key(0, 0, j, 0) = 3;
  for (const int threads : {1, 4}) {
    const auto got = attend(query, key, value, {.want = {.top = kTop - 1}, .threads = threads});
    for (Index i = 0; i < 2; ++i) {
      Index rank = 0;
      for (const Index j : {4, 1919, 1920, 3839, 3840}) EXPECT_EQ(got.top_key(0, 0, i, rank++), j);
    }
  }
}

// --- Blocks of 24 queries by 192 keys, counted from each sequence's start, that hold a visible pair.

struct Blocks {
  Index visited = 0, all = 0;
};

Blocks expected_blocks(const Case& c, const Mask& mask) {
  constexpr Index kQueries = 24, kKeys = 192;
  const auto starts = [](const std::vector<Index>& given, Index rows) {
    return given.empty() ? std::vector<Index>{0, rows} : given;
  };
  const std::vector<Index> query = starts(mask.ragged.query, c.queries),
                           key = starts(mask.ragged.key, c.keys);
  Blocks blocks;
  for (Index b = 0; b < c.batch; ++b) {
    for (Index h = 0; h < c.query_heads; ++h) {
      for (std::size_t s = 0; s + 1 < query.size(); ++s) {
        for (Index i0 = query[s]; i0 < query[s + 1]; i0 += kQueries) {
          for (Index j0 = key[s]; j0 < key[s + 1]; j0 += kKeys) {
            bool any = false;
            for (Index i = i0; i < std::min(i0 + kQueries, query[s + 1]) && !any; ++i) {
              for (Index j = j0; j < std::min(j0 + kKeys, key[s + 1]) && !any; ++j) {
                any = reference::visible(mask, b, i, j, h);
              }
            }
            blocks.visited += any ? 1 : 0;
            ++blocks.all;
          }
        }
      }
    }
  }
  return blocks;
}

void expect_blocks(const Case& c, bool some_skipped) {
  const Values v = make_values(c);
  const Blocks expected = expected_blocks(c, v.options.mask);
  const auto got = attend(v.query, v.key, v.value, v.options);
  EXPECT_EQ(got.visited_blocks, expected.visited) << replay(c);
  EXPECT_GE(got.blocks, got.visited_blocks) << replay(c);
  EXPECT_LE(got.blocks, expected.all) << replay(c);
  if (some_skipped) {
    EXPECT_LT(got.visited_blocks, got.blocks) << "nothing to skip" << replay(c);
  }
}

TEST(Outputs, WithoutAMaskEveryBlockIsVisited) {
  const Case c{.batch = 2, .query_heads = 3, .queries = 100, .keys = 500, .depth = 2};
  const Values v = make_values(c);
  const auto got = attend(v.query, v.key, v.value, v.options);
  EXPECT_EQ(got.blocks, 2 * 3 * 5 * 3);
  EXPECT_EQ(got.visited_blocks, got.blocks);
}

TEST(Outputs, BlocksNobodySeesAreNotVisited) {
  using enum MaskPart;
  for (const std::vector<MaskPart>& mask : {std::vector<MaskPart>{causal},
                                            {causal_end},
                                            {causal_early},
                                            {window},
                                            {ragged},
                                            {documents},
                                            {blocks},
                                            {dilated},
                                            {global},
                                            {prefix},
                                            {causal, window},
                                            {ragged, causal},
                                            {ragged, window, key_length}}) {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
      const Case c{.batch = has(mask, ragged) ? 1 : 2,
                   .query_heads = 2,
                   .queries = 700,
                   .keys = 1300,
                   .depth = 2,
                   .mask = mask,
                   .seed = seed};
      // Random numbers may leave nothing to skip; what is drawn for causal and documents always does.
      expect_blocks(c, mask[0] == causal || mask[0] == causal_end || mask[0] == documents || mask.size() > 1);
    }
  }
}

/// The lengths' own shape: what is beyond is no block at all or a block not visited.
TEST(Outputs, BlocksBeyondALengthAreNotVisited) {
  using enum MaskPart;
  for (const MaskPart part : {key_length, query_length}) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      expect_blocks({.batch = 3,
                     .query_heads = 2,
                     .queries = 300,
                     .keys = 900,
                     .depth = 2,
                     .mask = {part},
                     .seed = seed},
                    false);
    }
  }
}

}  // namespace
}  // namespace kith
