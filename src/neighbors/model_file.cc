// Layout: the schema is JSON in the metadata "kith.model", everything counted in rows is a tensor.
//
//     key             F32 [rows, width]                 encoded, divided by the bandwidths, projected
//     cell.number     F64 [numeric features, rows]      NaN: blank
//     cell.code       U32 [categorical features, rows]  into the feature's levels; 2^32 - 1: blank
//     target          F64 [rows] or U32 [rows]          number, or code into the classes
//     table_row       U32 [rows]                        from 1, ascending
//     bandwidth       F64 [features]                    +inf: ignored
//     one_bandwidth   F64 [features]
//     projection      F64 [coordinates, rank]           linear metrics
//     encoder.NAME    F32 [.., ..]                      encoders: their parameters by name
//     quantile.I      F64 [count]                       feature I's, where it has them
//     group.I         U32 [levels]                      feature I's, categorical and in use
//     residual        F64 [count]                       regression
#include "neighbors/model_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "neighbors/key_map.h"
#include "neighbors/model.h"

namespace kith {
namespace {

using neighbors::Encoding;
using nlohmann::json;

constexpr int kFormat = 1;
constexpr const char* kMetadata = "kith.model";

/// JSON holds Unicode only; text in another encoding is kept as a list of its bytes.
json text_json(const std::string& text) {
  json plain = text;
  try {
    static_cast<void>(plain.dump());
    return plain;
  } catch (const json::type_error&) {
    json bytes = json::array();
    for (char c : text) bytes.push_back(static_cast<unsigned char>(c));
    return bytes;
  }
}

json texts_json(const std::vector<std::string>& texts) {
  json list = json::array();
  for (const std::string& text : texts) list.push_back(text_json(text));
  return list;
}

json schema_json(const Model::Impl& m) {
  json features = json::array();
  for (std::size_t f = 0; f < m.features.size(); ++f) {
    const Feature& feature = m.features[f];
    const Encoding& e = m.encodings[f];
    json entry = {{"name", text_json(feature.name)},
                  {"numeric", feature.kind == Column::Kind::numeric},
                  {"has_missing", feature.has_missing},
                  {"rise", feature.rise},
                  {"importance", feature.importance},
                  {"blank", feature.blank},
                  {"usable", e.usable}};
    if (feature.kind == Column::Kind::numeric) {
      entry["center"] = e.center;
      entry["deviation"] = e.deviation;
      entry["indicator"] = e.indicator;
      entry["and_value"] = e.and_value;
      entry["margin"] = e.margin;
    } else {
      entry["level"] = texts_json(feature.level);
      entry["groups"] = e.groups;
    }
    features.push_back(std::move(entry));
  }
  const Errors& loo = m.leave_one_out;
  json schema = {{"format", kFormat},
                 {"task", name(m.task)},
                 {"metric", name(m.metric)},
                 {"scale", name(m.scale)},
                 {"target", text_json(m.target)},
                 {"target_numeric", m.target_kind == Column::Kind::numeric},
                 {"features", std::move(features)},
                 {"effective_neighbors", m.effective_neighbors},
                 {"stopped_early", m.stopped_early},
                 {"notes", texts_json(m.notes)}};
  if (m.task == Task::regression) {
    schema["center"] = m.center;
    schema["deviation"] = m.deviation;
    schema["calibration"] = {{"floor", m.calibration.floor},
                             {"factor", m.calibration.factor},
                             {"usual_distance", m.calibration.usual_distance},
                             {"rows", m.calibration.rows}};
    schema["leave_one_out"] = {{"rmse", loo.rmse},         {"mae", loo.mae},           {"r2", loo.r2},
                               {"interval", loo.interval}, {"coverage", loo.coverage}, {"crps", loo.crps}};
  } else {
    schema["classes"] = texts_json(m.classes);
    schema["prior_log_weight"] = m.prior_log_weight;
    schema["one_prior_log_weight"] = m.one_bandwidth.prior_log_weight;
    schema["leave_one_out"] = {
        {"accuracy", loo.accuracy}, {"log_loss", loo.log_loss}, {"brier", loo.brier}, {"auc", loo.auc}};
  }
  return schema;
}

std::string numbered(const char* what, std::size_t feature) { return fmt::format("{}.{}", what, feature); }

/// Reads and checks; every failure names the file.
class Reader {
 public:
  Reader(const SafetensorsFile& file, const std::string& path) : file_(file), path_(path) {}

