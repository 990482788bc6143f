// Memory: linear in N + M, and none at all for a call with a warm workspace. Counts what goes through
// operator new.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>

#include "attention/case_values.h"

namespace {

std::atomic<long> allocations{0};
std::atomic<long> live_bytes{0};
std::atomic<long> peak_bytes{0};

// The size stands in front of what is handed out, in a block as large as the alignment asks for.
constexpr std::size_t kFront =
    alignof(std::max_align_t) < sizeof(long) ? sizeof(long) : alignof(std::max_align_t);

void* take(std::size_t size, std::size_t alignment) {
  const std::size_t front = alignment < kFront ? kFront : alignment;
  const std::size_t whole = (size + front + front - 1) / front * front;
  char* memory = static_cast<char*>(std::aligned_alloc(front, whole));
  if (memory == nullptr) throw std::bad_alloc();
  *reinterpret_cast<long*>(memory + front - sizeof(long)) = static_cast<long>(size);
  ++allocations;
  const long live = live_bytes += static_cast<long>(size);
  long peak = peak_bytes;
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live)) {
  }
  return memory + front;
}

void give(void* p, std::size_t alignment) noexcept {
  if (p == nullptr) return;
  const std::size_t front = alignment < kFront ? kFront : alignment;
  live_bytes -= *reinterpret_cast<long*>(static_cast<char*>(p) - sizeof(long));
  std::free(static_cast<char*>(p) - front);
}

}  // namespace

void* operator new(std::size_t size) { return take(size, kFront); }
void* operator new[](std::size_t size) { return take(size, kFront); }
void* operator new(std::size_t size, std::align_val_t a) { return take(size, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t size, std::align_val_t a) { return take(size, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { give(p, kFront); }
void operator delete[](void* p) noexcept { give(p, kFront); }
void operator delete(void* p, std::size_t) noexcept { give(p, kFront); }
void operator delete[](void* p, std::size_t) noexcept { give(p, kFront); }
void operator delete(void* p, std::align_val_t a) noexcept { give(p, static_cast<std::size_t>(a)); }
void operator delete[](void* p, std::align_val_t a) noexcept { give(p, static_cast<std::size_t>(a)); }
void operator delete(void* p, std::size_t, std::align_val_t a) noexcept {
  give(p, static_cast<std::size_t>(a));
}
void operator delete[](void* p, std::size_t, std::align_val_t a) noexcept {
  give(p, static_cast<std::size_t>(a));
}

namespace kith {
namespace {

using test::Case;
using test::rounded_to;
using test::Values;

/// Most bytes alive at once during the call, beyond those alive before.
template <class Call>
double peak_of(const Call& call) {
  const long before = live_bytes;
  peak_bytes = before;
  call();
  return static_cast<double>(peak_bytes - before);
}

TEST(Allocation, ItIsCounted) {  // or the tests below would pass whatever happens
  const long before = allocations;
  const double peak = peak_of([] { const Array<float, 1> a({1000}); });
  EXPECT_EQ(allocations - before, 1);
  EXPECT_EQ(peak, 4000);
  const long live = live_bytes;
  {
    const std::vector<int> v(10);
    EXPECT_EQ(live_bytes - live, 40);
  }
  EXPECT_EQ(live_bytes, live);
}

TEST(Allocation, WarmWorkspaceAllocatesNothing) {
  using test::MaskPart;
  for (std::size_t similarity = 0; similarity < test::kSimilarityKinds; ++similarity) {
    for (const std::vector<MaskPart>& mask : std::vector<std::vector<MaskPart>>{
             {}, {MaskPart::causal, MaskPart::window}, {MaskPart::key_length, MaskPart::documents}}) {
      Case c;
      c.batch = 2, c.query_heads = 4, c.key_heads = 2, c.queries = 130, c.keys = 300, c.depth = 9;
      c.value_depth = mask.empty() ? 12 : 3;
      c.similarity = static_cast<test::SimilarityKind>(similarity);
      c.mask = mask;
      SCOPED_TRACE(line(c));
      const Values in = make_values(c);
      const Array<float, 4> query = rounded_to<float>(in.query), key = rounded_to<float>(in.key);
      const Array<float, 4> value = rounded_to<float>(in.value);
      AttentionOptions options = in.options;
      options.want = {.lse = true, .top = 3, .entropy = true, .largest = true, .position = true};
      options.threads = 1;
      AttentionResult result;
      Workspace workspace;
      attend(query, key, value, options, result, workspace);
      const std::vector<float> first(result.out.begin(), result.out.end());
      const float* memory = result.out.data();
      const long before = allocations;
      attend(query, key, value, options, result, workspace);
      EXPECT_EQ(allocations - before, 0);
      EXPECT_EQ(result.out.data(), memory);
      EXPECT_TRUE(std::equal(first.begin(), first.end(), result.out.begin()));
    }
  }
}

struct Peak {
  double forward, backward;
};

Peak peak_at(Index size, const Similarity& similarity, const Mask& mask) {
  const auto rows = [size](float step) {
    Array<float, 4> x({1, 1, size, 8});
    for (Index i = 0; i < x.size(); ++i) x.data()[i] = std::sin(step * static_cast<float>(i));
    return x;
  };
  const Array<float, 4> query = rows(0.7f), key = rows(1.1f), value = rows(1.7f), d_out = rows(2.3f);
  AttentionOptions options;
  options.similarity = similarity;
  options.mask = mask;
  options.want.lse = true;
  options.threads = 1;
  AttentionResult result;
  Peak peak{};
  peak.forward = peak_of([&] { result = attend(query, key, value, options); });
  peak.backward = peak_of([&] { attend_backward(query, key, value, result, d_out, options); });
  return peak;
}

const Similarity kSimilarities[] = {Dot{}, Cosine{}, Gaussian{}, Euclidean{}, Compact{}};

TEST(Allocation, WeightsAreNeverStored) {
  const double weights = 4096.0 * 4096.0 * sizeof(float);
  for (const Similarity& similarity : kSimilarities) {
    const Peak peak = peak_at(4096, similarity, {});
    EXPECT_LT(peak.forward, weights / 16);
    EXPECT_LT(peak.backward, weights / 16);
  }
}

// Sizes beyond every fixed block; the mask lets few pairs through, so that only the memory is large.
TEST(Allocation, MemoryIsLinear) {
  for (const Similarity& similarity : kSimilarities) {
    const Peak small = peak_at(32768, similarity, key_lengths({64}));
    const Peak large = peak_at(65536, similarity, key_lengths({64}));
    // Twice the rows: at most twice the memory, less by what does not depend on the size.
    EXPECT_LT(large.forward, 2.1 * small.forward);
    EXPECT_LT(large.backward, 2.1 * small.backward);
    EXPECT_GT(large.forward, 1.2 * small.forward);
    EXPECT_GT(large.backward, 1.2 * small.backward);
  }
}

}  // namespace
}  // namespace kith
