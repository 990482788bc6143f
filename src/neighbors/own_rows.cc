#include "neighbors/own_rows.h"

#include <cmath>

#include "neighbors/key_map.h"

namespace kith::neighbors {
namespace {

template <class T>
View<const T, 1> view_of(const std::vector<T>& v) {
  return {v.data(), {static_cast<Index>(v.size())}};
}

template <class T>
Array<T, 2> columns_at(View<const T, 2> from, const std::vector<Index>& rows) {
  Array<T, 2> out({from.shape[0], static_cast<Index>(rows.size())});
  for (Index f = 0; f < from.shape[0]; ++f) {
    for (std::size_t i = 0; i < rows.size(); ++i) out(f, static_cast<Index>(i)) = from(f, rows[i]);
  }
  return out;
}

void standardize(Model::Impl& model) {
  const auto n = static_cast<double>(model.rows());
  double sum = 0, squares = 0;
  for (Index i = 0; i < model.rows(); ++i) sum += model.target_number(i) / n;
  for (Index i = 0; i < model.rows(); ++i) {
    const double d = model.target_number(i) - sum;
    squares += d * d / n;
  }
  model.center = sum;
  model.deviation = std::sqrt(squares);
}

}  // namespace

OwnRows copy_rows(const Model::Impl& model, const std::vector<Index>& rows) {
  OwnRows out;
  out.cells.rows = static_cast<Index>(rows.size());
  out.cells.number = columns_at(model.cells.number, rows);
  out.cells.code = columns_at(model.cells.code, rows);
  for (Index i : rows) {
    if (model.task == Task::regression) {
      out.target_number.push_back(model.target_number(i));
    } else {
      out.target_code.push_back(model.target_code(i));
    }
    out.table_row.push_back(model.table_row(i));
  }
  return out;
}

void put_rows(Model::Impl& model, OwnRows given) {
  const auto rows = std::make_shared<OwnRows>(std::move(given));
  model.cells = rows->cells.view();
  model.target_number = view_of(rows->target_number);
  model.target_code = view_of(rows->target_code);
  model.table_row = view_of(rows->table_row);
  if (model.task == Task::regression) standardize(model);
  model.prepare();
  if (rows->key.empty()) rows->key = keys_of(model, model.cells);
  model.key = rows->key.view();
  model.memory = rows;
  model.seconds = 0;
}

}  // namespace kith::neighbors