  std::shared_ptr<const Model::Impl> read() {
    const auto found = file_.metadata().find(kMetadata);
    if (found == file_.metadata().end()) {
      fail("it is a safetensors file, but not a kith model: its metadata has no 'kith.model'");
    }
    const json schema = json::parse(found->second, nullptr, false);
    if (!schema.is_object()) fail("its schema is not a JSON object");
    if (const double format = number(schema, "format"); format != kFormat) {
      fail(fmt::format("its format is {}, this program reads {}", format, kFormat));
    }
    read_schema(schema);
    read_rows();
    read_features(schema);
    read_metric();
    if (m_->task == Task::regression) read_calibration(schema);
    m_->memory = std::make_shared<SafetensorsFile>(file_);
    m_->prepare();
    return m_;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}: damaged or foreign model: {}", path_, what));
  }
  void require(bool condition, const char* what) const {
    if (!condition) fail(what);
  }

  const json& member(const json& object, const char* key) const {
    const auto it = object.find(key);
    if (it == object.end()) fail(fmt::format("its schema lacks '{}'", key));
    return *it;
  }
  double number(const json& object, const char* key) const {
    const json& value = member(object, key);
    if (!value.is_number() || !std::isfinite(value.get<double>()))
      fail(fmt::format("'{}' is not a number", key));
    return value.get<double>();
  }
  std::uint32_t count(const json& object, const char* key) const {
    const double value = number(object, key);
    if (!(value >= 0 && value < 4294967295.0) || value != std::floor(value))
      fail(fmt::format("'{}' is not a count", key));
    return static_cast<std::uint32_t>(value);
  }
  bool boolean(const json& object, const char* key) const {
    const json& value = member(object, key);
    if (!value.is_boolean()) fail(fmt::format("'{}' is not true or false", key));
    return value.get<bool>();
  }
  const json& list(const json& object, const char* key) const {
    const json& value = member(object, key);
    if (!value.is_array()) fail(fmt::format("'{}' is not a list", key));
    return value;
  }
  std::string text(const json& value, const char* key) const {
    if (value.is_string()) return value.get<std::string>();
    if (!value.is_array()) fail(fmt::format("'{}' is not text", key));
    std::string bytes;
    for (const json& byte : value) {
      if (!byte.is_number_unsigned() || byte.get<std::uint64_t>() > 255)
        fail(fmt::format("'{}' is not text", key));
      bytes.push_back(static_cast<char>(byte.get<std::uint8_t>()));
    }
    return bytes;
  }
  std::vector<std::string> texts(const json& object, const char* key) const {
    std::vector<std::string> out;
    for (const json& value : list(object, key)) out.push_back(text(value, key));
    return out;
  }
  /// One of an enumeration's values by name.
  template <class E>
  E one_of(const json& object, const char* key, std::initializer_list<E> values) const {
    const std::string given = text(member(object, key), key);
    for (E value : values) {
      if (given == name(value)) return value;
    }
    fail(fmt::format("'{}' is '{}', which is none this program knows", key, given));
  }
  void distinct(std::vector<std::string> names, const char* what) const {
    std::sort(names.begin(), names.end());
    if (std::adjacent_find(names.begin(), names.end()) != names.end())
      fail(fmt::format("two {} are the same", what));
  }

  template <class T, int R>
  View<const T, R> tensor(const std::string& tensor_name, const Shape<R>& shape) const {
    const View<const T, R> view = file_.tensor<T, R>(tensor_name);
    if (view.shape != shape) {
      fail(fmt::format("tensor '{}' is [{}], its schema needs [{}]", tensor_name, fmt::join(view.shape, ", "),
                       fmt::join(shape, ", ")));
    }
    return view;
  }
  template <class T>
  std::vector<T> vector(const std::string& tensor_name) const {
    const View<const T, 1> view = file_.tensor<T, 1>(tensor_name);
    return std::vector<T>(view.data, view.data + view.shape[0]);
  }
  template <class T>
  std::vector<T> vector(const std::string& tensor_name, std::size_t size) const {
    const View<const T, 1> view = tensor<T, 1>(tensor_name, {static_cast<Index>(size)});
    return std::vector<T>(view.data, view.data + size);
  }

