#include "kith/cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "attention/geometry.h"
#include "attention/kernels/kernels.h"
#include "attention/run.h"
#include "attention/workspace.h"

namespace kith {

// A page is a chunk of the kernels, so that what is evicted goes by whole chunks and the chunks of the rest
// keep their bounds: that is what makes a decoded row bit-identical to the full pass.
constexpr Index kPage = kernels::kKeyChunk;

/// Keys and values of positions [p kPage, (p + 1) kPage): bytes in the storage type.
struct KeyValueCache::Page {
  Array<std::byte, 1> key;    // [B][H][kPage][D]
  Array<std::byte, 1> value;  // [B][H][kPage][Dv]
};

namespace {

std::size_t element_bytes(KeyValueCache::Storage storage) {
  return storage == KeyValueCache::Storage::float32 ? sizeof(float) : sizeof(std::uint16_t);
}

template <class F>
void with_type(KeyValueCache::Storage storage, F&& body) {
  switch (storage) {
    case KeyValueCache::Storage::float32:
      return body(float{});
    case KeyValueCache::Storage::bfloat16:
      return body(bfloat16{});
    case KeyValueCache::Storage::float16:
      return body(float16{});
  }
}

// Rows [first, first + count) of a page, of every head, from or to rows of [B, H, n, columns].
template <class Stored>
void write_rows(const View<const float, 4>& from, Index from_row, Index first, Index count, std::byte* page) {
  auto* to = reinterpret_cast<Stored*>(page);
  for (Index b = 0; b < from.shape[0]; ++b) {
    for (Index h = 0; h < from.shape[1]; ++h) {
      for (Index i = 0; i < count; ++i) {
        const float* row = &from(b, h, from_row + i, 0);
        std::transform(row, row + from.shape[3],
                       to + ((b * from.shape[1] + h) * kPage + first + i) * from.shape[3],
                       [](float x) { return static_cast<Stored>(x); });
      }
    }
  }
}

template <class Stored>
void read_rows(const std::byte* page, Index first, Index count, const View<float, 4>& to, Index to_row) {
  const auto* from = reinterpret_cast<const Stored*>(page);
  for (Index b = 0; b < to.shape[0]; ++b) {
    for (Index h = 0; h < to.shape[1]; ++h) {
      const Stored* rows = from + ((b * to.shape[1] + h) * kPage + first) * to.shape[3];
      std::transform(rows, rows + count * to.shape[3], &to(b, h, to_row, 0),
                     [](Stored x) { return static_cast<float>(x); });
    }
  }
}

// The part of a view from position `base` on, along the last axis, unless that axis is repeated.
template <class T, int R>
View<T, R> from_key(View<T, R> x, Index base) {
  constexpr auto kLast = static_cast<std::size_t>(R - 1);
  if (x.data == nullptr || x.shape[kLast] <= 1) return x;
  x.data += base * x.stride[kLast];
  x.shape[kLast] -= base;
  return x;
}

std::shared_ptr<const BlockMap> from_key(const std::shared_ptr<const BlockMap>& blocks, Index base) {
  if (blocks == nullptr || base == 0) return blocks;
  if (base % blocks->key_block != 0) {
    throw Error(fmt::format(
        "mask.blocks: key_block is {}; with evicted keys it needs to divide the cache's page of {} keys",
        blocks->key_block, kPage));
  }
  const Index skip = base / blocks->key_block;
  Shape<4> shape = blocks->allowed.shape();
  shape[3] -= skip;
  BlockMap rest{blocks->query_block, blocks->key_block, Array<bool, 4>(shape)};
  for (Index row = 0; row < shape[0] * shape[1] * shape[2]; ++row) {
    std::copy_n(blocks->allowed.data() + row * (shape[3] + skip) + skip, shape[3],
                rest.allowed.data() + row * shape[3]);
  }
  return std::make_shared<const BlockMap>(std::move(rest));
}

// Options whose key 0 is position `base`, and whose query 0 is at position `query`.
AttentionOptions moved(AttentionOptions options, Index base, Index query, Index first) {
  Mask& mask = options.mask;
  if (mask.causal_offset) *mask.causal_offset += query - base;
  if (mask.self_offset) *mask.self_offset += query - base;
  if (mask.window) mask.window->offset += query - base;
  mask.first_key = std::max(mask.first_key, first) - base;
  for (Index& length : mask.key_length) length = std::max<Index>(0, length - base);
  for (Index& prefix : mask.prefix) prefix = std::max<Index>(0, prefix - base);
  mask.documents.key = from_key(mask.documents.key, base);
  mask.groups.key = from_key(mask.groups.key, base);
  mask.times.key = from_key(mask.times.key, base);
  mask.blocks = from_key(mask.blocks, base);
  mask.allowed = from_key(mask.allowed, base);
  options.bias.array = from_key(options.bias.array, base);
  options.bias.array64 = from_key(options.bias.array64, base);
  options.bias.offset += query - base;
  options.adaptive.key = from_key(options.adaptive.key, base);
  if (options.rotary) {
    options.rotary->query_offset += query;
    options.rotary->key_offset += base;
    options.rotary->key_position = from_key(options.rotary->key_position, base);
  }
  return options;
}

}  // namespace

KeyValueCache::KeyValueCache(Index batch, Index heads, Index depth, Index value_depth, Storage storage)
    : batch_(batch), heads_(heads), depth_(depth), value_depth_(value_depth), storage_(storage) {
  for (const auto& [name, size] :
       {std::pair{"batch", batch}, {"heads", heads}, {"depth", depth}, {"value_depth", value_depth}}) {
    if (size < 1) throw Error(fmt::format("{}: {}; it needs at least 1", name, size));
  }
  Index numbers = 0;
  if (__builtin_mul_overflow(batch, heads, &numbers) ||
      __builtin_mul_overflow(numbers, std::max(depth, value_depth), &numbers) ||
      numbers > PTRDIFF_MAX / 64 / kPage) {
    throw Error(fmt::format("batch: {} x {} heads x {} columns are too many to address", batch, heads,
                            std::max(depth, value_depth)));
  }
}

void KeyValueCache::append(View<const float, 4> key, View<const float, 4> value) {
  const auto fits = [&](const char* name, const View<const float, 4>& x, Index columns) {
    if (x.shape[0] != batch_ || x.shape[1] != heads_ || x.shape[2] < 0 || x.shape[3] != columns) {
      throw Error(fmt::format("{}: shape [{}, {}, {}, {}]; it needs [{}, {}, n, {}]", name, x.shape[0],
                              x.shape[1], x.shape[2], x.shape[3], batch_, heads_, columns));
    }
    if (!x.empty() && x.data == nullptr) {
      throw Error(fmt::format("{}: no data (a null pointer) for {} elements", name, x.size()));
    }
    if (!x.empty() && columns > 1 && x.stride[3] != 1) {
      throw Error(fmt::format("{}: the last axis has stride {}; it needs 1 (contiguous)", name, x.stride[3]));
    }
  };
  fits("key", key, depth_);
  fits("value", value, value_depth_);
  const Index count = key.shape[2];
  if (value.shape[2] != count) throw Error(fmt::format("value: {} rows, key has {}", value.shape[2], count));

  // Pages that will be written are made or copied first: if memory runs out, nothing has changed.
  auto pages = pages_;
  const auto bytes = [&](Index columns) {
    return Shape<1>{batch_ * heads_ * kPage * columns * static_cast<Index>(element_bytes(storage_))};
  };
  const Index first_page = length_ / kPage;
  const Index page_count = (length_ + count + kPage - 1) / kPage;
  for (Index p = first_page; p < page_count; ++p) {
    const auto at = static_cast<std::size_t>(p);
    if (at < pages.size() && pages[at] != nullptr) {
      // Once in pages_ and once in the copy: a third owner is another cache.
      if (pages[at].use_count() > 2) pages[at] = std::make_shared<Page>(*pages[at]);
    } else {
      pages.resize(std::max(pages.size(), at + 1));
      pages[at] = std::make_shared<Page>(
          Page{Array<std::byte, 1>(bytes(depth_)), Array<std::byte, 1>(bytes(value_depth_))});
    }
  }
  for (Index done = 0; done < count;) {
    const Index position = length_ + done, row = position % kPage;
    const Index rows = std::min(kPage - row, count - done);
    Page& page = *pages[static_cast<std::size_t>(position / kPage)];
    with_type(storage_, [&]<class Stored>(Stored) {
      write_rows<Stored>(key, done, row, rows, page.key.data());
      write_rows<Stored>(value, done, row, rows, page.value.data());
    });
    done += rows;
  }
  pages_ = std::move(pages);
  length_ += count;
}

void KeyValueCache::truncate(Index length) {
  if (length < first_ || length > length_) {
    throw Error(fmt::format("length: {}; it needs {} to {}", length, first_, length_));
  }
  pages_.resize(static_cast<std::size_t>((length + kPage - 1) / kPage));
  length_ = length;
}

void KeyValueCache::evict(Index first) {
  if (first < first_ || first > length_) {
    throw Error(fmt::format("first: {}; it needs {} to {}", first, first_, length_));
  }
  for (Index p = first_ / kPage; p < first / kPage; ++p) pages_[static_cast<std::size_t>(p)].reset();
  first_ = first;
}

Index KeyValueCache::length() const { return length_; }
Index KeyValueCache::first() const { return first_; }

std::size_t KeyValueCache::bytes() const {
  std::size_t total = 0;
  for (const auto& page : pages_) {
    if (page != nullptr) total += static_cast<std::size_t>(page->key.size() + page->value.size());
  }
  return total;
}

std::size_t KeyValueCache::shared_bytes() const {
  std::size_t total = 0;
  for (const auto& page : pages_) {
    if (page.use_count() > 1) total += static_cast<std::size_t>(page->key.size() + page->value.size());
  }
  return total;
}

void KeyValueCache::gather(Array<std::byte, 1> Page::*side, Index from, const View<float, 4>& to) const {
  for (Index position = from; position < length_;) {
    const Index row = position % kPage, rows = std::min(kPage - row, length_ - position);
    const Page& page = *pages_[static_cast<std::size_t>(position / kPage)];
    with_type(storage_, [&]<class Stored>(Stored) {
      read_rows<Stored>((page.*side).data(), row, rows, to, position - from);
    });
    position += rows;
  }
}

Array<float, 4> KeyValueCache::key() const {
  Array<float, 4> key({batch_, heads_, length_ - first_, depth_});
  gather(&Page::key, first_, key);
  return key;
}

Array<float, 4> KeyValueCache::value() const {
  Array<float, 4> value({batch_, heads_, length_ - first_, value_depth_});
  gather(&Page::value, first_, value);
  return value;
}

AttentionResult KeyValueCache::attend(View<const float, 4> query, const AttentionOptions& options) const {
  AttentionResult result;
  Workspace workspace;
  attend(query, options, result, workspace);
  return result;
}

void KeyValueCache::attend(View<const float, 4> query, const AttentionOptions& options,
                           AttentionResult& result, Workspace& workspace) const {
  if (!options.mask.ragged.empty())
    throw Error("mask.ragged: not with a cache; it needs one cache a sequence");
  if (options.dropout.rate > 0) throw Error("dropout: not with a cache; it needs rate 0");
  const Index base = first_ / kPage * kPage, keys = length_ - base;
  const Index query_position = length_ - query.shape[2];
  const AttentionOptions here = moved(options, base, query_position, first_);
  if (!attend_in_place(query, here, base, result, workspace)) {
    const Index key_numbers = batch_ * heads_ * keys * depth_,
                value_numbers = batch_ * heads_ * keys * value_depth_;
    auto& memory = workspace.impl().cache_rows;
    if (memory.size() < key_numbers + value_numbers) {
      memory = {};
      memory = Array<float, 1>({key_numbers + value_numbers});
    }
    const View<float, 4> key(memory.data(), {batch_, heads_, keys, depth_});
    const View<float, 4> value(memory.data() + key_numbers, {batch_, heads_, keys, value_depth_});
    gather(&Page::key, base, key);
    gather(&Page::value, base, value);
    kith::attend(query, key, value, here, result, workspace);
  }
  if (base == 0) return;
  for (Index& found : result.top_key) found += found < 0 ? 0 : base;
  if (!result.received.empty()) {
    const Shape<3> shape = result.received.shape();
    Array<float, 3> received({shape[0], shape[1], length_});
    for (Index row = 0; row < shape[0] * shape[1]; ++row) {
      std::copy_n(result.received.data() + row * shape[2], shape[2], received.data() + row * length_ + base);
    }
    result.received = std::move(received);
  }
  add_base(options, base, result);
}

// Without gathering the pages: where a few queries read them as they are. False if they cannot be, or a value
// is not finite.
bool KeyValueCache::attend_in_place(View<const float, 4> query, const AttentionOptions& options, Index base,
                                    AttentionResult& result, Workspace& workspace) const {
  const Want& want = options.want;
  const bool plain_keys = (std::holds_alternative<Dot>(options.similarity) ||
                           std::holds_alternative<Bilinear>(options.similarity)) &&
                          options.metric.column_bandwidth.empty() && options.metric.matrix.data == nullptr &&
                          !options.rotary;
  if (query.shape[2] > kernels::kGroup || length_ == base || !plain_keys || want.position ||
      want.second_moment || want.received) {
    return false;
  }
  KeyPages pages;
  pages.type = storage_ == Storage::bfloat16  ? Dtype::bfloat16
               : storage_ == Storage::float16 ? Dtype::float16
                                              : Dtype::float32;
  for (Index p = base / kPage; p * kPage < length_; ++p) {
    const Page& page = *pages_[static_cast<std::size_t>(p)];
    pages.key.push_back(page.key.data());
    pages.value.push_back(page.value.data());
  }
  // The views give shapes; their memory is not read.
  const auto shapes = [&](const std::vector<const std::byte*>& from, Index columns) {
    return View<const float, 4>(reinterpret_cast<const float*>(from.front()),
                                {batch_, heads_, length_ - base, columns});
  };
  return attend_pages(query, shapes(pages.key, depth_), shapes(pages.value, value_depth_), options, result,
                      workspace, pages);
}

// Expected positions counted from `base` so far; a sink's share of the weight stands nowhere.
void KeyValueCache::add_base(const AttentionOptions& options, Index base, AttentionResult& result) {
  if (result.position.empty()) return;
  if (result.lse.empty()) throw Error("want.position: after evict it needs want.lse too");
  const Shape<3> shape = result.position.shape();
  for (Index row = 0; row < result.position.size(); ++row) {
    const double lse = static_cast<double>(result.lse.data()[row]);
    if (lse == -std::numeric_limits<double>::infinity()) continue;
    double seen = 1;
    if (!options.sink.empty()) {
      const Index head = row / shape[2] % shape[1];
      seen -= std::exp(options.sink[entry_of(options.sink, head)] - lse);
    }
    result.position.data()[row] += static_cast<float>(seen * static_cast<double>(base));
  }
}

}  // namespace kith
