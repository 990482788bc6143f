#include "attention/cases.h"

#include <cmath>
#include <numbers>
#include <sstream>

namespace kith::test {
namespace {

const char* name_of(Data data) {
  switch (data) {
    case Data::normal:
      return "normal";
    case Data::shifted:
      return "shifted";
    case Data::large:
      return "large";
    case Data::duplicate:
      return "duplicate";
    case Data::denormal:
      return "denormal";
    case Data::spread:
      return "spread";
    case Data::giant:
      return "giant";
  }
  return "?";
}

void write(std::ostream& s, const Dot& x) {
  s << "Dot";
  if (x.scale) s << '(' << *x.scale << ')';
}
void write(std::ostream& s, const Cosine& x) { s << "Cosine(" << x.temperature << ')'; }
void write(std::ostream& s, const Gaussian& x) { s << "Gaussian(" << x.bandwidth << ')'; }
void write(std::ostream& s, const Euclidean& x) { s << "Euclidean(" << x.temperature << ')'; }
void write(std::ostream& s, const Uniform&) { s << "Uniform"; }

void write(std::ostream& s, const Mask& mask) {
  if (mask.causal_offset) s << " causal(" << *mask.causal_offset << ')';
  if (mask.self_offset) s << " exclude_self(" << *mask.self_offset << ')';
  if (mask.key_length.empty()) return;
  s << " key_length(";
  for (const Index length : mask.key_length) s << length << ' ';
  s << ')';
}

/// Walks a list round and round, so that axes of different lengths meet in ever new combinations.
template <class T>
T turn(std::initializer_list<T> list, std::size_t step) {
  return list.begin()[step % list.size()];
}

struct Heads {
  Index batch, query, key;
};

Case nth_case(std::size_t n, Index queries, Index keys, Index depth, Index value_depth, int similarity,
              int mask) {
  const Heads heads =
      turn<Heads>({{1, 1, 1}, {2, 1, 1}, {1, 4, 2}, {2, 3, 1}, {3, 2, 2}, {1, 2, 1}, {1, 1, 1}}, n);
  Case c;
  c.batch = heads.batch, c.query_heads = heads.query, c.key_heads = heads.key;
  c.queries = queries, c.keys = keys, c.depth = depth, c.value_depth = value_depth;
  c.similarity = make_similarity(similarity, depth);
  c.mask = make_mask(mask, heads.batch, queries, keys);
  c.seed = n + 1;
  return c;
}

std::vector<Case> make_small_cases() {
  const auto kDepths = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 80, 128};
  const auto kValueDepths = {1, 2, 3, 4, 5, 8, 9, 16, 17, 48, 64, 70};
  const auto kSizes = {0, 1, 2, 3, 7, 47, 48, 49, 96, 97, 191, 192, 193, 300};
  std::vector<Case> list;
  const auto add = [&](Index queries, Index keys, Index depth, Index value_depth, int similarity, int mask) {
    list.push_back(nth_case(list.size(), queries, keys, depth, value_depth, similarity, mask));
  };
  // Every similarity with every mask,
  for (int similarity = 0; similarity < kSimilarityKinds; ++similarity) {
    for (int mask = 0; mask < kMaskKinds; ++mask) {
      for (std::size_t size = 0; size < 3; ++size) {
        const std::size_t n = list.size();
        add(turn<Index>({33, 100, 7, 193}, n), turn<Index>({50, 195, 97}, size),
            turn<Index>({5, 16, 3, 20, 64}, n), turn<Index>({1, 6, 12, 32}, n + size), similarity, mask);
      }
    }
  }
  // every depth with every value depth,
  for (const Index depth : kDepths) {
    for (const Index value_depth : kValueDepths) {
      const std::size_t n = list.size();
      add(turn<Index>({9, 34, 1}, n), turn<Index>({20, 65, 50, 3, 200}, n), depth, value_depth,
          static_cast<int>(n % kSimilarityKinds), static_cast<int>(n / 2 % kMaskKinds));
    }
  }
  // every number of queries with every number of keys.
  for (const Index queries : kSizes) {
    for (const Index keys : kSizes) {
      const std::size_t n = list.size();
      add(queries, keys, turn<Index>({2, 9, 16, 4, 24}, n), turn<Index>({1, 8, 11}, n),
          static_cast<int>(n % (kSimilarityKinds - 1)), static_cast<int>(n / 3 % kMaskKinds));
    }
  }
  return list;
}

std::vector<Case> make_big_cases() {
  std::vector<Case> list;
  const auto add = [&](Index queries, Index keys, Index depth, Index value_depth, int similarity, int mask) {
    Case c = nth_case(0, queries, keys, depth, value_depth, similarity, mask);
    c.seed = 1000 + list.size();
    list.push_back(c);
  };
  add(1921, 2500, 3, 2, 3, 0);
  add(2500, 1921, 4, 5, 0, 7);
  add(49, 1921, 64, 64, 0, 1);
  add(97, 2500, 64, 48, 0, 0);
  add(5, 2500, 33, 9, 2, 6);
  add(1, 4100, 16, 1, 4, 0);
  add(97, 4100, 8, 3, 3, 4);
  add(193, 1920, 16, 16, 4, 2);
  add(7, 2500, 2, 17, 5, 4);
  add(2500, 48, 17, 8, 1, 5);
  return list;
}

std::vector<Case> make_hard_data_cases() {
  std::vector<Case> list;
  for (const Data data :
       {Data::shifted, Data::large, Data::duplicate, Data::denormal, Data::spread, Data::giant}) {
    for (int similarity = 0; similarity < kSimilarityKinds; ++similarity) {
      for (const Index depth : {1, 3, 16, 40}) {
        const std::size_t n = list.size();
        Case c =
            nth_case(n, turn<Index>({30, 100}, n / 4), turn<Index>({60, 200, 350}, n), depth,
                     turn<Index>({1, 12, 4, 33}, n / 2), similarity, static_cast<int>(n / 3 % kMaskKinds));
        c.data = data;
        c.seed = 2000 + n;
        list.push_back(c);
      }
    }
  }
  return list;
}

void fill(Array<float, 4>& rows, Random& random, Data data) {
  for (float& x : rows) {
    switch (data) {
      case Data::shifted:
        x = static_cast<float>(1000 + random.normal());
        break;
      case Data::large:
        x = static_cast<float>(100 * random.normal());
        break;
      case Data::duplicate:
        x = static_cast<float>(random.below(3) - 1);
        break;
      case Data::spread:
        x = static_cast<float>(12 * random.normal());
        break;
      default:
        x = static_cast<float>(random.normal());
        break;
    }
  }
}

}  // namespace

