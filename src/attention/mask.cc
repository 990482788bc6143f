// Masks made from parts, and drawn.
#include "kith/mask.h"

#include <fmt/format.h>

#include <algorithm>

#include "attention/checks.h"
#include "attention/geometry.h"
#include "attention/mask_plan.h"
#include "kith/error.h"

namespace kith {
namespace {

template <class T, int R>
bool same(const View<T, R>& a, const View<T, R>& b) {
  return a.data == b.data && a.shape == b.shape && a.stride == b.stride;
}

bool same(const BlockMap& a, const BlockMap& b) {
  return &a == &b || (a.query_block == b.query_block && a.key_block == b.key_block &&
                      a.allowed.shape() == b.allowed.shape() &&
                      std::equal(a.allowed.begin(), a.allowed.end(), b.allowed.begin(), b.allowed.end()));
}

[[noreturn]] void given_twice(const char* part, const std::string& how) {
  throw Error(fmt::format("mask: {} is given twice, with {}", part, how));
}

/// The part of whichever mask has it.
std::optional<Index> either_offset(const char* name, std::optional<Index> a, std::optional<Index> b) {
  if (a && b && *a != *b) given_twice(name, fmt::format("offsets {} and {}", *a, *b));
  return a ? a : b;
}

template <class Part>
const Part& either(const char* name, const char* how, const Part& a, const Part& b) {
  if (a.empty()) return b;
  if (!b.empty() && !(a == b)) given_twice(name, how);
  return a;
}

template <class Part>
const Part& either_view(const char* name, const Part& a, const Part& b) {
  const auto has = [](const Part& part) { return checks::given(part.query) || checks::given(part.key); };
  if (!has(a)) return b;
  if (has(b) && !(same(a.query, b.query) && same(a.key, b.key))) given_twice(name, "different arrays");
  return a;
}

/// Square blocks, of which `allowed(a, b)` are seen.
template <class Allowed>
Mask square_blocks(Index queries, Index keys, Index block, const Allowed& allowed) {
  checks::check_least("queries", queries, 0);
  checks::check_least("keys", keys, 0);
  checks::check_least("block", block, 1);
  const Index rows = queries / block + (queries % block != 0), columns = keys / block + (keys % block != 0);
  Index count = 0;
  if (__builtin_mul_overflow(rows, columns, &count)) {
    throw Error(
        fmt::format("block: {} makes a map of {} by {} blocks; it needs to be larger", block, rows, columns));
  }
  BlockMap map{block, block, Array<bool, 4>({1, 1, rows, columns})};
  for (Index a = 0; a < rows; ++a) {
    for (Index b = 0; b < columns; ++b) map.allowed(0, 0, a, b) = allowed(a, b);
  }
  return block_map(std::move(map));
}

/// How many batch rows (or heads) the mask tells apart; 1 if it treats all alike.
Index batch_of(const Mask& mask) {
  if (!mask.ragged.empty()) return std::max<Index>(1, std::ssize(mask.ragged.query) - 1);
  return std::max({Index{1}, std::ssize(mask.key_length), std::ssize(mask.query_length),
                   std::ssize(mask.prefix), mask.documents.query.shape[0], mask.documents.key.shape[0],
                   mask.groups.query.shape[0], mask.groups.key.shape[0], mask.times.query.shape[0],
                   mask.times.key.shape[0], mask.blocks ? mask.blocks->allowed.shape()[0] : 1,
                   mask.allowed.shape[0]});
}
Index heads_of(const Mask& mask) {
  return std::max({Index{1}, mask.blocks ? mask.blocks->allowed.shape()[1] : 1, mask.allowed.shape[1]});
}

}  // namespace

Mask dilated(Index queries, Index keys, Index block, Index dilation, Index reach) {
  checks::check_least("dilation", dilation, 1);
  checks::check_least("reach", reach, 0);
  return square_blocks(queries, keys, block, [=](Index a, Index b) {
    return (a - b) % dilation == 0 && std::abs(a - b) / dilation <= reach;
  });
}

Mask global_tokens(Index queries, Index keys, Index block, Index global, Index reach) {
  checks::check_least("global", global, 0);
  checks::check_least("reach", reach, 0);
  return square_blocks(queries, keys, block, [=](Index a, Index b) {
    return a < global || b < global || std::abs(a - b) <= reach;
  });
}

Mask operator&(const Mask& a, const Mask& b) {
  // Causal with a prefix is one part: a causal mask without one hides what the prefix shows.
  if (a.causal_offset && b.causal_offset && a.prefix != b.prefix) {
    given_twice("causal", "different prefixes");
  }
  if (a.window && b.window && !(*a.window == *b.window)) given_twice("window", "different numbers");
  if (a.blocks && b.blocks && !same(*a.blocks, *b.blocks)) given_twice("block map", "different blocks");
  if (checks::given(a.allowed) && checks::given(b.allowed) && !same(a.allowed, b.allowed)) {
    given_twice("allowed", "different arrays");
  }
  if (a.first_key > 0 && b.first_key > 0 && a.first_key != b.first_key) {
    given_twice("first_key", fmt::format("{} and {}", a.first_key, b.first_key));
  }
  return {.causal_offset = either_offset("causal", a.causal_offset, b.causal_offset),
          .self_offset = either_offset("exclude_self", a.self_offset, b.self_offset),
          .first_key = a.first_key != 0 ? a.first_key : b.first_key,
          .key_length = either("key_length", "different lengths", a.key_length, b.key_length),
          .query_length = either("query_length", "different lengths", a.query_length, b.query_length),
          .prefix = either("prefix", "different numbers", a.prefix, b.prefix),
          .window = a.window ? a.window : b.window,
          .ragged = either("ragged", "different offsets", a.ragged, b.ragged),
          .documents = either_view("documents", a.documents, b.documents),
          .groups = either_view("groups", a.groups, b.groups),
          .times = either_view("times", a.times, b.times),
          .blocks = a.blocks ? a.blocks : b.blocks,
          .allowed = checks::given(a.allowed) ? a.allowed : b.allowed};
}

std::string describe(const Mask& mask, Index queries, Index keys, Index most, Index b, Index h) {
  checks::check_least("queries", queries, 0);
  checks::check_least("keys", keys, 0);
  checks::check_least("most", most, 1);
  const Index batch = batch_of(mask), heads = heads_of(mask);
  const bool packed = !mask.ragged.empty();
  // A mask that treats all alike answers for any of them.
  if (b < 0 || (b >= batch && (batch > 1 || packed))) {
    throw Error(fmt::format("b: {}; it needs to be one of the mask's {} {}", b, batch,
                            packed ? "sequences" : "batch rows"));
  }
  if (h < 0 || (h >= heads && heads > 1)) {
    throw Error(fmt::format("h: {}; it needs to be one of the mask's {} heads", h, heads));
  }
  check_mask(mask, packed ? 1 : batch, heads, queries, keys);
  const MaskPlan plan(mask, batch, queries, keys);
  const Index s = batch > 1 ? b : 0, head = heads > 1 ? h : 0;
  if (packed) {
    if (plan.sequences().empty()) return "";
    const auto at = static_cast<std::size_t>(s);
    queries = mask.ragged.query[at + 1] - mask.ragged.query[at];
    keys = mask.ragged.key[at + 1] - mask.ragged.key[at];
  }

  const auto cell = [most](Index n) { return std::max<Index>(1, n / most + (n % most != 0)); };
  const Index rows = cell(queries), columns = cell(keys);
  std::string text;
  for (Index i = 0; i < queries; i += rows) {
    for (Index j = 0; j < keys; j += columns) {
      const auto seen =
          plan.classify(s, head, i, std::min(i + rows, queries), j, std::min(j + columns, keys));
      text += seen == MaskPlan::Seen::all ? '#' : seen == MaskPlan::Seen::some ? '+' : '.';
    }
    text += '\n';
  }
  return text;
}

}  // namespace kith
