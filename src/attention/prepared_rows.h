// Queries and keys as the kernels take them: converted to the type of the arithmetic, mapped, keys in tiles.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "array/threads.h"
#include "attention/kernels/kernels.h"
#include "attention/lowering.h"
#include "attention/mask_plan.h"
#include "attention/row_map.h"
#include "attention/workspace.h"

namespace kith {

/// One side's rows: where they lie if type and options allow that, else in memory of the caller.
template <class T>
class MappedRows {
 public:
  using Real = compute_t<T>;

  MappedRows(const View<const T, 4>& rows, const AttentionOptions& options, const Geometry& g,
             RowMap::Side side)
      : rows_(rows),
        side_(side),
        map_(options, g, side),
        depth_(map_.depth_out()),
        identity_(map_.identity()) {}

  const RowMap& map() const { return map_; }
  bool identity() const { return identity_; }  ///< of the map: gradients need no way back
  bool in_place() const { return std::is_same_v<T, Real> && identity_; }
  Index depth() const { return depth_; }  ///< of the rows below
  /// For bfloat16 of an even depth that nothing maps: from now on rows are words of two columns, as they are
  /// stored.
  void keep_halves() {
    depth_ /= 2;
    halves_ = true;
  }
  /// Whether the kernels can read the caller's rows themselves, converting them on their way.
  bool readable() const {
    const auto even = [](Index x) { return x % 2 == 0; };
    return identity_ &&
           (!halves_ || (reinterpret_cast<std::uintptr_t>(rows_.data) % alignof(float) == 0 &&
                         even(rows_.stride[0]) && even(rows_.stride[1]) && even(rows_.stride[2])));
  }
  /// From row j on, where readable().
  kernels::StoredRows stored(const Sequence& s, Index h, Index j) const {
    const HeadRows<T> from = raw(s, h);
    const T* row = from.data + j * from.stride;
    if (halves_) return {row, from.stride / 2, dtype_of<Real>()};
    return {row, from.stride, dtype_of<T>()};
  }

  /// As the caller gave them, of head h of a sequence.
  HeadRows<T> raw(const Sequence& s, Index h) const {
    return head_rows(rows_, s.batch, h, side_ == RowMap::Side::query ? s.first_query : s.first_key);
  }
  /// After `apply` with the same memory, [rows of the sequence][depth] unless in_place().
  HeadRows<Real> at(const Sequence& s, Index h, const Real* memory) const {
    if constexpr (std::is_same_v<T, Real>) {
      if (identity_) return raw(s, h);
    }
    return {memory, depth_};
  }
  HeadRows<Real> apply(const Sequence& s, Index h, Real* memory) const {
    const Index rows = side_ == RowMap::Side::query ? s.queries : s.keys;
    const HeadRows<T> from = raw(s, h);
    if (halves_) {
      for (Index i = 0; i < rows; ++i) {
        std::memcpy(memory + i * depth_, from.data + i * from.stride,
                    static_cast<std::size_t>(depth_) * sizeof(Real));
      }
    } else if (!in_place()) {
      map_.apply(from.data, from.stride, s, rows, memory, depth_);
    }
    return at(s, h, memory);
  }

 private:
  const View<const T, 4>& rows_;
  RowMap::Side side_;
  RowMap map_;
  Index depth_;
  bool identity_, halves_ = false;
};

/// Queries and packed keys of all heads at once, for the passes that go over keys again and again.
template <class T>
class PreparedRows {
 public:
  using Real = compute_t<T>;

  /// `dots_halves`: rows that nothing maps may stay bfloat16, two columns a word, where depth() then counts
  /// words.
  PreparedRows(const View<const T, 4>& query, const View<const T, 4>& key, const AttentionOptions& options,
               const Geometry& g, const MaskPlan& plan, bool dots_halves = false)
      : query_view_(query),
        query_(query, options, g, RowMap::Side::query),
        key_(key, options, g, RowMap::Side::key),
        g_(g),
        plan_(plan),
        halves_(dots_halves && query_.identity() && key_.identity() && g.depth > 0 && g.depth % 2 == 0),
        ragged_(!options.mask.ragged.empty()),
        tiles_(kernels::tile_count<Real>(g.keys) + (ragged_ ? plan.sequence_count() : 0)) {
    if (halves_) {
      query_.keep_halves();
      key_.keep_halves();
    }
    depth_ = query_.depth();
  }

  bool halves() const { return halves_; }
  Index depth() const { return depth_; }  ///< of the rows that the kernels get

  /// Key heads of all sequences, which are counted through.
  Index key_heads() const { return plan_.sequence_count() * g_.key_heads; }
  /// `packed`: the keys will be asked for as tiles, else as rows. `together`: at most so many key heads will
  /// be prepared at a time, in order, and share the memory of those before.
  void divide(Divider& memory, bool packed, Index together) {
    if (!query_.in_place()) query_rows_ = memory.take<Real>(g_.batch * g_.heads * g_.queries * depth_);
    packed_ = packed;
    slots_ = ragged_ ? g_.key_heads : together;
    if (packed ? !key_.in_place() : !key_.readable()) {
      key_rows_ = memory.take<Real>(slots_ * g_.keys * depth_);
    }
    if (packed) key_tiles_ = take_tiles(memory, depth_);
  }
  void divide(Divider& memory) { divide(memory, true, key_heads()); }

