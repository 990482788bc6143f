// Which keys a query sees. Parts compose with `&`: a key is seen if every part lets it through.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kith/view.h"

namespace kith {

/// Query i, at position i + offset, sees keys from i + offset - left to i + offset + right.
struct Window {
  Index left = 0, right = 0;  ///< not negative
  Index offset = 0;
  bool operator==(const Window&) const = default;
};

/// Sequences packed behind each other along the row axes of one batch row: sequence s has queries
/// query[s] .. query[s + 1] - 1 and keys key[s] .. key[s + 1] - 1, and sees nothing else. Positions in every
/// other part (causal, window, lengths, relative bias, rotary) count from the sequence's own start; arrays
/// and ids keep the packed index. Needs B = 1. A sequence's bits do not depend on the others in the pack.
struct Ragged {
  std::vector<Index> query, key;  ///< ascending, from 0 to N and from 0 to M
  bool operator==(const Ragged&) const = default;
  bool empty() const { return query.empty() && key.empty(); }
};

/// One id per query and per key: [B or 1, N] and [B or 1, M].
struct Ids {
  View<const std::int64_t, 2> query{}, key{};
  bool empty() const { return query.data == nullptr && key.data == nullptr; }
};

/// One time stamp per query and per key: [B or 1, N] and [B or 1, M]. A NaN stamp sees, and is seen by, none.
struct Times {
  View<const double, 2> query{}, key{};
  bool empty() const { return query.data == nullptr && key.data == nullptr; }
};

/// Block-sparse attention: query i sees key j only if allowed(b, h, i / query_block, j / key_block).
struct BlockMap {
  Index query_block = 64, key_block = 64;
  Array<bool, 4> allowed{};  ///< [B or 1, Hq or 1, ceil(N / query_block), ceil(M / key_block)]
};

struct Mask {
  /// Query i sees keys j <= i + *causal_offset. With a cache it is the past length.
  std::optional<Index> causal_offset{};
  /// Query i does not see key i + *self_offset (leave-one-out).
  std::optional<Index> self_offset{};
  /// Keys before this one are seen by none: what a cache has evicted.
  Index first_key = 0;
  /// Batch row b sees its first key_length[b] keys. Empty: all M. One per sequence with `ragged`.
  std::vector<Index> key_length{};
  /// Queries of batch row b from query_length[b] on see nothing. Empty: all N see.
  std::vector<Index> query_length{};
  /// With `causal_offset`: the first prefix[b] keys are seen by all queries of batch row b (prefix-LM). A
  /// single number serves all rows.
  std::vector<Index> prefix{};
  std::optional<Window> window{};
  Ragged ragged{};
  Ids documents{};  ///< a query sees keys with its own id
  Ids groups{};     ///< a query does not see keys with its own id (leave-one-group-out)
  Times times{};    ///< a query sees keys with a stamp strictly before its own
  std::shared_ptr<const BlockMap> blocks{};
  View<const bool, 4> allowed{};  ///< [B or 1, Hq or 1, N or 1, M or 1], true: may be seen; any strides

  /// No part is given: every query sees every key.
  bool empty() const {
    return !causal_offset && !self_offset && first_key <= 0 && key_length.empty() && query_length.empty() &&
           prefix.empty() && !window && ragged.empty() && documents.empty() && groups.empty() &&
           times.empty() && blocks == nullptr && allowed.data == nullptr;
  }
};

inline Mask causal(Index offset = 0) { return {.causal_offset = offset}; }
/// Leave-one-out: query i does not see key i + offset. The offset is where a slice of the keys starts.
inline Mask exclude_self(Index offset = 0) { return {.self_offset = offset}; }
inline Mask key_lengths(std::vector<Index> length) { return {.key_length = std::move(length)}; }
inline Mask query_lengths(std::vector<Index> length) { return {.query_length = std::move(length)}; }
/// Keys before `prefix` are seen by all, later ones causally.
inline Mask prefix_causal(std::vector<Index> prefix, Index offset = 0) {
  return {.causal_offset = offset, .prefix = std::move(prefix)};
}
inline Mask window(Index left, Index right, Index offset = 0) {
  return {.window = Window{left, right, offset}};
}
inline Mask ragged(std::vector<Index> query, std::vector<Index> key) {
  return {.ragged = {std::move(query), std::move(key)}};
}
inline Mask documents(View<const std::int64_t, 2> query, View<const std::int64_t, 2> key) {
  return {.documents = {query, key}};
}
inline Mask exclude_groups(View<const std::int64_t, 2> query, View<const std::int64_t, 2> key) {
  return {.groups = {query, key}};
}
inline Mask before(View<const double, 2> query, View<const double, 2> key) { return {.times = {query, key}}; }
inline Mask block_map(BlockMap map) { return {.blocks = std::make_shared<const BlockMap>(std::move(map))}; }
inline Mask allowed(View<const bool, 4> allowed) { return {.allowed = allowed}; }

/// Blocks at distances 0, dilation, 2 dilation, ... up to `reach` steps on either side (Child et al. 2019).
Mask dilated(Index queries, Index keys, Index block, Index dilation, Index reach);
/// The first `global` blocks see all and are seen by all; others see `reach` blocks on either side (Beltagy
/// et al. 2020).
Mask global_tokens(Index queries, Index keys, Index block, Index global, Index reach);

/// Both must let a key through. Error if both set the same part to different values.
Mask operator&(const Mask& a, const Mask& b);

/// The mask of batch row b (sequence b with `ragged`) and query head h as text, one line a query, '#' seen
/// and
/// '.' not; where N or M is above `most`, cells stand for blocks: '#' all seen, '+' some, '.' none. Error if
/// the mask does not fit N and M.
std::string describe(const Mask& mask, Index queries, Index keys, Index most = 64, Index b = 0, Index h = 0);

}  // namespace kith
