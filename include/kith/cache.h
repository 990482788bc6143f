// Keys and values of what has been read so far, for decoding: append, truncate, share a prefix, slide.
#pragma once

#include <memory>
#include <vector>

#include "kith/attention.h"

namespace kith {

/// Keys [B, H, length, D] and values [B, H, length, Dv] that grow at the end. Rows live in pages of a fixed
/// number of keys; copies of a cache share their pages until one of them writes, so a common prefix is stored
/// once. Positions are those of the whole sequence: after `evict`, the first kept key still has its own, and
/// attending is bit-identical (float storage) to the same rows of a full pass that hides the evicted keys.
class KeyValueCache {
 public:
  enum class Storage { float32, bfloat16, float16 };

  /// Error if a size is not positive.
  KeyValueCache(Index batch, Index heads, Index depth, Index value_depth, Storage storage = Storage::float32);

  /// Adds rows at the end: key [B, H, n, D], value [B, H, n, Dv]. Nothing is kept if it throws.
  void append(View<const float, 4> key, View<const float, 4> value);
  /// Forgets all keys from position `length` on. Error if length is not in [first(), length()].
  void truncate(Index length);
  /// Forgets keys before position `first` (sliding window). Error if first is not in [first(), length()].
  void evict(Index first);

  Index length() const;              ///< one past the last position held
  Index first() const;               ///< the first position held
  std::size_t bytes() const;         ///< of the pages this cache refers to
  std::size_t shared_bytes() const;  ///< of those, in pages shared with other caches

  /// attend() of query [B, Hq, N, D] on the keys held. Query i stands at position length() - N + i unless the
  /// options give offsets: causal, window, bias and rotary offsets in `options` are relative to that, so
  /// `causal()` means what it says for the last N tokens. Key indices in masks and results are positions.
  /// Not with `ragged` and dropout. After evict(), want.position needs want.lse, and a block map's key_block
  /// has to divide 1920, the keys of a page.
  AttentionResult attend(View<const float, 4> query, const AttentionOptions& options) const;
  void attend(View<const float, 4> query, const AttentionOptions& options, AttentionResult& result,
              Workspace& workspace) const;

  /// The rows held, as float: key [B, H, length - first, D] and value.
  Array<float, 4> key() const;
  Array<float, 4> value() const;

  struct Page;

 private:
  void gather(Array<std::byte, 1> Page::*side, Index from, const View<float, 4>& to) const;
  bool attend_in_place(View<const float, 4> query, const AttentionOptions& options, Index base,
                       AttentionResult& result, Workspace& workspace) const;
  static void add_base(const AttentionOptions& options, Index base, AttentionResult& result);

  Index batch_, heads_, depth_, value_depth_, first_ = 0, length_ = 0;
  Storage storage_;
  std::vector<std::shared_ptr<Page>> pages_;  ///< pages_[p]: positions from p * page on; null: evicted
};

}  // namespace kith
