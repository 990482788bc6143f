#include "kith/npy.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "array/file.h"
#include "array/npy_format.h"
#include "array/safetensors_header.h"
#include "kith/safetensors.h"

namespace kith {
namespace npy {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the format's numbers are used as they lie in the file");

using safetensors::byte_count;

constexpr std::string_view kMagic = "\x93NUMPY";

std::string described(std::span<const Index> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

/// Bytes of the widest type that an array may be converted to; its size must not overflow then either.
constexpr std::size_t kWidest = 8;

/// Strides in bytes, the first axis contiguous.
std::vector<Index> fortran_strides(std::span<const Index> shape, std::size_t element_size) {
  std::vector<Index> strides;
  auto step = static_cast<Index>(element_size);
  for (const Index extent : shape) {
    strides.push_back(step);
    step *= extent;
  }
  return strides;
}

/// The header's text and, behind it, the data.
std::pair<std::string_view, std::span<const std::byte>> split(std::span<const std::byte> file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (text.substr(0, kMagic.size()) != kMagic.substr(0, text.size()) || text.empty())
    throw Error(text.empty() ? "not a .npy file: it is empty"
                             : "not a .npy file: it does not begin with 0x93 NUMPY");
  const auto need = [&](std::size_t count) {
    if (file.size() < count)
      throw Error(
          fmt::format("truncated: {} bytes come before its data, {} of them are there", count, file.size()));
  };
  need(kMagic.size() + 2);
  const int major = std::to_integer<int>(file[6]), minor = std::to_integer<int>(file[7]);
  if (major < 1 || major > 3 || minor != 0)
    throw Error(fmt::format("format version {}.{}, needs 1.0, 2.0 or 3.0", major, minor));
  const std::size_t width = major == 1 ? 2 : 4;
  const std::size_t begin = kMagic.size() + 2 + width;
  need(begin);
  std::uint32_t length = 0;
  std::memcpy(&length, file.data() + begin - width, width);
  need(begin + length);
  return {text.substr(begin, length), file.subspan(begin + length)};
}

}  // namespace

NpyArray decode(std::span<const std::byte> file) {
  const auto [text, data] = split(file);
  Header header = parse_header(text);
  const std::size_t width = size(header.dtype);
  if (!byte_count(kWidest, header.shape))
    throw Error(fmt::format("damaged: shape {} is too large for any memory", described(header.shape)));
  const std::size_t needed = *byte_count(width, header.shape);
  if (data.size() < needed)
    throw Error(fmt::format("truncated: {} {} has {} bytes, {} of them are there", name(header.dtype),
                            described(header.shape), needed, data.size()));
  if (data.size() > needed)
    throw Error(fmt::format("damaged: {} bytes follow its {} {}", data.size() - needed, name(header.dtype),
                            described(header.shape)));

  NpyArray array;
  array.dtype = header.dtype;
  array.shape = std::move(header.shape);
  array.bytes = Array<std::byte, 1>({static_cast<Index>(needed)});
  if (needed == 0) return array;
  if (header.fortran_order)
    gather(data.data(), array.shape, fortran_strides(array.shape, width), width, array.bytes.data());
  else
    std::memcpy(array.bytes.data(), data.data(), needed);
  if (array.dtype == Dtype::boolean)
    for (std::byte& byte : array.bytes) byte = std::byte{byte != std::byte{0}};
  return array;
}

void gather(const std::byte* source, std::span<const Index> shape, std::span<const Index> stride,
            std::size_t element_size, std::byte* out) {
  if (shape.empty()) {
    std::memcpy(out, source, element_size);
    return;
  }
  const auto extent = static_cast<std::size_t>(shape[0]);
  if (shape.size() == 1 && stride[0] == static_cast<Index>(element_size)) {
    std::memcpy(out, source, extent * element_size);
    return;
  }
  std::size_t step = element_size;
  for (const Index inner : shape.subspan(1)) step *= static_cast<std::size_t>(inner);
  for (std::size_t i = 0; i < extent; ++i, source += stride[0], out += step)
    gather(source, shape.subspan(1), stride.subspan(1), element_size, out);
}

}  // namespace npy

namespace {

/// Calls `use` with a value of the type that `dtype` names.
template <class Use>
void with_type(Dtype dtype, const Use& use) {
  switch (dtype) {
    case Dtype::float32:
      return use(float{});
    case Dtype::float64:
      return use(double{});
    case Dtype::bfloat16:
      return use(bfloat16{});
    case Dtype::float16:
      return use(float16{});
    case Dtype::boolean:
      return use(bool{});
    case Dtype::uint8:
      return use(std::uint8_t{});
    case Dtype::int32:
      return use(std::int32_t{});
    case Dtype::int64:
      return use(std::int64_t{});
  }
}

/// Row-major without gaps. Where an axis has one element its stride is never taken.
bool is_dense(std::span<const Index> shape, std::span<const Index> stride) {
  Index step = 1;
  for (std::size_t axis = shape.size(); axis-- > 0; step *= shape[axis])
    if (shape[axis] != 1 && stride[axis] != step) return false;
  return true;
}

template <class To, class From>
To converted(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != 0;
  } else if constexpr (std::is_same_v<To, bfloat16> || std::is_same_v<To, float16>) {
    return To(static_cast<double>(value));
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace

void NpyArray::require_rank(int most) const {
  if (shape.size() > static_cast<std::size_t>(most))
    throw Error(fmt::format("{}: has {} axes, {}; needs at most {}", path, shape.size(),
                            npy::described(shape), most));
}

void NpyArray::require_dtype(Dtype wanted) const {
  if (dtype != wanted) throw Error(fmt::format("{}: is {}, needs {}", path, name(dtype), name(wanted)));
}

template <class T>
void NpyArray::convert(T* out) const {
  with_type(dtype, [&]<class Stored>(Stored) {
    if constexpr (std::is_integral_v<T> && !std::is_integral_v<Stored>) {
      throw Error(fmt::format("{}: is {}, needs {}", path, name(dtype),
                              std::is_same_v<T, bool> ? "bool or whole numbers" : "whole numbers"));
    } else {
      const auto* const stored = reinterpret_cast<const Stored*>(bytes.data());
      std::transform(stored, stored + static_cast<std::size_t>(bytes.size()) / sizeof(Stored), out,
                     converted<T, Stored>);
    }
  });
}

template void NpyArray::convert(float*) const;
template void NpyArray::convert(double*) const;
template void NpyArray::convert(bfloat16*) const;
template void NpyArray::convert(float16*) const;
template void NpyArray::convert(Index*) const;
template void NpyArray::convert(bool*) const;

NpyArray read_npy(const std::string& path) {
  const FileBytes file = FileBytes::open(path);
  try {
    NpyArray array = npy::decode(file.bytes());
    array.path = path;
    return array;
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", path, error.what()));
  }
}

void write_npy(const std::string& path, Dtype dtype, std::span<const Index> shape,
               std::span<const Index> stride, const void* data) {
  const auto fail = [&](const std::string& what) {
    throw Error(fmt::format("cannot write {}: {}", path, what));
  };
  const std::size_t width = size(dtype);
  const auto count = safetensors::byte_count(width, shape);
  if (!count) fail(fmt::format("shape {} is not a shape", npy::described(shape)));
  if (shape.size() > npy::kMaxRank)
    fail(fmt::format("shape {} has more than {} axes", npy::described(shape), npy::kMaxRank));
  if (shape.size() != stride.size())
    fail(fmt::format("shape {} has {} strides", npy::described(shape), stride.size()));
  if (*count > 0 && data == nullptr) fail(fmt::format("shape {} has no data", npy::described(shape)));

  std::span<const std::byte> bytes(static_cast<const std::byte*>(data), *count);
  std::vector<std::byte> dense;
  if (*count > 0 && !is_dense(shape, stride)) {
    dense.resize(*count);
    std::vector<Index> steps(stride.begin(), stride.end());
    for (Index& step : steps) step *= static_cast<Index>(width);
    npy::gather(bytes.data(), shape, steps, width, dense.data());
    bytes = dense;
  }
  const std::string header = npy::render(dtype, shape);
  write_file_atomically(path, std::array{std::as_bytes(std::span(header)), bytes});
}

}  // namespace kith
