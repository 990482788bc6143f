#include "neighbors/same_rows.h"

#include <bit>
#include <cmath>
#include <unordered_map>

namespace kith::neighbors {
namespace {

/// Equal numbers have equal bits here, and blanks too.
std::uint64_t bits(double x) {
  return std::isnan(x) ? ~std::uint64_t{0} : std::bit_cast<std::uint64_t>(x + 0.0);
}

/// The finalizer of SplitMix64 (Steele, Lea & Flood 2014).
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31U);
}

struct Row {
  const Cells* cells;
  Index at;
};

}  // namespace

struct SameRows::Impl {
  /// Positions of the columns in use among those of their kind.
  std::vector<Index> number, code;
  Cells stored;

  struct Hash {
    const Impl* columns;
    std::size_t operator()(const Row& row) const {
      std::uint64_t hash = 0;
      for (Index f : columns->number)
        hash = mixed(hash + 0x9e3779b97f4a7c15U + bits(row.cells->number(f, row.at)));
      for (Index f : columns->code) hash = mixed(hash + 0x9e3779b97f4a7c15U + row.cells->code(f, row.at));
      return hash;
    }
  };
  struct Same {
    const Impl* columns;
    bool operator()(const Row& a, const Row& b) const {
      for (Index f : columns->number) {
        if (bits(a.cells->number(f, a.at)) != bits(b.cells->number(f, b.at))) return false;
      }
      for (Index f : columns->code) {
        if (a.cells->code(f, a.at) != b.cells->code(f, b.at)) return false;
      }
      return true;
    }
  };
  std::unordered_map<Row, std::size_t, Hash, Same> group_of{0, Hash{this}, Same{this}};
  std::vector<std::vector<Index>> groups;
};

SameRows::SameRows(const Model::Impl& model) : impl_(std::make_unique<Impl>()) {
  Index number = 0, code = 0;
  for (const Encoding& e : model.encodings) {
    const bool is_numeric = e.kind == Column::Kind::numeric;
    const Index position = is_numeric ? number++ : code++;
    if (e.usable) (is_numeric ? impl_->number : impl_->code).push_back(position);
  }
  impl_->stored = model.cells;
  for (Index i = 0; i < model.rows(); ++i) {
    const auto [found, added] = impl_->group_of.emplace(Row{&impl_->stored, i}, impl_->groups.size());
    if (added) impl_->groups.emplace_back();
    impl_->groups[found->second].push_back(i);
  }
}
SameRows::~SameRows() = default;

const std::vector<std::vector<Index>>& SameRows::groups() const { return impl_->groups; }

const std::vector<Index>* SameRows::find(const Cells& cells, Index i) const {
  const auto found = impl_->group_of.find(Row{&cells, i});
  return found == impl_->group_of.end() ? nullptr : &impl_->groups[found->second];
}

}  // namespace kith::neighbors
