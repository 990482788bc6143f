#include "neighbors/model.h"

#include <fmt/format.h>

#include <cmath>

namespace kith {

const char* name(Task task) { return task == Task::regression ? "regression" : "classification"; }
const char* name(Metric metric) {
  switch (metric) {
    case Metric::scalar:
      return "scalar";
    case Metric::diagonal:
      return "diagonal";
    case Metric::linear:
      return "linear";
    case Metric::encoder:
      return "encoder";
    case Metric::automatic:
      return "auto";
  }
  return "";
}
const char* name(Scale scale) {
  return scale == Scale::quantile ? "quantile" : scale == Scale::standard ? "standard" : "none";
}

std::vector<double> Model::Impl::bandwidths() const {
  std::vector<double> h;
  for (const Feature& feature : features) h.push_back(feature.bandwidth);
  return h;
}

Similarity Model::Impl::similarity() const {
  if (metric == Metric::encoder) return Euclidean{};
  return Gaussian{};
}

void Model::Impl::prepare() {
  const Index n = rows();
  if (task == Task::regression) {
    value = Array<float, 2>({n, 2});
    for (Index i = 0; i < n; ++i) {
      const double y = (target_number(i) - center) / deviation;
      value(i, 0) = static_cast<float>(y);
      value(i, 1) = static_cast<float>(y * y);
    }
    return;
  }
  value = Array<float, 2>({n, static_cast<Index>(classes.size())});
  prior.frequency.assign(classes.size(), 0.0);
  prior.log_weight = prior_log_weight;
  for (Index i = 0; i < n; ++i) {
    value(i, static_cast<Index>(target_code(i))) = 1.0F;
    prior.frequency[target_code(i)] += 1;
  }
  for (double& p : prior.frequency) p /= static_cast<double>(n);
}

std::string neighbors::number_text(double number) { return fmt::format("{}", number); }

Task Model::task() const { return impl_->task; }
Metric Model::metric() const { return impl_->metric; }
Scale Model::scale() const { return impl_->scale; }
const std::string& Model::target() const { return impl_->target; }
const std::vector<Feature>& Model::features() const { return impl_->features; }
const std::vector<std::string>& Model::classes() const { return impl_->classes; }
std::size_t Model::rows() const { return static_cast<std::size_t>(impl_->rows()); }
const Errors& Model::leave_one_out() const { return impl_->leave_one_out; }
double Model::effective_neighbors() const { return impl_->effective_neighbors; }
double Model::seconds() const { return impl_->seconds; }
bool Model::stopped_early() const { return impl_->stopped_early; }
const std::vector<std::string>& Model::notes() const { return impl_->notes; }

namespace {

Index checked_row(const Model& model, std::size_t row) {
  if (row < 1 || row > model.rows()) {
    throw Error(fmt::format("row: {} is not one of the model's stored rows 1 to {}", row, model.rows()));
  }
  return static_cast<Index>(row - 1);
}

}  // namespace

std::string Model::cell(std::size_t row, std::size_t feature) const {
  const Index i = checked_row(*this, row);
  if (feature >= impl_->features.size()) {
    throw Error(fmt::format("feature: {} is not one of the model's {} features, counted from 0", feature,
                            impl_->features.size()));
  }
  const Feature& f = impl_->features[feature];
  Index position = 0;
  for (std::size_t before = 0; before < feature; ++before)
    position += impl_->features[before].kind == f.kind ? 1 : 0;
  if (f.kind == Column::Kind::numeric) {
    const double number = impl_->cells.number(position, i);
    return std::isnan(number) ? "" : neighbors::number_text(number);
  }
  const std::uint32_t code = impl_->cells.code(position, i);
  return code == Column::kMissing ? "" : f.level[code];
}

std::string Model::target_cell(std::size_t row) const {
  const Index i = checked_row(*this, row);
  return impl_->task == Task::regression ? neighbors::number_text(impl_->target_number(i))
                                         : impl_->classes[impl_->target_code(i)];
}

double Model::target_value(std::size_t row) const {
  const Index i = checked_row(*this, row);
  if (impl_->task != Task::regression) throw Error("target_value: the model predicts classes, not a number");
  return impl_->target_number(i);
}

std::size_t Model::table_row(std::size_t row) const { return impl_->table_row(checked_row(*this, row)); }

CsvOptions Model::csv_options(bool with_target) const {
  CsvOptions options;
  const auto add = [&](const std::string& column, Column::Kind kind) {
    options.only.push_back(column);
    (kind == Column::Kind::numeric ? options.numeric : options.categorical).push_back(column);
  };
  for (std::size_t f = 0; f < impl_->features.size(); ++f) {
    if (impl_->encodings[f].usable) add(impl_->features[f].name, impl_->features[f].kind);
  }
  if (with_target) add(impl_->target, impl_->target_kind);
  return options;
}

}  // namespace kith