std::uint64_t Random::bits() {  // splitmix64
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

double Random::normal() {  // Box-Muller
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

std::string describe(const Case& c) {
  std::ostringstream s;
  s << "B " << c.batch << " Hq " << c.query_heads << " Hk " << c.key_heads << " N " << c.queries << " M "
    << c.keys << " D " << c.depth << " Dv " << c.value_depth << ' ';
  std::visit([&](const auto& similarity) { write(s, similarity); }, c.similarity);
  write(s, c.mask);
  s << " data " << name_of(c.data) << " seed " << c.seed;
  return s.str();
}

Inputs make_inputs(const Case& c) {
  Random random(c.seed);
  Inputs in{Array<float, 4>({c.batch, c.query_heads, c.queries, c.depth}),
            Array<float, 4>({c.batch, c.key_heads, c.keys, c.depth}),
            Array<float, 4>({c.batch, c.key_heads, c.keys, c.value_depth}),
            Array<float, 4>({c.batch, c.query_heads, c.queries, c.value_depth}),
            Array<float, 3>({c.batch, c.query_heads, c.queries})};
  fill(in.query, random, c.data);
  fill(in.key, random, c.data);
  fill(in.value, random, Data::normal);
  fill(in.d_out, random, Data::normal);
  for (float& x : in.d_lse) x = static_cast<float>(random.normal());
  if (c.data == Data::denormal) {
    for (float& x : in.value) x *= 1e-40F;
  }
  if (c.data == Data::giant && c.keys > 0) {
    const Index j = c.keys / 2;
    for (Index x = 0; x < c.depth; ++x) in.key(0, 0, j, x) *= 1e15F;
  }
  return in;
}

Similarity make_similarity(int kind, Index depth) {
  const double root = std::sqrt(static_cast<double>(depth));
  switch (kind) {
    case 0:
      return Dot{};
    case 1:
      return Dot{.scale = 0.7 / root};
    case 2:
      return Cosine{.temperature = 0.3};
    case 3:
      return Gaussian{.bandwidth = 0.6 * root};
    case 4:
      return Euclidean{.temperature = 0.5};
    default:
      return Uniform{};
  }
}

Mask make_mask(int kind, Index batch, Index queries, Index keys) {
  Mask mask;
  switch (kind) {
    case 0:
      break;
    case 1:
      mask.causal_offset = 0;
      break;
    case 2:
      mask.causal_offset = keys - queries;
      break;
    case 3:
      mask.causal_offset = -2;
      break;
    case 4:
      mask.self_offset = 0;
      break;
    case 5:
      mask.self_offset = 5;
      break;
    case 6:
    case 8:
      for (Index b = 0; b < batch; ++b)
        mask.key_length.push_back(b == 1 ? 0 : keys - std::min<Index>(keys, b * 9 + 3));
      break;
    default:
      break;
  }
  if (kind == 7) {
    mask.causal_offset = 4;
    mask.self_offset = -1;
  }
  if (kind == 8) {
    mask.causal_offset = 1;
    mask.self_offset = 1;
  }
  return mask;
}

const std::vector<Case>& small_cases() {
  static const std::vector<Case> list = make_small_cases();
  return list;
}
const std::vector<Case>& big_cases() {
  static const std::vector<Case> list = make_big_cases();
  return list;
}
const std::vector<Case>& hard_data_cases() {
  static const std::vector<Case> list = make_hard_data_cases();
  return list;
}

}  // namespace kith::test
