#include "onnx/onnx_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <iterator>
#include <limits>
#include <utility>

#include "onnx/protobuf.h"

// The numbers of fields, kinds and types below are those of onnx.proto3 in the ONNX repository.

namespace kith::test::onnx {
namespace {

using protobuf::Field;
using protobuf::Reader;
using protobuf::Type;

static_assert(std::endian::native == std::endian::little, "ONNX stores raw data in little-endian order");

Dtype dtype_from(std::uint64_t code) {
  switch (code) {
    case 1:
      return Dtype::float32;
    case 7:
      return Dtype::int64;
    case 9:
      return Dtype::boolean;
    case 10:
      return Dtype::float16;
    case 11:
      return Dtype::float64;
    case 16:
      return Dtype::bfloat16;
    default:
      throw Error(
          fmt::format("data_type: {}; needs 1 (float32), 7 (int64), 9 (bool), 10 (float16), 11 (float64) or "
                      "16 (bfloat16)",
                      code));
  }
}

void append(std::string& bytes, std::uint64_t value, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i) bytes.push_back(static_cast<char>(value >> 8 * i & 0xff));
}

/// A repeated field's varints: one in a field of its own, or many packed.
std::vector<std::uint64_t> varints(const Field& field) {
  if (field.type == Type::varint) return {field.value};
  std::vector<std::uint64_t> values;
  for (Reader packed(field.text()); !packed.done();) values.push_back(packed.varint());
  return values;
}

/// The same for fixed-width values, which packed are raw bytes already.
void append_fixed(std::string& bytes, const Field& field, std::size_t width) {
  if (field.type == Type::bytes)
    bytes.append(field.bytes);
  else
    append(bytes, field.value, width);
}

Index element_count(const std::vector<Index>& shape) {
  Index count = 1;
  for (const Index extent : shape) {
    if (extent < 0 || (extent != 0 && count > std::numeric_limits<Index>::max() / extent))
      throw Error(fmt::format("dims: {} after {} elements; needs counts whose product an index can hold",
                              extent, count));
    count *= extent;
  }
  return count;
}

std::string read_value_name(std::string_view value_info) {
  for (Reader reader(value_info); !reader.done();) {
    const Field field = reader.next();
    if (field.number == 1) return std::string(field.text());
  }
  return {};
}

// Graphs lie within attributes and attributes within graphs; ONNX's tests go one graph deep within the
// model's.
constexpr int kDeepest = 4;
Graph read_graph(std::string_view graph_proto, int depth);

std::pair<std::string, Attribute> read_attribute(std::string_view attribute_proto, int depth) {
  std::string name;
  Attribute attribute;
  for (Reader reader(attribute_proto); !reader.done();) {
    const Field field = reader.next();
    if (field.number == 1) name = field.text();
    if (field.number == 2) attribute.number = field.fixed_float();
    if (field.number == 3) attribute.integer = static_cast<std::int64_t>(field.varint());
    if (field.number == 6) attribute.graph = {read_graph(field.text(), depth + 1)};
  }
  return {std::move(name), std::move(attribute)};
}

Node read_node(std::string_view node_proto, int depth) {
  Node node;
  for (Reader reader(node_proto); !reader.done();) {
    const Field field = reader.next();
    if (field.number == 1) node.inputs.emplace_back(field.text());
    if (field.number == 2) node.outputs.emplace_back(field.text());
    if (field.number == 4) node.op = field.text();
    if (field.number == 5) node.attributes.insert(read_attribute(field.text(), depth));
    if (field.number == 7) node.domain = field.text();
  }
  return node;
}

Graph read_graph(std::string_view graph_proto, int depth) {
  if (depth > kDeepest) throw Error(fmt::format("graph: lies {} deep; needs at most {}", depth, kDeepest));
  Graph graph;
  for (Reader reader(graph_proto); !reader.done();) {
    const Field field = reader.next();
    if (field.number == 1) graph.nodes.push_back(read_node(field.text(), depth));
    if (field.number == 5) graph.constants.push_back(read_tensor(field.text()));
    if (field.number == 11) graph.inputs.push_back(read_value_name(field.text()));
    if (field.number == 12) graph.outputs.push_back(read_value_name(field.text()));
  }
  return graph;
}

std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(in), {});
  if (!in.is_open() || in.bad()) throw Error(fmt::format("{}: not readable", path.native()));
  return bytes;
}

/// Runs `read` on a file's bytes and puts the file's name before what it says.
template <class Read>
auto read_file(const std::filesystem::path& path, Read read) {
  const std::string bytes = read_bytes(path);
  try {
    return read(std::string_view(bytes));
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", path.native(), error.what()));
  }
}

/// The data set holds values for the names alone that are not left out, in their order.
std::map<std::string, Tensor> load_values(const std::filesystem::path& folder, std::string_view kind,
                                          const std::vector<std::string>& names) {
  std::map<std::string, Tensor> values;
  for (std::size_t i = 0; i < names.size(); ++i)
    values[names[i]] = read_file(folder / fmt::format("{}_{}.pb", kind, i), read_tensor);
  return values;
}

