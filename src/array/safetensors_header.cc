#include "array/safetensors_header.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

namespace kith::safetensors {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the format's numbers are used as they lie in the file");

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMaxHeader = 100'000'000;  // the format's own limit
constexpr std::size_t kAlignment = 64;

// The checksum always lies at the same place, so it is found without searching. The second key is there
// because one damaged byte in the first one's name would otherwise make a file look as if it never had a
// checksum.
constexpr std::string_view kPrefix = "kith.";
constexpr std::string_view kChecksumKey = "kith.checksum";
constexpr std::string_view kKindKey = "kith.checksum_kind";
constexpr std::string_view kKind = "XXH3-64";
constexpr std::string_view kBeforeChecksum = R"({"__metadata__":{"kith.checksum":")";
constexpr std::string_view kNoChecksum = "0000000000000000";

[[noreturn]] void foreign(const std::string& what) { throw Error("not a safetensors file: " + what); }
[[noreturn]] void damaged(const std::string& what) { throw Error("damaged: " + what); }

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Range {
  std::size_t begin = 0, end = 0;
};
struct RawTensor {
  TensorInfo info;
  std::optional<Range> range;
  bool has_shape = false;
};

/// Takes the parser's events in the only order that makes a header. Nothing deeper than three levels is ever
/// entered, so nesting costs no stack and no memory.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::map<std::string, std::string> metadata;
  std::map<std::string, RawTensor> tensors;

  bool start_object(std::size_t) override {
    if (state_ == State::start) {
      state_ = State::top;
    } else if (state_ == State::top && key_ == "__metadata__") {
      if (std::exchange(has_metadata_, true)) foreign("the header has __metadata__ twice");
      state_ = State::metadata;
    } else if (state_ == State::top) {
      const auto [place, is_new] = tensors.try_emplace(key_);
      if (!is_new) foreign(fmt::format("the header has tensor {} twice", show_name(key_)));
      tensor_ = &*place;
      state_ = State::tensor;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool end_object() override {
    if (state_ == State::tensor) {
      const RawTensor& raw = tensor_->second;
      if (raw.info.dtype.empty()) foreign(fmt::format("tensor {} has no dtype", show_name(tensor_->first)));
      if (!raw.has_shape) foreign(fmt::format("tensor {} has no shape", show_name(tensor_->first)));
      if (!raw.range) foreign(fmt::format("tensor {} has no data_offsets", show_name(tensor_->first)));
    }
    state_ = state_ == State::top ? State::done : State::top;
    return true;
  }

  bool key(string_t& name) override {
    key_ = std::move(name);
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ == State::tensor && key_ == "shape") {
      if (std::exchange(tensor_->second.has_shape, true)) twice();
      state_ = State::shape;
    } else if (state_ == State::tensor && key_ == "data_offsets") {
      if (tensor_->second.range) twice();
      tensor_->second.range.emplace();
      offsets_ = 0;
      state_ = State::offsets;
    } else {
      unexpected("a list");
    }
    return true;
  }

  bool end_array() override {
    if (state_ == State::offsets && offsets_ != 2)
      foreign(fmt::format("tensor {}: data_offsets has {} numbers, needs 2", show_name(tensor_->first),
                          offsets_));
    state_ = State::tensor;
    return true;
  }

  bool string(string_t& value) override {
    if (state_ == State::metadata) {
      if (!metadata.try_emplace(key_, std::move(value)).second)
        foreign(fmt::format("the metadata has {} twice", show_name(key_)));
    } else if (state_ == State::tensor && key_ == "dtype") {
      if (!tensor_->second.info.dtype.empty()) twice();
      if (element_size(value) == 0)
        foreign(fmt::format("tensor {} has unknown dtype {}", show_name(tensor_->first), show_name(value)));
      tensor_->second.info.dtype = std::move(value);
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == State::shape) {
      if (value > static_cast<number_unsigned_t>(std::numeric_limits<Index>::max()))
        unexpected("a number too large");
      tensor_->second.info.shape.push_back(static_cast<Index>(value));
    } else if (state_ == State::offsets) {
      Range& range = *tensor_->second.range;
      if (offsets_ < 2) (offsets_ == 0 ? range.begin : range.end) = value;
      ++offsets_;
    } else {
      unexpected("a number");
    }
    return true;
  }

  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return unexpected("a number that is not whole");
  }
  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("true or false"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    foreign(fmt::format("its header is not JSON at byte {}", position));
  }

 private:
  enum class State { start, top, metadata, tensor, shape, offsets, done };

  bool unexpected(const char* what) const {
    switch (state_) {
      case State::metadata:
        foreign(fmt::format("metadata {} is {}, needs a string", show_name(key_), what));
      case State::tensor:
        foreign(fmt::format("tensor {}: {} at {}", show_name(tensor_->first), what, show_name(key_)));
      case State::shape:
      case State::offsets:
        foreign(fmt::format("tensor {}: {} in its {}", show_name(tensor_->first), what, key_));
      default:
        foreign(fmt::format("{} where its header needs an object", what));
    }
  }
  [[noreturn]] void twice() const {
    foreign(fmt::format("tensor {} has {} twice", show_name(tensor_->first), key_));
  }

  State state_ = State::start;
  std::string key_;
  bool has_metadata_ = false;
  std::map<std::string, RawTensor>::value_type* tensor_ = nullptr;
  int offsets_ = 0;
};

