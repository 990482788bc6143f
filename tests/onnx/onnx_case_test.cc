#include "onnx/onnx_case.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "onnx/cases_folder.h"

namespace kith::test::onnx {
namespace {

using namespace std::string_view_literals;

std::string complaint(std::string_view tensor_proto) {
  try {
    read_tensor(tensor_proto);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(OnnxCase, ReadsRawTensors) {
  const Tensor tensor =
      read_tensor("\x08\x01\x08\x02\x10\x01\x42\x01Q\x4a\x08\x00\x00\x80\x3f\x00\x00\x00\xc0"sv);
  EXPECT_EQ(tensor.name, "Q");
  EXPECT_EQ(tensor.dtype, Dtype::float32);
  EXPECT_EQ(tensor.shape, (std::vector<Index>{1, 2}));
  const auto values = tensor.values<float>();
  EXPECT_EQ(values(0), 1.0F);
  EXPECT_EQ(values(1), -2.0F);
  EXPECT_THROW(tensor.values<double>(), Error);
}

TEST(OnnxCase, ReadsTypedTensors) {
  // dims packed; one int64 of -1 in ten bytes, one of 3 outside the packed run.
  const Tensor integers =
      read_tensor("\x0a\x01\x02\x10\x07\x3a\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x38\x03"sv);
  EXPECT_EQ(integers.values<std::int64_t>()(0), -1);
  EXPECT_EQ(integers.values<std::int64_t>()(1), 3);
  const Tensor floats = read_tensor("\x08\x02\x10\x01\x22\x04\x00\x00\x80\x3f\x25\x00\x00\x00\xc0"sv);
  EXPECT_EQ(floats.values<float>()(0), 1.0F);
  EXPECT_EQ(floats.values<float>()(1), -2.0F);
  const Tensor half = read_tensor("\x08\x01\x10\x0a\x2a\x02\x80\x78"sv);
  EXPECT_EQ(static_cast<float>(half.values<float16>()(0)), 1.0F);
  const Tensor truth = read_tensor("\x08\x02\x10\x09\x2a\x02\x00\x01"sv);
  EXPECT_FALSE(truth.values<bool>()(0));
  EXPECT_TRUE(truth.values<bool>()(1));
  const Tensor wide = read_tensor("\x10\x0b\x52\x08\x00\x00\x00\x00\x00\x00\xf0\x3f"sv);
  EXPECT_EQ(wide.values<double>()(0), 1.0);
  EXPECT_TRUE(wide.shape.empty());
}

TEST(OnnxCase, RefusesTensorsThatDoNotFit) {
  EXPECT_EQ(complaint("\x08\x02"sv), "data_type: is missing; needs one");
  EXPECT_EQ(complaint("\x08\x02\x10\x01\x4a\x04\x00\x00\x80\x3f"sv),
            "data: 4 bytes; needs 2 elements of 4 bytes");
  EXPECT_EQ(complaint("\x08\x01\x10\x01\x4a\x05\x00\x00\x80\x3f\x00"sv),
            "data: 5 bytes; needs 1 elements of 4 bytes");
  EXPECT_EQ(complaint("\x08\x01\x10\x09\x4a\x01\x02"sv), "data: a bool is neither 0 nor 1");
  EXPECT_NE(complaint("\x08\x01\x10\x06"sv).find("data_type: 6; needs"), std::string::npos);
  EXPECT_NE(complaint("\x10\x01\x6a\x00"sv).find("external_data"), std::string::npos);
  // 2^62 twice: the product does not fit; nor is a negative extent one.
  EXPECT_NE(
      complaint("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x40\x08\x80\x80\x80\x80\x80\x80\x80\x80\x40\x10\x01"sv)
          .find("dims: "),
      std::string::npos);
  EXPECT_NE(complaint("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x01"sv).find("dims: -1"),
            std::string::npos);
}

TEST(OnnxCase, RefusesModelsOfWhichItUnderstandsNothing) {
  EXPECT_THROW(read_model(""), Error);
  EXPECT_THROW(read_model("\x08\x0d"sv), Error);
  // Graphs within attributes within nodes within graphs, without end.
  std::string graph;
  for (int depth = 0; depth < 8; ++depth) {
    for (const char tag : {'\x32', '\x2a', '\x0a'})
      graph = std::string{tag, static_cast<char>(graph.size())} + graph;
  }
  EXPECT_THROW(read_model(std::string{'\x3a', static_cast<char>(graph.size())} + graph), Error);
}

using OnnxFetchedCase = FetchedCases;

TEST_F(OnnxFetchedCase, ReadsEveryFetchedCase) {
  std::size_t read = 0;
  for (const auto& [prefix, op, count] : {std::tuple{"test_attention_", "Attention", 64U},
                                          std::tuple{"test_rotary_embedding", "RotaryEmbedding", 8U},
                                          std::tuple{"test_flexattention", "FlexAttention", 11U}}) {
    const std::vector<std::string> names = case_names(cases_folder(), prefix);
    EXPECT_EQ(names.size(), count) << prefix;
    for (const std::string& name : names) {
      const Case c = load_case(cases_folder() / name);
      EXPECT_EQ(c.name, name);
      EXPECT_EQ(c.node.op, op);
      EXPECT_NE(c.output(0), nullptr);
      for (std::size_t place = 0; place < 3; ++place) {
        ASSERT_NE(c.input(place), nullptr) << name;
        EXPECT_EQ(c.input(place)->name, c.node.inputs[place]);
      }
      ++read;
    }
  }
  EXPECT_EQ(read, 83U);
}

TEST_F(OnnxFetchedCase, FindsInputsAndOutputsByPlaceWhereOthersAreLeftOut) {
  const Case padded = load_case(cases_folder() / "test_attention_4d_diff_heads_mask4d_padded_kv");
  EXPECT_EQ(padded.node.inputs.size(), 7U);
  EXPECT_EQ(padded.input(4), nullptr);
  EXPECT_EQ(padded.input(7), nullptr);
  ASSERT_NE(padded.input(6), nullptr);
  EXPECT_EQ(padded.input(6)->values<std::int64_t>()(0), 3);
  EXPECT_EQ(padded.input(3)->shape, (std::vector<Index>{2, 3, 4, 4}));
  const Case inspected = load_case(cases_folder() / "test_attention_4d_with_qk_matmul_softcap");
  EXPECT_EQ(inspected.output(1), nullptr);
  ASSERT_NE(inspected.output(3), nullptr);
  EXPECT_EQ(inspected.output(3)->shape, (std::vector<Index>{2, 3, 4, 6}));
  EXPECT_EQ(inspected.node.number("softcap"), 2.0F);
  EXPECT_EQ(inspected.node.integer("qk_matmul_output_mode"), 1);
  EXPECT_EQ(inspected.node.number("scale"), std::nullopt);
}

TEST_F(OnnxFetchedCase, ReadsAModifiersGraph) {
  const Case c = load_case(cases_folder() / "test_flexattention_soft_cap");
  const Graph* modifier = c.node.graph("score_mod");
  ASSERT_NE(modifier, nullptr);
  ASSERT_EQ(modifier->nodes.size(), 3U);
  EXPECT_EQ(modifier->nodes[1].op, "Tanh");
  ASSERT_EQ(modifier->constants.size(), 1U);
  EXPECT_EQ(modifier->constants[0].values<float>()(0), 20.0F);
  EXPECT_EQ(c.node.graph("prob_mod"), nullptr);
  EXPECT_EQ(c.node.domain, "ai.onnx.preview");
}

TEST(OnnxCase, NamesAMissingFolderAndADamagedFile) {
  EXPECT_THROW(case_names("/no/such/folder", "test_"), Error);
  try {
    load_case("/no/such/folder/test_x");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "/no/such/folder/test_x/model.onnx: not readable");
  }
}

}  // namespace
}  // namespace kith::test::onnx