const Tensor* find(const std::map<std::string, Tensor>& values, const std::vector<std::string>& names,
                   std::size_t place) {
  if (place >= names.size() || names[place].empty()) return nullptr;
  const auto found = values.find(names[place]);
  return found == values.end() ? nullptr : &found->second;
}

const Attribute* find(const Node& node, const std::string& name) {
  const auto found = node.attributes.find(name);
  return found == node.attributes.end() ? nullptr : &found->second;
}

}  // namespace

std::optional<float> Node::number(const std::string& attribute) const {
  const Attribute* found = find(*this, attribute);
  return found ? found->number : std::nullopt;
}

std::optional<std::int64_t> Node::integer(const std::string& attribute) const {
  const Attribute* found = find(*this, attribute);
  return found ? found->integer : std::nullopt;
}

const Graph* Node::graph(const std::string& attribute) const {
  const Attribute* found = find(*this, attribute);
  return found && !found->graph.empty() ? found->graph.data() : nullptr;
}

const Tensor* Case::input(std::size_t place) const { return find(inputs, node.inputs, place); }
const Tensor* Case::output(std::size_t place) const { return find(outputs, node.outputs, place); }

Tensor read_tensor(std::string_view tensor_proto) {
  Tensor tensor;
  std::optional<Dtype> dtype;
  std::vector<std::uint64_t> small, wide;
  for (Reader reader(tensor_proto); !reader.done();) {
    const Field field = reader.next();
    switch (field.number) {
      case 1:
        for (const std::uint64_t extent : varints(field)) tensor.shape.push_back(static_cast<Index>(extent));
        break;
      case 2:
        dtype = dtype_from(field.varint());
        break;
      case 4:
        append_fixed(tensor.bytes, field, sizeof(float));
        break;
      case 5:
        for (const std::uint64_t value : varints(field)) small.push_back(value);
        break;
      case 7:
        for (const std::uint64_t value : varints(field)) wide.push_back(value);
        break;
      case 8:
        tensor.name = field.text();
        break;
      case 9:
        tensor.bytes.append(field.text());
        break;
      case 10:
        append_fixed(tensor.bytes, field, sizeof(double));
        break;
      case 13:
        throw Error("external_data: the elements lie in another file; needs them in this one");
      default:
        break;
    }
  }
  if (!dtype) throw Error("data_type: is missing; needs one");
  tensor.dtype = *dtype;
  // 16-bit floats and booleans are stored as varints of 32 bits where they are not raw.
  for (const std::uint64_t value : small) append(tensor.bytes, value, size(tensor.dtype));
  for (const std::uint64_t value : wide) append(tensor.bytes, value, sizeof(std::int64_t));

  const auto count = static_cast<std::size_t>(element_count(tensor.shape));
  const std::size_t width = size(tensor.dtype);
  if (tensor.bytes.size() % width != 0 || tensor.bytes.size() / width != count)
    throw Error(
        fmt::format("data: {} bytes; needs {} elements of {} bytes", tensor.bytes.size(), count, width));
  if (tensor.dtype == Dtype::boolean &&
      std::any_of(tensor.bytes.begin(), tensor.bytes.end(), [](char c) { return c != 0 && c != 1; }))
    throw Error("data: a bool is neither 0 nor 1");
  return tensor;
}

Graph read_model(std::string_view model_proto) {
  for (Reader reader(model_proto); !reader.done();) {
    const Field field = reader.next();
    if (field.number == 7) return read_graph(field.text(), 0);
  }
  throw Error("graph: is missing; needs one");
}

Case load_case(const std::filesystem::path& folder) {
  Graph graph = read_file(folder / "model.onnx", read_model);
  if (graph.nodes.size() != 1)
    throw Error(fmt::format("{}: {} nodes; needs 1", (folder / "model.onnx").native(), graph.nodes.size()));
  const std::filesystem::path data = folder / "test_data_set_0";
  if (std::filesystem::exists(folder / "test_data_set_1"))
    throw Error(fmt::format("{}: several data sets; needs one", folder.native()));
  return {.name = folder.filename().native(),
          .node = std::move(graph.nodes[0]),
          .inputs = load_values(data, "input", graph.inputs),
          .outputs = load_values(data, "output", graph.outputs)};
}

std::vector<std::string> case_names(const std::filesystem::path& folder, std::string_view prefix) {
  if (!std::filesystem::is_directory(folder)) throw Error(fmt::format("{}: no such folder", folder.native()));
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::string name = entry.path().filename().native();
    if (name.starts_with(prefix) && name.find("_expanded") == std::string::npos)
      names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

void internal::check_dtype(const Tensor& tensor, Dtype needed) {
  if (tensor.dtype != needed)
    throw Error(fmt::format("{}: {}; needs {}", tensor.name, name(tensor.dtype), name(needed)));
}

}  // namespace kith::test::onnx