/// The header's JSON: what lies between the length and the data.
std::string_view header_text(std::span<const std::byte> file) {
  if (file.empty()) foreign("it is empty");
  if (file.size() < kLengthBytes) foreign(fmt::format("it has only {} bytes", file.size()));
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  const std::string_view rest = as_text(file.subspan(kLengthBytes));
  if (length < 2 || length > kMaxHeader)
    foreign(
        fmt::format("its first 8 bytes give a header of {} bytes, a header has 2 to {}", length, kMaxHeader));
  if (!rest.empty() && rest.front() != '{') foreign("its header does not begin with '{'");
  if (length > rest.size())
    throw Error(fmt::format("truncated: its header has {} bytes, {} of them are there", length, rest.size()));
  return rest.substr(0, length);
}

/// Sizes fit dtypes and shapes, and the tensors fill the data without gap or overlap.
void check_layout(const std::map<std::string, RawTensor>& tensors, std::size_t data_size) {
  std::vector<const std::pair<const std::string, RawTensor>*> order;
  std::size_t needed = 0;
  for (const auto& entry : tensors) {
    const auto& [name, raw] = entry;
    const auto size = byte_count(element_size(raw.info.dtype), raw.info.shape);
    if (!size) foreign(fmt::format("tensor {} has a shape too large for any memory", show_name(name)));
    if (raw.range->begin > raw.range->end || raw.range->end - raw.range->begin != *size)
      foreign(fmt::format("tensor {}: data_offsets {} to {} do not hold the {} bytes of its shape",
                          show_name(name), raw.range->begin, raw.range->end, *size));
    needed = std::max(needed, raw.range->end);
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    const Range &x = *a->second.range, &y = *b->second.range;
    return std::pair(x.begin, x.end) < std::pair(y.begin, y.end);
  });
  std::size_t end = 0;
  for (const auto* entry : order) {
    const Range& range = *entry->second.range;
    if (range.begin != end)
      foreign(fmt::format("tensor {} begins at byte {} of the data, the one before ends at {}",
                          show_name(entry->first), range.begin, end));
    end = range.end;
  }
  if (needed > data_size)
    throw Error(fmt::format("truncated: its tensors have {} bytes, {} of them are there", needed, data_size));
  if (needed < data_size) damaged(fmt::format("{} bytes follow its last tensor", data_size - needed));
}

struct FreeHash {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

std::uint64_t hash(std::string_view header, std::span<const std::span<const std::byte>> data) {
  const std::unique_ptr<XXH3_state_t, FreeHash> state(XXH3_createState());
  if (!state) throw std::bad_alloc();
  const auto add = [&](const void* start, std::size_t size) {
    if (size > 0) XXH3_64bits_update(state.get(), start, size);
  };
  XXH3_64bits_reset(state.get());
  const std::size_t value = kBeforeChecksum.size();
  add(header.data(), value);
  add(kNoChecksum.data(), kNoChecksum.size());
  add(header.data() + value + kNoChecksum.size(), header.size() - value - kNoChecksum.size());
  for (const std::span<const std::byte> part : data) add(part.data(), part.size());
  return XXH3_64bits_digest(state.get());
}

void verify_checksum(const std::map<std::string, std::string>& metadata, std::string_view header,
                     std::span<const std::byte> data) {
  const auto own = metadata.lower_bound(std::string(kPrefix));
  if (own == metadata.end() || !own->first.starts_with(kPrefix)) return;  // another program's file
  const auto written = metadata.find(std::string(kChecksumKey));
  if (written == metadata.end()) damaged("its checksum is missing");
  if (!header.starts_with(kBeforeChecksum) || header.size() < kBeforeChecksum.size() + kNoChecksum.size() ||
      header.substr(kBeforeChecksum.size(), kNoChecksum.size()) != written->second)
    damaged("its checksum is not where it was written; another program may have changed the file");
  const std::string actual = fmt::format("{:016x}", hash(header, std::span(&data, 1)));
  if (written->second != actual)
    damaged(fmt::format("checksum is {}, its content gives {}", written->second, actual));
}

}  // namespace