  void read_schema(const json& schema) {
    m_->task = one_of(schema, "task", {Task::regression, Task::classification});
    m_->metric =
        one_of(schema, "metric", {Metric::scalar, Metric::diagonal, Metric::linear, Metric::encoder});
    m_->scale = one_of(schema, "scale", {Scale::quantile, Scale::standard, Scale::none});
    m_->target = text(member(schema, "target"), "target");
    m_->target_kind = boolean(schema, "target_numeric") ? Column::Kind::numeric : Column::Kind::categorical;
    m_->effective_neighbors = number(schema, "effective_neighbors");
    m_->stopped_early = boolean(schema, "stopped_early");
    m_->notes = texts(schema, "notes");
    const json& loo = member(schema, "leave_one_out");
    require(loo.is_object(), "'leave_one_out' is not an object");
    Errors& e = m_->leave_one_out;
    if (m_->task == Task::regression) {
      require(m_->target_kind == Column::Kind::numeric, "it is a regression on categories");
      m_->center = number(schema, "center");
      m_->deviation = number(schema, "deviation");
      require(m_->deviation > 0, "'deviation' is not positive");
      e.rmse = number(loo, "rmse");
      e.mae = number(loo, "mae");
      e.r2 = number(loo, "r2");
      e.interval = number(loo, "interval");
      e.coverage = number(loo, "coverage");
      e.crps = number(loo, "crps");
    } else {
      m_->classes = texts(schema, "classes");
      require(m_->classes.size() >= 2, "it has fewer than two classes");
      distinct(m_->classes, "classes");
      m_->prior_log_weight = number(schema, "prior_log_weight");
      m_->one_bandwidth.prior_log_weight = number(schema, "one_prior_log_weight");
      e.accuracy = number(loo, "accuracy");
      e.log_loss = number(loo, "log_loss");
      e.brier = number(loo, "brier");
      e.auc = number(loo, "auc");
    }
  }

  void read_rows() {
    m_->table_row = file_.tensor<std::uint32_t, 1>("table_row");
    n_ = m_->table_row.shape[0];
    require(n_ >= 1, "it has no rows");
    for (Index i = 0; i < n_; ++i) {
      require(m_->table_row(i) > (i == 0 ? 0 : m_->table_row(i - 1)), "'table_row' does not ascend from 1");
    }
    if (m_->task == Task::regression) {
      m_->target_number = tensor<double, 1>("target", {n_});
      for (Index i = 0; i < n_; ++i) require(std::isfinite(m_->target_number(i)), "a target is not finite");
    } else {
      m_->target_code = tensor<std::uint32_t, 1>("target", {n_});
      for (Index i = 0; i < n_; ++i)
        require(m_->target_code(i) < m_->classes.size(), "a target is none of its classes");
    }
  }

  void read_features(const json& schema) {
    std::vector<std::string> names{m_->target};
    Index numeric = 0, categorical = 0;
    for (const json& entry : list(schema, "features")) {
      require(entry.is_object(), "a feature is not an object");
      read_feature(entry);
      names.push_back(m_->features.back().name);
      (m_->features.back().kind == Column::Kind::numeric ? numeric : categorical) += 1;
    }
    distinct(std::move(names), "columns");
    m_->cells = {tensor<double, 2>("cell.number", {numeric, n_}),
                 tensor<std::uint32_t, 2>("cell.code", {categorical, n_}), n_};
    for (Index f = 0; f < numeric; ++f) {
      for (Index i = 0; i < n_; ++i) require(!std::isinf(m_->cells.number(f, i)), "a cell is infinite");
    }
    Index position = 0;
    for (const Feature& feature : m_->features) {
      if (feature.kind == Column::Kind::numeric) continue;
      for (Index i = 0; i < n_; ++i) {
        const std::uint32_t code = m_->cells.code(position, i);
        require(code < feature.level.size() || code == Column::kMissing,
                "a cell is none of its column's categories");
      }
      ++position;
    }
  }

