#include <fmt/format.h>

#include "attention/checks.h"

namespace kith {
namespace {

using checks::check_array;
using checks::given;

/// Rows a mask numbers from 0: batch rows or, with `ragged`, sequences. `count` -1: any.
struct Rows {
  Index count;
  bool sequences;
};

/// How many queries (or keys) row `s` has.
Index row_size(const std::vector<Index>& offsets, std::size_t s, Index all) {
  return offsets.empty() ? all : offsets[s + 1] - offsets[s];
}

void check_offsets(const char* name, const std::vector<Index>& offsets, const char* rows, Index count) {
  if (offsets.empty() || offsets.front() != 0 || offsets.back() != count) {
    throw Error(offsets.empty() ? fmt::format("{}: no offsets; it needs 0 to {}'s {} rows", name, rows, count)
                                : fmt::format("{}: from {} to {}; it needs to go from 0 to {}'s {} rows",
                                              name, offsets.front(), offsets.back(), rows, count));
  }
  for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
    if (offsets[s] > offsets[s + 1]) {
      throw Error(
          fmt::format("{}: {} comes before {}; it needs to ascend", name, offsets[s], offsets[s + 1]));
    }
  }
}

void check_count(const char* name, const char* what, std::size_t count, Rows rows) {
  if (rows.count != -1 && static_cast<Index>(count) != rows.count) {
    const std::string number = std::to_string(rows.count);
    throw Error(fmt::format("{}: {} {} for {}; it needs one each", name, count, what,
                            rows.sequences ? number + " sequences" : "a batch of " + number));
  }
}

/// Lengths of rows that have at most `all` or what `offsets` say.
void check_lengths(const char* name, const std::vector<Index>& lengths, const std::vector<Index>& offsets,
                   const char* side, Index all, Rows rows) {
  if (lengths.empty()) return;
  check_count(name, "lengths", lengths.size(), rows);
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    const Index most = row_size(offsets, s, all);
    if (lengths[s] < 0 || lengths[s] > most) {
      throw Error(fmt::format("{}: {} in {} {}; it needs 0 to {}'s {} rows", name, lengths[s],
                              rows.sequences ? "sequence" : "batch row", s, side, most));
    }
  }
}

/// Two arrays [B or 1, N] and [B or 1, M].
template <class Part>
void check_pair(const char* query_name, const char* key_name, const Part& part, Index batch, Index queries,
                Index keys) {
  if (!given(part.query) && !given(part.key)) return;
  check_array(query_name, part.query, {{batch, true}, {queries}});
  check_array(key_name, part.key, {{batch, true}, {keys}});
}

Index ceil_divide(Index n, Index step) { return n / step + (n % step != 0); }

}  // namespace

void check_mask(const Mask& mask, Index batch, Index heads, Index queries, Index keys) {
  // Offsets beyond any position mean the same as the nearest sensible one, but must not overflow in
  // i + offset.
  if (mask.causal_offset) checks::check_offset("causal", *mask.causal_offset);
  if (mask.self_offset) checks::check_offset("exclude_self", *mask.self_offset);
  if (mask.window) {
    checks::check_offset("window", mask.window->offset);
    checks::check_least("window.left", mask.window->left, 0);
    checks::check_least("window.right", mask.window->right, 0);
  }

  Rows rows{batch, false};
  if (!mask.ragged.empty()) {
    const auto& [query, key] = mask.ragged;
    if (batch != 1 && batch != -1)
      throw Error(fmt::format("ragged: a batch of {}; it needs 1, all sequences in one row", batch));
    check_offsets("ragged.query", query, "query", queries);
    check_offsets("ragged.key", key, "key", keys);
    if (query.size() != key.size()) {
      throw Error(fmt::format("ragged: {} sequences of queries and {} of keys; it needs as many",
                              query.size() - 1, key.size() - 1));
    }
    rows = {std::ssize(query) - 1, true};
  }

  if (mask.first_key < 0 || mask.first_key > keys)
    throw Error(fmt::format("first_key: {}; it needs 0 to key's {} rows", mask.first_key, keys));
  check_lengths("key_length", mask.key_length, mask.ragged.key, "key", keys, rows);
  check_lengths("query_length", mask.query_length, mask.ragged.query, "query", queries, rows);
  if (!mask.prefix.empty()) {
    if (!mask.causal_offset)
      throw Error("prefix: given without a causal offset; it needs one, as in prefix_causal()");
    if (mask.prefix.size() != 1) check_count("prefix", "numbers", mask.prefix.size(), rows);
    for (const Index x : mask.prefix) {
      if (x < 0 || x > keys) throw Error(fmt::format("prefix: {}; it needs 0 to key's {} rows", x, keys));
    }
  }

  check_pair("documents.query", "documents.key", mask.documents, batch, queries, keys);
  check_pair("groups.query", "groups.key", mask.groups, batch, queries, keys);
  check_pair("times.query", "times.key", mask.times, batch, queries, keys);
  if (mask.blocks) {
    const BlockMap& map = *mask.blocks;
    checks::check_least("blocks.query_block", map.query_block, 1);
    checks::check_least("blocks.key_block", map.key_block, 1);
    checks::check_shape("blocks.allowed", map.allowed.shape(),
                        {{batch, true},
                         {heads, true},
                         {ceil_divide(queries, map.query_block)},
                         {ceil_divide(keys, map.key_block)}});
  }
  if (given(mask.allowed)) {
    check_array("allowed", mask.allowed, {{batch, true}, {heads, true}, {queries, true}, {keys, true}});
  }
}

}  // namespace kith
