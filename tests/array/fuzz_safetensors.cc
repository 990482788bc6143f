// The safetensors reader on arbitrary bytes: it either throws kith::Error or what it returns is safe to use.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "array/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> file = std::as_bytes(std::span(data, size));
  for (const bool verify : {false, true}) {
    try {
      const auto contents = kith::safetensors::parse(file, verify);
      unsigned sum = 0;
      for (const auto& [name, tensor] : contents.tensors) {
        const auto bytes =
            kith::safetensors::byte_count(kith::safetensors::element_size(tensor.dtype), tensor.shape);
        if (bytes != tensor.bytes.size()) std::abort();
        for (const std::byte byte : tensor.bytes) sum += std::to_integer<unsigned>(byte);
      }
      // Reading every byte must not be optimized away.
      [[maybe_unused]] volatile unsigned used = sum;
    } catch (const kith::Error&) {
      continue;
    }
  }
  // The same bytes as a header: the fuzzer need not guess the length.
  if (size <= 1 << 20) {
    const std::uint64_t length = size;
    std::string wrapped(reinterpret_cast<const char*>(&length), sizeof(length));
    wrapped.append(reinterpret_cast<const char*>(data), size);
    try {
      kith::safetensors::parse(std::as_bytes(std::span(wrapped.data(), wrapped.size())), true);
    } catch (const kith::Error&) {
      return 0;
    }
  }
  return 0;
}