  void read_feature(const json& entry) {
    const std::size_t f = m_->features.size();
    Feature feature;
    Encoding e;
    feature.name = text(member(entry, "name"), "name");
    e.kind = feature.kind = boolean(entry, "numeric") ? Column::Kind::numeric : Column::Kind::categorical;
    e.has_missing = feature.has_missing = boolean(entry, "has_missing");
    feature.rise = number(entry, "rise");
    feature.importance = number(entry, "importance");
    feature.blank = number(entry, "blank");
    e.usable = boolean(entry, "usable");
    e.scale = m_->scale;
    if (feature.kind == Column::Kind::numeric) {
      e.center = number(entry, "center");
      e.deviation = number(entry, "deviation");
      e.indicator = number(entry, "indicator");
      e.margin = number(entry, "margin");
      require(e.margin > 0 && e.margin <= 0.5, "a column's margin is not a probability");
      e.and_value = boolean(entry, "and_value");
      require(!e.and_value || e.scale == Scale::quantile, "a column has two scales");
      require(e.deviation > 0, "a column's deviation is not positive");
      if (e.usable && e.scale == Scale::quantile) {
        e.quantile = vector<double>(numbered("quantile", f));
        require(e.quantile.size() >= 2, "a column has fewer than two quantiles");
        for (double q : e.quantile) require(std::isfinite(q), "a quantile is not finite");
        require(std::is_sorted(e.quantile.begin(), e.quantile.end()), "a column's quantiles do not ascend");
      }
    } else {
      feature.level = texts(entry, "level");
      distinct(feature.level, "categories of a column");
      e.groups = count(entry, "groups");
      require(e.groups <= neighbors::kMaxLevels + 1 && e.groups <= feature.level.size(),
              "a column has more groups than categories");
      if (e.usable) {
        require(e.groups + (e.has_missing ? 1U : 0U) >= 2, "a column in use has fewer than two groups");
        e.group = vector<std::uint32_t>(numbered("group", f), feature.level.size());
        for (std::uint32_t g : e.group) require(g < e.groups, "a category is in none of its column's groups");
      }
    }
    m_->features.push_back(std::move(feature));
    m_->encodings.push_back(std::move(e));
  }

  void read_metric() {
    const std::vector<double> bandwidth = vector<double>("bandwidth", m_->features.size());
    const auto valid = [](double h) {
      return h == std::numeric_limits<double>::infinity() ||
             (h >= neighbors::kMinBandwidth && h <= neighbors::kMaxBandwidth);
    };
    m_->one_bandwidth.bandwidth = vector<double>("one_bandwidth", m_->features.size());
    for (std::size_t f = 0; f < bandwidth.size(); ++f) {
      require(valid(bandwidth[f]) && valid(m_->one_bandwidth.bandwidth[f]),
              "a bandwidth is not between 1e-37 and 1e37, or infinite");
      m_->features[f].bandwidth = bandwidth[f];
    }
    auto width = static_cast<Index>(neighbors::coordinate_features(m_->encodings, bandwidth).size());
    require(width > 0, "no column is in use");
    if (m_->metric == Metric::linear) {
      const View<const double, 2> matrix = file_.tensor<double, 2>("projection");
      require(matrix.shape[0] == width && matrix.shape[1] > 0, "its projection does not fit its columns");
      m_->projection = Array<double, 2>(matrix.shape);
      std::copy_n(matrix.data, matrix.size(), m_->projection.begin());
      require(std::all_of(m_->projection.begin(), m_->projection.end(),
                          [](double x) { return std::isfinite(x); }),
              "its projection is not finite");
      width = matrix.shape[1];
    }
    if (m_->metric == Metric::encoder) width = read_encoder(width);
    m_->key = tensor<float, 2>("key", {n_, width});
    const float* key = m_->key.data;
    require(std::all_of(key, key + m_->key.size(), [](float x) { return std::isfinite(x); }),
            "a key is not finite");
  }

  /// The width of its keys.
  Index read_encoder(Index coordinates) {
    const std::vector<bool> is_number = neighbors::number_coordinates(m_->encodings);
    require(static_cast<Index>(is_number.size()) == coordinates,
            "its encoder needs columns that are ignored");
    const bool numbers = std::find(is_number.begin(), is_number.end(), true) != is_number.end();
    neighbors::EncoderShape shape;
    shape.out = file_.tensor<float, 2>("encoder.key.weight").shape[1];
    if (numbers) {
      shape.frequencies = file_.tensor<float, 2>("encoder.number.frequency").shape[1];
      shape.width = file_.tensor<float, 2>("encoder.number.linear.weight").shape[1];
    }
    require(shape.out > 0 && shape.frequencies > 0 && shape.width > 0, "its encoder is empty");
    const auto count = static_cast<Index>(std::count(is_number.begin(), is_number.end(), true));
    require(
        file_.tensor<float, 2>("encoder.key.weight").shape[0] == count * shape.width + coordinates - count,
        "its encoder does not fit its columns");
    Random random(0);
    m_->encoder.emplace(is_number, shape, random);
    for (Parameter* p : m_->encoder->parameters()) {
      const View<const float, 2> from = tensor<float, 2>("encoder." + p->name, p->value.shape());
      std::copy_n(from.data, from.size(), p->value.begin());
      require(std::all_of(p->value.begin(), p->value.end(), [](float x) { return std::isfinite(x); }),
              "its encoder is not finite");
    }
    return shape.out;
  }

