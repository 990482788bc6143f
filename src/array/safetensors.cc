#include "kith/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <utility>

#include "array/file.h"
#include "array/safetensors_header.h"

namespace kith {
namespace {

using safetensors::element_size;
using safetensors::show_name;

template <class T>
constexpr const char* kDtype = nullptr;
template <>
constexpr const char* kDtype<float> = "F32";
template <>
constexpr const char* kDtype<double> = "F64";
template <>
constexpr const char* kDtype<std::int64_t> = "I64";
template <>
constexpr const char* kDtype<std::uint32_t> = "U32";
template <>
constexpr const char* kDtype<std::uint8_t> = "U8";

std::string described(const std::string& dtype, const std::vector<Index>& shape) {
  return fmt::format("{} [{}]", dtype, fmt::join(shape, ", "));
}

}  // namespace

template <class T>
TensorEntry tensor_entry(std::string name, std::vector<Index> shape, const T* data) {
  const auto size = safetensors::byte_count(sizeof(T), shape);
  if (!size)
    throw Error(fmt::format("tensor {}: shape [{}] is not a shape", show_name(name), fmt::join(shape, ", ")));
  return {std::move(name), kDtype<T>, std::move(shape), {reinterpret_cast<const std::byte*>(data), *size}};
}

void write_safetensors(const std::string& path, const std::vector<TensorEntry>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  // Wide elements first: each tensor is then aligned to its element without the gaps that the format forbids.
  std::vector<const TensorEntry*> order;
  for (const TensorEntry& entry : tensors) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(), [](const TensorEntry* a, const TensorEntry* b) {
    return element_size(a->dtype) > element_size(b->dtype);
  });

  std::vector<safetensors::TensorPlan> plan;
  std::vector<std::span<const std::byte>> parts(1);
  for (const TensorEntry* entry : order) {
    const auto fail = [&](const std::string& what) {
      throw Error(fmt::format("cannot write {}: tensor {}: {}", path, show_name(entry->name), what));
    };
    const std::size_t width = element_size(entry->dtype);
    const auto size = safetensors::byte_count(width, entry->shape);
    if (width == 0) fail(fmt::format("unknown dtype {}", show_name(entry->dtype)));
    if (!size || *size != entry->bytes.size())
      fail(fmt::format("got {} bytes for {}", entry->bytes.size(), described(entry->dtype, entry->shape)));
    if (entry->name == "__metadata__") fail("the name is the format's own");
    for (const auto& before : plan)
      if (before.name == entry->name) fail("is given twice");
    plan.push_back({entry->name, entry->dtype, entry->shape, *size});
    parts.push_back(entry->bytes);
  }

  std::string header;
  try {
    header = safetensors::render(plan, metadata);
  } catch (const Error& error) {
    throw Error(fmt::format("cannot write {}: {}", path, error.what()));
  }
  safetensors::fill_checksum(header, safetensors::checksum(header, std::span(parts).subspan(1)));
  parts[0] = std::as_bytes(std::span(header.data(), header.size()));
  write_file_atomically(path, parts);
}

struct SafetensorsFile::Impl {
  std::string path;
  FileBytes file;
  safetensors::Contents contents;
  std::vector<Array<std::uint8_t, 1>> copies;  ///< tensors that lie unaligned in the file.

  const safetensors::TensorInfo& at(const std::string& name) const {
    if (const auto found = contents.tensors.find(name); found != contents.tensors.end()) return found->second;
    throw Error(fmt::format("{}: has no tensor {}", path, show_name(name)));
  }

  void align() {
    for (auto& [name, tensor] : contents.tensors) {
      const auto address = reinterpret_cast<std::uintptr_t>(tensor.bytes.data());
      if (tensor.bytes.empty() || address % element_size(tensor.dtype) == 0) continue;
      auto& copy = copies.emplace_back(Shape<1>{static_cast<Index>(tensor.bytes.size())});
      std::memcpy(copy.data(), tensor.bytes.data(), tensor.bytes.size());
      tensor.bytes = std::as_bytes(std::span(copy.data(), tensor.bytes.size()));
    }
  }
};

SafetensorsFile SafetensorsFile::open(const std::string& path, bool verify) {
  const auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->file = FileBytes::open(path);
  try {
    impl->contents = safetensors::parse(impl->file.bytes(), verify);
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", path, error.what()));
  }
  impl->align();
  SafetensorsFile result;
  result.impl_ = impl;
  return result;
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return impl_->contents.metadata;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : impl_->contents.tensors) names.push_back(name);
  return names;
}

bool SafetensorsFile::contains(const std::string& name) const {
  return impl_->contents.tensors.contains(name);
}

const std::vector<Index>& SafetensorsFile::shape(const std::string& name) const {
  return impl_->at(name).shape;
}

std::string SafetensorsFile::dtype(const std::string& name) const { return impl_->at(name).dtype; }

template <class T, int R>
View<const T, R> SafetensorsFile::tensor(const std::string& name) const {
  const safetensors::TensorInfo& info = impl_->at(name);
  if (info.dtype != kDtype<T> || info.shape.size() != R)
    throw Error(fmt::format("{}: tensor {} is {}, needs {} with {} {}", impl_->path, show_name(name),
                            described(info.dtype, info.shape), kDtype<T>, R, R == 1 ? "axis" : "axes"));
  Shape<R> shape{};
  std::copy(info.shape.begin(), info.shape.end(), shape.begin());
  return {reinterpret_cast<const T*>(info.bytes.data()), shape};
}

#define KITH_INSTANTIATE(T)                                                               \
  template TensorEntry tensor_entry<T>(std::string, std::vector<Index>, const T*);        \
  template View<const T, 1> SafetensorsFile::tensor<T, 1>(const std::string& name) const; \
  template View<const T, 2> SafetensorsFile::tensor<T, 2>(const std::string& name) const; \
  template View<const T, 3> SafetensorsFile::tensor<T, 3>(const std::string& name) const; \
  template View<const T, 4> SafetensorsFile::tensor<T, 4>(const std::string& name) const;
KITH_INSTANTIATE(float)
KITH_INSTANTIATE(double)
KITH_INSTANTIATE(std::int64_t)
KITH_INSTANTIATE(std::uint32_t)
KITH_INSTANTIATE(std::uint8_t)
#undef KITH_INSTANTIATE

}  // namespace kith