std::size_t element_size(std::string_view dtype) {
  constexpr std::array<std::pair<std::string_view, std::size_t>, 17> kSizes{{{"BOOL", 1},
                                                                             {"U8", 1},
                                                                             {"I8", 1},
                                                                             {"F8_E4M3", 1},
                                                                             {"F8_E5M2", 1},
                                                                             {"F8_E8M0", 1},
                                                                             {"I16", 2},
                                                                             {"U16", 2},
                                                                             {"F16", 2},
                                                                             {"BF16", 2},
                                                                             {"I32", 4},
                                                                             {"U32", 4},
                                                                             {"F32", 4},
                                                                             {"I64", 8},
                                                                             {"U64", 8},
                                                                             {"F64", 8},
                                                                             {"C64", 8}}};
  for (const auto& [name, size] : kSizes)
    if (name == dtype) return size;
  return 0;
}

std::optional<std::size_t> byte_count(std::size_t element_size, std::span<const Index> shape) {
  Index product = static_cast<Index>(element_size);
  bool none = false;
  for (const Index extent : shape) {
    if (extent < 0) return std::nullopt;
    none = none || extent == 0;
    if (extent > 0 && __builtin_mul_overflow(product, extent, &product)) return std::nullopt;
  }
  return none ? 0 : static_cast<std::size_t>(product);
}

Contents parse(std::span<const std::byte> file, bool verify) {
  const std::string_view header = header_text(file);
  HeaderReader reader;
  nlohmann::json::sax_parse(header.begin(), header.end(), &reader);
  const std::span<const std::byte> data = file.subspan(kLengthBytes + header.size());
  check_layout(reader.tensors, data.size());
  if (verify) verify_checksum(reader.metadata, header, data);

  Contents contents;
  contents.metadata = std::move(reader.metadata);
  for (auto& [name, raw] : reader.tensors) {
    raw.info.bytes = data.subspan(raw.range->begin, raw.range->end - raw.range->begin);
    contents.tensors.emplace(name, std::move(raw.info));
  }
  return contents;
}

std::string render(const std::vector<TensorPlan>& tensors,
                   const std::map<std::string, std::string>& metadata) {
  // nlohmann refuses text that is not UTF-8, as the format does.
  const auto json_string = [](const std::string& text) {
    try {
      return nlohmann::json(text).dump();
    } catch (const nlohmann::json::exception&) {
      throw Error(fmt::format("text {} is not UTF-8, a safetensors header is", show_name(text)));
    }
  };
  std::string text(kLengthBytes, '\0');
  text += kBeforeChecksum;
  text += kNoChecksum;
  text += fmt::format(R"(","{}":"{}")", kKindKey, kKind);
  for (const auto& [key, value] : metadata) {
    if (key == kChecksumKey || key == kKindKey) continue;  // of the file that the metadata was read from
    text += fmt::format(",{}:{}", json_string(key), json_string(value));
  }
  text += '}';
  std::size_t offset = 0;
  for (const TensorPlan& tensor : tensors) {
    text +=
        fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", json_string(tensor.name),
                    tensor.dtype, fmt::join(tensor.shape, ","), offset, offset + tensor.bytes);
    offset += tensor.bytes;
  }
  text += '}';
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  const std::uint64_t length = text.size() - kLengthBytes;
  if (length > kMaxHeader)
    throw Error(fmt::format("names and metadata make a header of {} bytes, safetensors allows {}", length,
                            kMaxHeader));
  std::memcpy(text.data(), &length, kLengthBytes);
  return text;
}

std::uint64_t checksum(std::string_view rendered, std::span<const std::span<const std::byte>> data) {
  return hash(rendered.substr(kLengthBytes), data);
}

void fill_checksum(std::string& rendered, std::uint64_t checksum) {
  rendered.replace(kLengthBytes + kBeforeChecksum.size(), kNoChecksum.size(),
                   fmt::format("{:016x}", checksum));
}

std::string show_name(std::string_view name) {
  constexpr std::size_t kLongest = 60;
  std::string text = fmt::format("\"{}{}\"", name.substr(0, kLongest), name.size() > kLongest ? "..." : "");
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

}  // namespace kith::safetensors