  void prepare(int threads) const { prepare(threads, 0, key_heads()); }
  /// Key heads [first, end) and the query heads that go with them.
  void prepare(int threads, Index first_head, Index end) const {
    parallel_for(threads, (end - first_head) * g_.group(), [&](Index i) {
      const Index head = first_head * g_.group() + i;
      const Sequence& s = plan_.sequence(head / g_.heads);
      query_.apply(s, head % g_.heads, query_memory(s, head % g_.heads));
    });
    if (!packed_ && key_.readable()) return;
    const Index heads = end - first_head;
    if (!packed_ || !key_.in_place()) {
      parallel_for(threads, heads, [&](Index i) {
        const Index head = first_head + i;
        const Sequence& s = plan_.sequence(head / g_.key_heads);
        key_.apply(s, head % g_.key_heads, key_memory(s, head % g_.key_heads));
      });
    }
    if (!packed_) return;
    // In parts, so that one head is packed by all threads.
    constexpr Index kPart = 8;
    const Index parts = (kernels::tile_count<Real>(g_.keys) + kPart - 1) / kPart;
    parallel_for(threads, heads * parts, [&](Index i) {
      const Index head = first_head + i / parts, number = head / g_.key_heads, h = head % g_.key_heads;
      const Sequence& s = plan_.sequence(number);
      const Index tiles_here = kernels::tile_count<Real>(s.keys), first = i % parts * kPart;
      if (first >= tiles_here) return;
      const HeadRows<Real> rows = key_.at(s, h, key_memory(s, h));
      kernels::pack_tiles<Real>(rows.data, rows.stride, s.keys, depth_, first,
                                std::min(tiles_here, first + kPart), tiles(key_tiles_, number, h, depth_));
    });
  }

  HeadRows<Real> queries(Index number, Index h) const {
    const Sequence& s = plan_.sequence(number);
    return query_.at(s, h, query_memory(s, h));
  }
  const Real* keys(Index number, Index h) const { return tiles(key_tiles_, number, h, depth_); }
  /// Not packed, from key j on: where the caller has them, in their own type, unless they are mapped.
  kernels::StoredRows stored_keys(Index number, Index h, Index j) const {
    const Sequence& s = plan_.sequence(number);
    if (key_.readable()) return key_.stored(s, h, j);
    return {key_memory(s, h) + j * depth_, depth_, dtype_of<Real>()};
  }

  /// A key's numbers as the kernels see them.
  void copy_key(Index number, Index h, Index j, Real* to) const {
    if (packed_) {
      const Index tile = kernels::tile_keys<Real>();
      const Real* from = keys(number, h) + j / tile * depth_ * tile + j % tile;
      for (Index c = 0; c < depth_; ++c) to[c] = from[c * tile];
    } else if (key_.identity()) {
      const HeadRows<T> raw = key_.raw(plan_.sequence(number), h);
      for (Index c = 0; c < depth_; ++c) to[c] = static_cast<Real>(raw.data[j * raw.stride + c]);
    } else {
      std::copy_n(key_memory(plan_.sequence(number), h) + j * depth_, depth_, to);
    }
  }

  /// Whether the query rows of neighboring heads follow one another at one stride, `count` of each.
  bool evenly_spaced(Index count) const {
    if (count == 1) return true;
    const Index head = query_.in_place() ? query_view_.stride[1] : g_.queries * depth_;
    const Index row = query_.in_place() ? query_view_.stride[2] : depth_;
    return !ragged_ && head == count * row;
  }

  /// How many key heads memory is shared by, and which part of it is a head's. Packed sequences lie one after
  /// the other in the same part.
  Index slots() const { return slots_; }
  Index slot(const Sequence& s, Index h) const { return (s.batch * g_.key_heads + h) % slots_; }
  /// Memory for tiles, and those of one head of a sequence in it: packed sequences begin at a tile of their
  /// own.
  Real* take_tiles(Divider& memory, Index columns) const {
    return memory.take<Real>(slots_ * tiles_ * columns * kernels::tile_keys<Real>());
  }
  Real* tiles(Real* all, Index number, Index h, Index columns) const {
    const Sequence& s = plan_.sequence(number);
    const Index first = ragged_ ? s.first_key / kernels::tile_keys<Real>() + number : 0;
    return all + (slot(s, h) * tiles_ + first) * columns * kernels::tile_keys<Real>();
  }

 private:
  Real* key_memory(const Sequence& s, Index h) const {
    return key_rows_ == nullptr ? nullptr : key_rows_ + (slot(s, h) * g_.keys + s.first_key) * depth_;
  }
  Real* query_memory(const Sequence& s, Index h) const {
    if (query_rows_ == nullptr) return nullptr;
    return query_rows_ + ((s.batch * g_.heads + h) * g_.queries + s.first_query) * depth_;
  }

  const View<const T, 4>& query_view_;
  MappedRows<T> query_, key_;
  const Geometry& g_;
  const MaskPlan& plan_;
  Index depth_ = 0;
  bool halves_, ragged_, packed_ = true;
  Index tiles_;                 // of a head
  Index slots_ = 0;             // key heads whose rows and tiles are kept at a time
  Real* query_rows_ = nullptr;  // [B Hq][N][depth], unless in place
  Real* key_rows_ = nullptr;    // [slots][M][depth], likewise
  Real* key_tiles_ = nullptr;   // [slots][tiles][depth][tile]
};

}  // namespace kith