  void read_calibration(const json& schema) {
    const json& entry = member(schema, "calibration");
    require(entry.is_object(), "'calibration' is not an object");
    neighbors::Calibration& c = m_->calibration;
    c.floor = number(entry, "floor");
    c.factor = number(entry, "factor");
    c.usual_distance = number(entry, "usual_distance");
    c.rows = count(entry, "rows");
    c.residual = vector<double>("residual");
    require(c.floor > 0 && c.factor > 0 && c.usual_distance >= 0, "its intervals have no positive scale");
    require(!c.residual.empty() && c.residual.size() <= c.rows, "it has no residuals, or more than rows");
    for (double r : c.residual) require(std::isfinite(r), "a residual is not finite");
    require(std::is_sorted(c.residual.begin(), c.residual.end()), "its residuals do not ascend");
    c.prepare();
  }

  const SafetensorsFile& file_;
  const std::string& path_;
  Index n_ = 0;
  std::shared_ptr<Model::Impl> m_ = std::make_shared<Model::Impl>();
};

}  // namespace

Model neighbors::model_from(const SafetensorsFile& file, const std::string& path) {
  return Model(Reader(file, path).read());
}

Model Model::load(const std::string& path) {
  return neighbors::model_from(SafetensorsFile::open(path), path);
}

void Model::save(const std::string& path) const {
  const Impl& m = *impl_;
  const Index n = m.rows();
  const std::vector<double> bandwidth = m.bandwidths();
  const auto features = static_cast<Index>(bandwidth.size());
  std::vector<TensorEntry> tensors{
      tensor_entry("key", {n, m.key.shape[1]}, m.key.data),
      tensor_entry("cell.number", {m.cells.number.shape[0], n}, m.cells.number.data),
      tensor_entry("cell.code", {m.cells.code.shape[0], n}, m.cells.code.data),
      tensor_entry("table_row", {n}, m.table_row.data),
      tensor_entry("bandwidth", {features}, bandwidth.data()),
      tensor_entry("one_bandwidth", {features}, m.one_bandwidth.bandwidth.data()),
  };
  if (m.task == Task::regression) {
    const auto& residual = m.calibration.residual;
    tensors.push_back(tensor_entry("target", {n}, m.target_number.data));
    tensors.push_back(tensor_entry("residual", {static_cast<Index>(residual.size())}, residual.data()));
  } else {
    tensors.push_back(tensor_entry("target", {n}, m.target_code.data));
  }
  if (m.encoder) {
    // Parameters are handed out to be changed; none is here.
    for (const Parameter* p : const_cast<neighbors::Encoder&>(*m.encoder).parameters()) {
      tensors.push_back(
          tensor_entry("encoder." + p->name, {p->value.shape()[0], p->value.shape()[1]}, p->value.data()));
    }
  }
  if (m.metric == Metric::linear) {
    tensors.push_back(
        tensor_entry("projection", {m.projection.shape()[0], m.projection.shape()[1]}, m.projection.data()));
  }
  for (std::size_t f = 0; f < m.encodings.size(); ++f) {
    const Encoding& e = m.encodings[f];
    if (!e.quantile.empty()) {
      tensors.push_back(
          tensor_entry(numbered("quantile", f), {static_cast<Index>(e.quantile.size())}, e.quantile.data()));
    }
    if (e.usable && e.kind == Column::Kind::categorical) {
      tensors.push_back(
          tensor_entry(numbered("group", f), {static_cast<Index>(e.group.size())}, e.group.data()));
    }
  }
  write_safetensors(path, tensors, {{kMetadata, schema_json(m).dump()}});
}

}  // namespace kith
