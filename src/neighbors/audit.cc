#include "kith/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "neighbors/answer.h"
#include "neighbors/columns.h"
#include "neighbors/errors.h"
#include "neighbors/model.h"
#include "neighbors/same_rows.h"

namespace kith {
namespace {

/// Queries a call of the operator: bounds its memory.
constexpr Index kQueries = 65536;
/// Neighbors looked through for those that contradict a row.
constexpr Index kLookedThrough = 64;
/// A number this many calibrated scales from what the neighbors say is contradicted by them.
constexpr double kContradiction = 3;
/// A column whose absence raises the error by less than this share does nothing.
constexpr double kNoRise = 0.0005;

View<const float, 2> slice(View<const float, 2> rows, Index first, Index count) {
  rows.data += first * rows.stride[0];
  rows.shape[0] = count;
  return rows;
}

/// What the others say of each stored row.
struct Hearing {
  std::vector<double> score, received;
  std::vector<double> value;         ///< regression
  std::vector<std::uint32_t> label;  ///< classification
};

Hearing hear(const Model::Impl& m, int threads) {
  Hearing h;
  h.received.assign(static_cast<std::size_t>(m.rows()), 0.0);
  for (Index first = 0; first < m.rows(); first += kQueries) {
    const Index n = std::min(kQueries, m.rows() - first);
    const neighbors::Answers answers = neighbors::answer(m.similarity(), m.key, m.value, m.prior,
                                                         slice(m.key, first, n), first, 0, threads, true);
    for (std::size_t j = 0; j < h.received.size(); ++j) {
      h.received[j] += static_cast<double>(answers.received.data()[j]);
    }
    for (Index i = 0; i < n; ++i) {
      if (m.task == Task::classification) {
        h.score.push_back(1 - answers.probability(i, static_cast<Index>(m.target_code(first + i))));
        continue;
      }
      const neighbors::Neighborhood& at = answers.neighborhood[static_cast<std::size_t>(i)];
      h.value.push_back(m.center + m.deviation * at.mean);
      const double miss = (m.target_number(first + i) - m.center) / m.deviation - at.mean;
      h.score.push_back(std::abs(miss) / m.calibration.scale(at));
    }
    if (m.task == Task::classification) {
      const std::vector<std::uint32_t> label = neighbors::likeliest(answers.probability);
      h.label.insert(h.label.end(), label.begin(), label.end());
    }
  }
  return h;
}

std::string says(const Model::Impl& m, const Hearing& h, std::size_t i) {
  return m.task == Task::regression ? fmt::format("{:.6g}", h.value[i]) : m.classes[h.label[i]];
}

/// Positions with the largest values first, those that `keep` lets through, at most `most`; `all` counts
/// them.
template <class Keep>
std::vector<std::size_t> largest(const std::vector<double>& value, std::size_t most, std::size_t& all,
                                 const Keep& keep) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (keep(i)) order.push_back(i);
  }
  all = order.size();
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(std::min(most, order.size()));
  std::partial_sort(order.begin(), end, order.end(), [&](std::size_t a, std::size_t b) {
    return value[a] != value[b] ? value[a] > value[b] : a < b;
  });
  order.erase(end, order.end());
  return order;
}

/// Whether stored row j is nearer to what the neighbors of row i say than to what i says.
bool contradicts(const Model::Impl& m, const Hearing& h, std::size_t i, Index j) {
  const auto at = static_cast<Index>(i);
  if (m.task == Task::classification) return m.target_code(j) != m.target_code(at);
  const double y = m.target_number(j);
  return std::abs(y - h.value[i]) < std::abs(y - m.target_number(at));
}

void find_doubts(const Model& model, const Hearing& h, const AuditOptions& options, std::size_t most,
                 Audit& out) {
  const Model::Impl& m = model.impl();
  const std::vector<std::size_t> rows = largest(h.score, most, out.contradicted, [&](std::size_t i) {
    return m.task == Task::regression ? h.score[i] > kContradiction
                                      : h.label[i] != m.target_code(static_cast<Index>(i));
  });
  const auto width = m.key.shape[1];
  const Index top = options.nearest > 0 ? std::min(kLookedThrough + 1, m.rows()) : 0;
  for (std::size_t first = 0; first < rows.size(); first += kQueries) {
    const auto n = static_cast<Index>(std::min<std::size_t>(kQueries, rows.size() - first));
    Array<float, 2> query({n, width});
    for (Index q = 0; q < n; ++q) {
      const auto i = static_cast<Index>(rows[first + static_cast<std::size_t>(q)]);
      std::copy_n(m.key.data + i * m.key.stride[0], width, query.data() + q * width);
    }
    const neighbors::Answers answers = neighbors::answer(
        m.similarity(), m.key, m.value, m.prior, query, std::nullopt, static_cast<int>(top), options.threads);
    for (Index q = 0; q < n; ++q) {
      const std::size_t i = rows[first + static_cast<std::size_t>(q)];
      Doubt& doubt = out.doubts.emplace_back();
      doubt.row = model.table_row(i + 1);
      doubt.score = h.score[i];
      doubt.said = model.target_cell(i + 1);
      doubt.neighbors_say = says(m, h, i);
      // The row itself is among its neighbors here; without it the others' weights add up to 1.
      double own = 0;
      for (Index t = 0; t < top; ++t) {
        if (answers.top_key(0, 0, q, t) == static_cast<Index>(i)) {
          own = static_cast<double>(answers.top_weight(0, 0, q, t));
        }
      }
      for (Index t = 0; t < top && doubt.against.size() < static_cast<std::size_t>(options.nearest); ++t) {
        const Index j = answers.top_key(0, 0, q, t);
        if (j < 0) break;
        if (j == static_cast<Index>(i) || !contradicts(m, h, i, j)) continue;
        const auto stored = static_cast<std::size_t>(j + 1);
        doubt.against.push_back(
            {.row = model.table_row(stored),
             .weight = own < 1 ? static_cast<double>(answers.top_weight(0, 0, q, t)) / (1 - own) : 0.0,
             .target = model.target_cell(stored),
             .apart = {}});
      }
    }
  }
}

