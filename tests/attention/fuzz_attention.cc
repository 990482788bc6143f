// Any shapes, strides, masks and options: attend and attend_backward answer or throw kith::Error, and what
// they answer agrees with the reference. All memory they are shown has its exact size, for the address
// sanitizer.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "kith/attention.h"
#include "kith/reference.h"

namespace kith {
namespace {

/// Numbers from the input's bytes; zeros after its end.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  unsigned byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  /// Up to `most`; rarely something far outside, since a check must say so.
  Index count(Index most) {
    const unsigned x = byte();
    if (x == 255) return -1;
    if (x == 254) return most * 1000;
    return static_cast<Index>(x) % (std::max<Index>(most, 0) + 1);  // `most` may be a size that was -1
  }
  Index offset() { return static_cast<Index>(byte()) - 128; }
  bool flag() { return byte() % 2 == 1; }
  /// Small integers, fractions and, rarely, what is no number.
  double number() {
    const unsigned x = byte();
    if (x == 255) return std::nan("");
    if (x == 254) return std::numeric_limits<double>::infinity();
    if (x == 253) return 1e30;
    return (static_cast<double>(x) - 126) / 32;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

constexpr Index kMost = 4096;  ///< elements of any one array

/// Memory for the views of one call.
struct Memory {
  std::vector<std::shared_ptr<const void>> kept;

  template <class T, class Draw>
  const T* filled(Index size, const Draw& draw) {
    std::shared_ptr<T[]> p(new T[static_cast<std::size_t>(std::max<Index>(size, 0))]);
    for (Index i = 0; i < size; ++i) p[static_cast<std::ptrdiff_t>(i)] = static_cast<T>(draw());
    kept.push_back(p);
    return p.get();
  }

  /// Strides are dense, overlapping or 0; the memory is as large as they need. A null pointer
  /// stands for what would be too large or is negative: a check has to refuse it.
  template <class T, int R, class Draw>
  View<const T, R> view(Bytes& in, const Shape<R>& shape, bool last_contiguous, const Draw& draw) {
    Shape<R> stride = dense_strides<R>(shape);
    if (in.byte() % 4 == 0) {
      for (std::size_t x = 0; x + (last_contiguous ? 1 : 0) < R; ++x) stride[x] = in.count(7);
      for (Index& s : stride) s = std::max<Index>(s, 0);
    }
    Index last = 0, count = 1;
    for (std::size_t x = 0; x < R; ++x) {
      if (shape[x] < 0 || shape[x] > kMost) return {nullptr, shape, stride};
      last += shape[x] > 0 ? (shape[x] - 1) * stride[x] : 0;
      count *= shape[x];
      if (count > kMost || last > kMost) return {nullptr, shape, stride};
    }
    return {filled<T>(count == 0 ? 0 : last + 1, draw), shape, stride};
  }
};

struct Sizes {
  Index batch, heads, key_heads, queries, keys, depth, key_depth, value_depth;
};

Similarity similarity(Bytes& in, Memory& memory, const Sizes& n) {
  const auto draw = [&] { return in.number(); };
  switch (in.byte() % 10) {
    case 0:
      return in.flag() ? Dot{} : Dot{.scale = in.number()};
    case 1:
      return Cosine{.temperature = in.number()};
    case 2:
      return Gaussian{.bandwidth = in.number()};
    case 3:
      return Euclidean{.temperature = in.number()};
    case 4:
      return Laplace{.bandwidth = in.number()};
    case 5:
      return Compact{.kernel = static_cast<CompactKernel>(in.byte() % 5), .bandwidth = in.number()};
    case 6:
      return InverseDistance{.power = in.number()};
    case 7:
      return Bilinear{.matrix = memory.view<double, 2>(in, {n.depth, n.key_depth}, false, draw),
                      .scale = in.number()};
    case 8: {
      const Index hidden = in.count(4);
      return Additive{.query_weight = memory.view<double, 2>(in, {hidden, n.depth}, false, draw),
                      .key_weight = memory.view<double, 2>(in, {hidden, n.key_depth}, false, draw),
                      .score = memory.view<double, 1>(in, {hidden}, false, draw)};
    }
    default:
      return Uniform{};
  }
}

std::vector<Index> lengths(Bytes& in, Index most) {
  std::vector<Index> list(in.byte() % 4);
  for (Index& x : list) x = in.count(most);
  return list;
}

/// 1 or the whole axis.
Index extent(Bytes& in, Index whole) { return in.flag() ? whole : 1; }

Mask mask(Bytes& in, Memory& memory, const Sizes& n) {
  Mask m;
  const unsigned parts = in.byte() | in.byte() << 8;
  const auto id = [&] { return in.byte() % 3; };
  if ((parts & 1U) != 0) m.causal_offset = in.offset();
  if ((parts & 2U) != 0) m.self_offset = in.offset();
  if ((parts & 4U) != 0) m.key_length = lengths(in, n.keys);
  if ((parts & 8U) != 0) m.query_length = lengths(in, n.queries);
  if ((parts & 16U) != 0) m.prefix = lengths(in, n.keys);
  if ((parts & 32U) != 0) m.window = Window{in.offset(), in.offset(), in.offset()};
  if ((parts & 64U) != 0) m.ragged = {lengths(in, n.queries), lengths(in, n.keys)};
  if ((parts & 128U) != 0) {
    m.documents = {memory.view<std::int64_t, 2>(in, {extent(in, n.batch), n.queries}, false, id),
                   memory.view<std::int64_t, 2>(in, {extent(in, n.batch), n.keys}, false, id)};
  }
  if ((parts & 256U) != 0) {
    m.groups = {memory.view<std::int64_t, 2>(in, {extent(in, n.batch), n.queries}, false, id),
                memory.view<std::int64_t, 2>(in, {extent(in, n.batch), n.keys}, false, id)};
  }
  if ((parts & 512U) != 0) {
    const auto stamp = [&] { return in.number(); };
    m.times = {memory.view<double, 2>(in, {extent(in, n.batch), n.queries}, false, stamp),
               memory.view<double, 2>(in, {extent(in, n.batch), n.keys}, false, stamp)};
  }
  if ((parts & 1024U) != 0) {
    BlockMap map{.query_block = in.count(9), .key_block = in.count(9)};
    const auto blocks = [&](Index rows, Index block) {
      return rows < 0 || block < 1 ? 1 : (rows + block - 1) / block;
    };
    map.allowed = Array<bool, 4>({1, 1, std::min(kMost, blocks(n.queries, map.query_block)),
                                  std::min<Index>(64, blocks(n.keys, map.key_block))});
    for (bool& x : map.allowed) x = in.flag();
    m = m & block_map(std::move(map));
  }
  if ((parts & 2048U) != 0) {
    m.allowed = memory.view<bool, 4>(
        in, {extent(in, n.batch), extent(in, n.heads), extent(in, n.queries), extent(in, n.keys)}, false,
        [&] { return in.flag(); });
  }
  return m;
}

void add_bias(Bytes& in, Memory& memory, const Sizes& n, AttentionOptions& o) {
  const unsigned parts = in.byte();
  const auto draw = [&] { return in.number(); };
  const Shape<4> shape = {extent(in, n.batch), extent(in, n.heads), extent(in, n.queries),
                          extent(in, n.keys)};
  if ((parts & 1U) != 0) o.bias.array = memory.view<float, 4>(in, shape, false, draw);
  if ((parts & 2U) != 0) o.bias.array64 = memory.view<double, 4>(in, shape, false, draw);
  if ((parts & 4U) != 0) {
    o.bias.relative = RelativeTable{
        memory.view<double, 2>(in, {extent(in, n.heads), in.count(9)}, false, draw), in.count(9)};
  }
  if ((parts & 8U) != 0) {
    o.bias.t5 = T5Buckets{memory.view<double, 2>(in, {extent(in, n.heads), in.count(9)}, false, draw),
                          in.flag(), in.count(20)};
  }
  if ((parts & 16U) != 0) o.bias.alibi.assign(in.byte() % 4, in.number());
  if ((parts & 32U) != 0) o.sink.assign(in.byte() % 4, in.number());
  if ((parts & 64U) != 0) o.soft_cap = in.number();
  if ((parts & 128U) != 0) o.dropout = {.rate = in.number(), .seed = in.byte(), .first_batch = in.count(3)};
  o.bias.offset = in.offset();
}

void add_metric(Bytes& in, Memory& memory, const Sizes& n, AttentionOptions& o) {
  const unsigned parts = in.byte();
  const auto draw = [&] { return in.number(); };
  if ((parts & 1U) != 0)
    o.metric.column_bandwidth.assign(static_cast<std::size_t>(std::clamp<Index>(n.depth, 0, 64)),
                                     in.number());
  if ((parts & 2U) != 0) o.metric.matrix = memory.view<double, 2>(in, {n.depth, in.count(5)}, false, draw);
  if ((parts & 4U) != 0) {
    o.adaptive.query =
        memory.view<double, 3>(in, {extent(in, n.batch), extent(in, n.heads), n.queries}, false, draw);
  }
  if ((parts & 8U) != 0) {
    o.adaptive.key =
        memory.view<double, 3>(in, {extent(in, n.batch), extent(in, n.key_heads), n.keys}, false, draw);
  }
  if ((parts & 16U) != 0) {
    Rotary r{.base = in.number(), .interleaved = in.flag(), .columns = in.count(6), .scaling = in.number()};
    r.frequency.assign(in.byte() % 3, in.number());
    r.query_offset = in.offset(), r.key_offset = in.offset();
    o.rotary = r;
  }
}

void require(bool condition, const char* what) {
  if (condition) return;
  std::fputs(what, stderr);
  std::abort();
}

Array<double, 4> widened(const auto& view) {
  Array<double, 4> a(view.shape);
  Index at = 0;
  for (Index b = 0; b < a.shape()[0]; ++b) {
    for (Index h = 0; h < a.shape()[1]; ++h) {
      for (Index i = 0; i < a.shape()[2]; ++i) {
        for (Index c = 0; c < a.shape()[3]; ++c) a.data()[at++] = static_cast<double>(view(b, h, i, c));
      }
    }
  }
  return a;
}

template <class T>
void call(Bytes& in) {
  using Real = compute_t<T>;
  Sizes n{};
  n.batch = in.count(3), n.heads = in.count(4), n.key_heads = in.flag() ? n.heads : in.count(2);
  n.queries = in.count(40), n.keys = in.count(60), n.depth = in.count(9), n.value_depth = in.count(10);
  n.key_depth = in.byte() % 8 == 0 ? in.count(9) : n.depth;
  Memory memory;
  AttentionOptions o;
  o.similarity = similarity(in, memory, n);
  o.mask = mask(in, memory, n);
  add_bias(in, memory, n, o);
  add_metric(in, memory, n, o);
  const unsigned wants = in.byte();
  o.want = {.lse = true,
            .top = (wants & 1U) != 0 ? static_cast<int>(in.count(9)) : 0,
            .entropy = (wants & 2U) != 0,
            .largest = (wants & 4U) != 0,
            .received = (wants & 8U) != 0,
            .position = (wants & 16U) != 0,
            .second_moment = (wants & 32U) != 0};
  o.threads = static_cast<int>(in.byte() % 3);
  const auto draw = [&] { return in.number(); };
  const auto query = memory.view<T, 4>(in, {n.batch, n.heads, n.queries, n.depth}, true, draw);
  const auto key = memory.view<T, 4>(in, {n.batch, n.key_heads, n.keys, n.key_depth}, true, draw);
  const auto value = memory.view<T, 4>(in, {n.batch, n.key_heads, n.keys, n.value_depth}, true, draw);
  const auto result = attend(query, key, value, o);

  // What went through has sizes that make sense. NaN and infinities have to be the reference's; for numbers
  // as large as 10^30, whose squares leave float, only double can be compared.
  const auto q = widened(query), k = widened(key), v = widened(value);
  const auto expected = reference::attend(q, k, v, o);
  require(result.out.shape() == expected.out.shape(), "out: another shape\n");
  if constexpr (std::is_same_v<T, double>) {
    for (Index i = 0; i < result.lse.size(); ++i) {
      const double a = result.lse.data()[i], b = expected.lse.data()[i];
      require(a == b || (std::isnan(a) && std::isnan(b)) || !(std::fabs(b) < 1e4) || std::fabs(a - b) < 1e-6,
              "lse: not the reference's\n");
    }
  }

  Upstream<Real> u;
  u.out = memory.view<Real, 4>(in, result.out.shape(), true, draw);
  if (in.flag()) u.lse = memory.view<Real, 3>(in, result.lse.shape(), true, draw);
  if (o.want.entropy && in.flag()) u.entropy = memory.view<Real, 3>(in, result.entropy.shape(), true, draw);
  if (o.want.second_moment && in.flag())
    u.second_moment = memory.view<Real, 4>(in, result.out.shape(), true, draw);
  u.bias = in.flag();
  const auto gradients = attend_backward(query, key, value, result, u, o);
  require(gradients.query.shape() == q.shape() && gradients.key.shape() == k.shape() &&
              gradients.value.shape() == v.shape(),
          "gradients: another shape\n");
}

}  // namespace
}  // namespace kith

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  kith::Bytes in(data, size);
  try {
    switch (in.byte() % 4) {
      case 0:
        kith::call<float>(in);
        break;
      case 1:
        kith::call<double>(in);
        break;
      case 2:
        kith::call<kith::bfloat16>(in);
        break;
      default:
        kith::call<kith::float16>(in);
        break;
    }
  } catch (const kith::Error&) {
  }
  return 0;
}
