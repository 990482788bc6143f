#include "neighbors/tables.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace kith::test {

Column numbers(std::string name, std::vector<double> cells) {
  Column column;
  column.name = std::move(name);
  column.number = std::move(cells);
  return column;
}

Column categories(std::string name, const std::vector<std::string>& cells) {
  Column column;
  column.name = std::move(name);
  column.kind = Column::Kind::categorical;
  for (const std::string& cell : cells) {
    if (cell.empty()) {
      column.code.push_back(Column::kMissing);
      continue;
    }
    const auto found = std::find(column.level.begin(), column.level.end(), cell);
    column.code.push_back(static_cast<std::uint32_t>(found - column.level.begin()));
    if (found == column.level.end()) column.level.push_back(cell);
  }
  return column;
}

Table table_of(std::vector<Column> columns) {
  Table table;
  table.source = "table.csv";
  table.rows = columns.empty() ? 0 : columns.front().size();
  table.columns = std::move(columns);
  return table;
}

std::vector<double> Random::normals(std::size_t n) {
  std::vector<double> x(n);
  for (double& v : x) v = normal();
  return x;
}

std::vector<double> Random::uniforms(std::size_t n, double from, double to) {
  std::vector<double> x(n);
  for (double& v : x) v = from + (to - from) * uniform();
  return x;
}

Table textbook_curve(std::size_t rows, std::uint64_t seed) {
  Random random(seed);
  const std::vector<double> x = random.uniforms(rows, 0, 5);
  std::vector<double> y;
  for (double at : x) y.push_back(2 * std::sin(at) + std::pow(at, 0.8) + 0.5 * random.normal());
  return table_of({numbers("x", x), numbers("y", y)});
}

Table mixed(std::size_t rows, std::uint64_t seed) {
  Random random(seed);
  const char* names[] = {"red", "green", "blue"};
  std::vector<double> a, c, y;
  std::vector<std::string> b;
  for (std::size_t i = 0; i < rows; ++i) {
    const double at = random.normal();
    const auto color = static_cast<std::size_t>(3 * random.uniform());
    y.push_back(std::sin(2 * at) + static_cast<double>(color) + 0.1 * random.normal());
    a.push_back(random.uniform() < 0.05 ? kBlank : at);
    b.push_back(random.uniform() < 0.05 ? "" : names[color]);
    c.push_back(random.normal());
  }
  return table_of({numbers("a", a), categories("b", b), numbers("c", c), numbers("y", y)});
}

Table ring(std::size_t rows, std::uint64_t seed) {
  Random random(seed);
  std::vector<double> a, b;
  std::vector<std::string> c;
  for (std::size_t i = 0; i < rows; ++i) {
    a.push_back(random.normal());
    b.push_back(random.normal());
    const bool inside = a.back() * a.back() + b.back() * b.back() < 1.5;
    c.push_back(inside != (random.uniform() < 0.1) ? "in" : "out");
  }
  return table_of({numbers("a", a), numbers("b", b), categories("class", c)});
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no kith::Error was thrown";
  return "";
}

}  // namespace kith::test
