// ONNX's node tests: a folder holds model.onnx, one node, and test_data_set_0, the node's inputs and what it
// has to give for them.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kith/dtype.h"
#include "kith/error.h"
#include "kith/view.h"

namespace kith::test::onnx {

/// A TensorProto. Its elements lie row-major in `bytes`, as this machine holds them.
struct Tensor {
  std::string name;
  Dtype dtype = Dtype::float32;
  std::vector<Index> shape;
  std::string bytes;

  /// The elements; kith::Error if they are not of type T.
  template <class T>
  Array<T, 1> values() const;
};

struct Graph;

/// An AttributeProto; only the member that belongs to its kind is set.
struct Attribute {
  std::optional<float> number;
  std::optional<std::int64_t> integer;
  std::vector<Graph> graph;  ///< one element, or none: Graph is incomplete here
};

/// A NodeProto. An optional input or output that is left out has an empty name.
struct Node {
  std::string op;
  std::string domain;
  std::vector<std::string> inputs, outputs;
  std::map<std::string, Attribute> attributes;

  std::optional<float> number(const std::string& attribute) const;
  std::optional<std::int64_t> integer(const std::string& attribute) const;
  /// Null where the node has no such attribute.
  const Graph* graph(const std::string& attribute) const;
};

/// A GraphProto.
struct Graph {
  std::vector<Node> nodes;
  std::vector<Tensor> constants;
  std::vector<std::string> inputs, outputs;
};

struct Case {
  std::string name;
  Node node;
  std::map<std::string, Tensor> inputs, outputs;

  /// The node's input or output in that place of its signature; null where it is left out.
  const Tensor* input(std::size_t place) const;
  const Tensor* output(std::size_t place) const;
};

/// kith::Error for a file that is damaged or holds what this reader does not know.
Tensor read_tensor(std::string_view tensor_proto);
Graph read_model(std::string_view model_proto);
Case load_case(const std::filesystem::path& folder);

/// Names in `folder` that start with `prefix`, sorted, without those that spell an operator out in smaller
/// ones
/// (`_expanded`). kith::Error if there is no such folder.
std::vector<std::string> case_names(const std::filesystem::path& folder, std::string_view prefix);

namespace internal {
void check_dtype(const Tensor& tensor, Dtype needed);
}

template <class T>
Array<T, 1> Tensor::values() const {
  internal::check_dtype(*this, dtype_of<T>());
  Array<T, 1> result({static_cast<Index>(bytes.size() / sizeof(T))});
  if (!bytes.empty()) std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

}  // namespace kith::test::onnx
