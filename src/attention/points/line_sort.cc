#include "attention/points/line_sort.h"

#include <algorithm>
#include <utility>

#include "array/threads.h"

namespace kith::points {
namespace {

constexpr int kDigitBits = 8;
constexpr Index kDigits = Index{1} << kDigitBits;
constexpr Index kSmallestChunk = 1 << 15;  // below, waking a thread costs more than it saves

constexpr std::size_t digit(Place place, int shift) { return (place >> shift) & (kDigits - 1); }

}  // namespace

const Place* LineSort::sort(Rows rows, Index count, int threads) {
  const auto size = static_cast<std::size_t>(count);
  if (from_.size() < size) {
    from_.resize(size);
    to_.resize(size);
  }
  // The order does not depend on the chunks: each digit's places follow one another chunk by chunk.
  const Index chunks = std::clamp<Index>(count / kSmallestChunk, 1, threads);
  const auto chunk_begin = [&](Index chunk) { return count * chunk / chunks; };
  starts_.resize(static_cast<std::size_t>(chunks * kDigits));

  parallel_for(threads, chunks, [&](Index chunk) {
    for (Index i = chunk_begin(chunk); i < chunk_begin(chunk + 1); ++i) {
      from_[static_cast<std::size_t>(i)] =
          Place{sortable_bits(*rows[i])} << 32 | static_cast<std::uint32_t>(i);
    }
  });
  for (int shift = 32; shift < 64; shift += kDigitBits) {
    parallel_for(threads, chunks, [&](Index chunk) {
      std::uint32_t* counts = starts_.data() + chunk * kDigits;
      std::fill(counts, counts + kDigits, 0u);
      const Place* from = from_.data();
      for (Index i = chunk_begin(chunk); i < chunk_begin(chunk + 1); ++i) ++counts[digit(from[i], shift)];
    });
    std::uint32_t start = 0;
    bool one_digit = false;
    for (std::size_t d = 0; d < static_cast<std::size_t>(kDigits); ++d) {
      const std::uint32_t before = start;
      for (std::size_t c = d; c < starts_.size(); c += static_cast<std::size_t>(kDigits)) {
        start += std::exchange(starts_[c], start);
      }
      one_digit = one_digit || start - before == static_cast<std::uint32_t>(count);
    }
    if (one_digit) continue;
    parallel_for(threads, chunks, [&](Index chunk) {
      std::uint32_t* next = starts_.data() + chunk * kDigits;
      const Place* from = from_.data();
      Place* to = to_.data();
      for (Index i = chunk_begin(chunk); i < chunk_begin(chunk + 1); ++i) {
        to[next[digit(from[i], shift)]++] = from[i];
      }
    });
    std::swap(from_, to_);
  }
  return from_.data();
}

}  // namespace kith::points