void find_duplicates(const Model& model, const neighbors::SameRows& same, Audit& out) {
  for (const std::vector<Index>& group : same.groups()) {
    if (group.size() < 2) continue;
    Duplicates& d = out.duplicates.emplace_back();
    for (Index i : group) {
      d.rows.push_back(model.table_row(static_cast<std::size_t>(i + 1)));
      d.target.push_back(model.target_cell(static_cast<std::size_t>(i + 1)));
      d.contradict = d.contradict || d.target.back() != d.target.front();
    }
  }
  std::stable_partition(out.duplicates.begin(), out.duplicates.end(),
                        [](const Duplicates& d) { return d.contradict; });
}

void find_shared(const Model& model, const neighbors::SameRows& same, const Table& table, Audit& out) {
  const Model::Impl& m = model.impl();
  out.rows_with = table.rows;
  const neighbors::OwnedCells cells =
      neighbors::read_cells(table, m.features, m.encodings, neighbors::all_rows(table.rows), nullptr);
  const Column* target = table.find(m.target);
  const neighbors::Cells view = cells.view();
  for (std::size_t i = 0; i < table.rows; ++i) {
    const std::vector<Index>* group = same.find(view, static_cast<Index>(i));
    if (group == nullptr) continue;
    SharedRow& shared = out.shared.emplace_back();
    shared.row = i + 1;
    shared.said = target ? target->text(i) : "";
    shared.contradict = !shared.said.empty();
    for (Index j : *group) {
      shared.stored.push_back(model.table_row(static_cast<std::size_t>(j + 1)));
      shared.target.push_back(model.target_cell(static_cast<std::size_t>(j + 1)));
      if (shared.target.back() == shared.said) shared.contradict = false;
    }
  }
}

void find_idle(const Model::Impl& m, Audit& out) {
  for (std::size_t f = 0; f < m.features.size(); ++f) {
    const Feature& feature = m.features[f];
    if (!m.encodings[f].usable) {
      out.idle.push_back({feature.name, "its cells do not tell rows apart"});
    } else if (std::isinf(feature.bandwidth)) {
      out.idle.push_back({feature.name, "ignored: predictions are no better with it"});
    } else if (feature.rise < kNoRise) {
      out.idle.push_back({feature.name, "the error would rise by less than 0.05 % without it"});
    }
  }
}

}  // namespace

Audit audit(const Model& model, const AuditOptions& options) {
  const Model::Impl& m = model.impl();
  if (!(options.share >= 0 && options.share <= 1)) {
    throw Error(fmt::format("share: {} is not a share of the rows from 0 to 1", options.share));
  }
  if (!(options.hub > 0)) throw Error(fmt::format("hub: {}; a positive multiple is needed", options.hub));
  if (options.nearest < 0) {
    throw Error(fmt::format("nearest: {} rows; a number from 0 is needed", options.nearest));
  }
  Audit out;
  out.rows = model.rows();
  Hearing h = hear(m, options.threads);
  const auto most =
      std::max<std::size_t>(1, static_cast<std::size_t>(options.share * static_cast<double>(out.rows)));
  find_doubts(model, h, options, most, out);

  const neighbors::SameRows same(m);
  find_duplicates(model, same, out);
  if (options.with) find_shared(model, same, *options.with, out);

  const double total = std::accumulate(h.received.begin(), h.received.end(), 0.0);
  for (std::size_t i :
       largest(h.received, most, out.hub_rows, [&](std::size_t j) { return h.received[j] > options.hub; })) {
    out.hubs.push_back({.row = model.table_row(i + 1),
                        .received = h.received[i],
                        .share = h.received[i] / total,
                        .said = model.target_cell(i + 1),
                        .neighbors_say = says(m, h, i)});
  }
  find_idle(m, out);
  out.score = std::move(h.score);
  out.received = std::move(h.received);
  return out;
}

}  // namespace kith
