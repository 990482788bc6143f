#include "cli/json.h"

#include <cmath>

#include <nlohmann/json.hpp>

namespace kith::cli {
namespace {

using Json = nlohmann::ordered_json;

/// A table may hold bytes that are not UTF-8; JSON may not, so they become the replacement character.
std::string line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

Json errors_json(Task task, const Errors& errors) {
  if (task == Task::classification) {
    return {{"accuracy", errors.accuracy},
            {"log_loss", errors.log_loss},
            {"brier", errors.brier},
            {"auc", errors.auc}};
  }
  Json json = {{"rmse", errors.rmse}, {"mae", errors.mae}, {"r2", errors.r2}};
  // A baseline that gives no intervals has none to score.
  if (errors.interval > 0) {
    json["interval"] = errors.interval;
    json["coverage"] = errors.coverage;
    json["crps"] = errors.crps;
  }
  return json;
}

Json describe(const std::string& path, const Model& model) {
  return {{"model", path},
          {"rows", model.rows()},
          {"columns", model.features().size()},
          {"metric", name(model.metric())},
          {"target", model.target()},
          {"task", name(model.task())},
          {"loo", errors_json(model.task(), model.leave_one_out())},
          {"effective_neighbors", model.effective_neighbors()},
          {"stopped_early", model.stopped_early()},
          {"notes", model.notes()}};
}

/// A regression's target is a number in JSON too; the cell's text is what reads back as it.
Json target_json(Task task, const std::string& cell) {
  if (task == Task::classification) return cell;
  char* end = nullptr;
  const double value = std::strtod(cell.c_str(), &end);
  return end == cell.c_str() ? Json(nullptr) : Json(value);
}

}  // namespace

const char* name(KernelTime::Unit unit) {
  switch (unit) {
    case KernelTime::Unit::gflops:
      return "gflops";
    case KernelTime::Unit::gb_s:
      return "gb_s";
    case KernelTime::Unit::gpairs_s:
      return "gpairs_s";
  }
  return "";
}

std::string fit_json(const std::string& path, const Model& model, const CrossValidation& checked) {
  Json json = describe(path, model);
  json["seconds"] = model.seconds();
  if (!checked.fold.empty()) {
    json["cv"] = {{"folds", checked.fold.size()},
                  {"mean", errors_json(model.task(), checked.mean)},
                  {"deviation", errors_json(model.task(), checked.deviation)}};
  }
  return line(json);
}

std::string show_json(const std::string& path, const Model& model) {
  Json json = describe(path, model);
  json["scale"] = name(model.scale());
  if (model.task() == Task::classification) json["classes"] = model.classes();
  Json& features = json["features"] = Json::array();
  for (const Feature& feature : model.features()) {
    const bool numeric = feature.kind == Column::Kind::numeric;
    Json entry = {{"name", feature.name},
                  {"kind", numeric ? "numeric" : "categorical"},
                  {"bandwidth", feature.bandwidth},
                  {"rise", feature.rise},
                  {"importance", feature.importance},
                  {"ignored", std::isinf(feature.bandwidth)},
                  {"blank", feature.blank}};
    if (!numeric) entry["levels"] = feature.level;
    features.push_back(std::move(entry));
  }
  return line(json);
}

std::string prediction_json(const Model& model, const Prediction& prediction, std::size_t row,
                            int why_count) {
  Json json;
  if (model.task() == Task::classification) {
    json["prediction"] = model.classes().at(prediction.label.at(row));
    Json& probability = json["probability"] = Json::object();
    for (std::size_t c = 0; c < model.classes().size(); ++c) {
      probability[model.classes()[c]] =
          prediction.probability(static_cast<Index>(row), static_cast<Index>(c));
    }
  } else {
    json["prediction"] = prediction.value.at(row);
    if (!prediction.lower.empty()) {
      json["lower"] = prediction.lower.at(row);
      json["upper"] = prediction.upper.at(row);
    }
  }
  if (why_count > 0) {
    Json& why = json["why"] = Json::array();
    for (const Neighbor& neighbor : prediction.why.at(row)) {
      if (why.size() == static_cast<std::size_t>(why_count)) break;
      Json apart = Json::object();
      for (std::size_t f = 0; f < neighbor.apart.size(); ++f)
        apart[model.features().at(f).name] = neighbor.apart[f];
      why.push_back({{"row", neighbor.row},
                     {"weight", neighbor.weight},
                     {"target", target_json(model.task(), neighbor.target)},
                     {"apart", std::move(apart)}});
    }
  }
  return line(json);
}

std::string score_json(const Model& model, const Score& score, const std::vector<Baseline>& baselines) {
  Json json = {{"rows", score.rows}, {"rows_left_out", score.rows_left_out}, {"task", name(model.task())}};
  json.update(errors_json(model.task(), score.errors));
  if (!baselines.empty()) {
    Json& list = json["baselines"] = Json::array();
    for (const Baseline& baseline : baselines) {
      Json entry = {{"name", baseline.name}};
      entry.update(errors_json(model.task(), baseline.errors));
      list.push_back(std::move(entry));
    }
  }
  return line(json);
}

std::string audit_json(const std::string& path, const Model& model, const Audit& audit, bool with) {
  const Task task = model.task();
  const auto targets = [&](const std::vector<std::string>& cells) {
    Json list = Json::array();
    for (const std::string& cell : cells) list.push_back(target_json(task, cell));
    return list;
  };
  Json json = {{"model", path},
               {"rows", audit.rows},
               {"target", model.target()},
               {"contradicted", audit.contradicted}};
  Json& labels = json["labels"] = Json::array();
  for (const Doubt& d : audit.doubts) {
    Json rows = Json::array();
    for (const Neighbor& n : d.against) {
      rows.push_back({{"row", n.row}, {"weight", n.weight}, {"target", target_json(task, n.target)}});
    }
    labels.push_back({{"row", d.row},
                      {"score", d.score},
                      {"said", target_json(task, d.said)},
                      {"neighbors_say", target_json(task, d.neighbors_say)},
                      {"against", std::move(rows)}});
  }
  Json& duplicates = json["duplicates"] = Json::array();
  for (const Duplicates& d : audit.duplicates) {
    duplicates.push_back({{"rows", d.rows}, {"said", targets(d.target)}, {"contradict", d.contradict}});
  }
  if (with) {
    json["rows_with"] = audit.rows_with;
    Json& shared = json["shared"] = Json::array();
    for (const SharedRow& s : audit.shared) {
      shared.push_back({{"row", s.row},
                        {"said", s.said.empty() ? Json(nullptr) : target_json(task, s.said)},
                        {"stored", s.stored},
                        {"stored_say", targets(s.target)},
                        {"contradict", s.contradict}});
    }
  }
  json["hub_rows"] = audit.hub_rows;
  Json& hubs = json["hubs"] = Json::array();
  for (const Hub& h : audit.hubs) {
    hubs.push_back({{"row", h.row},
                    {"received", h.received},
                    {"share", h.share},
                    {"said", target_json(task, h.said)},
                    {"neighbors_say", target_json(task, h.neighbors_say)}});
  }
  Json& idle = json["idle_columns"] = Json::array();
  for (const IdleColumn& c : audit.idle) idle.push_back({{"name", c.name}, {"reason", c.reason}});
  return line(json);
}

std::string update_json(const UpdateSummary& summary, const Model& model) {
  return line({{"model", summary.path},
               {"rows", model.rows()},
               {"added", summary.added},
               {"first_row", summary.added > 0 ? Json(summary.first_row) : Json(nullptr)},
               {"left_out", summary.left_out},
               {"forgotten", summary.forgotten},
               {"task", name(model.task())},
               {"before", errors_json(model.task(), summary.before)},
               {"now", errors_json(model.task(), model.leave_one_out())},
               {"notes", summary.notes}});
}

std::string compress_json(const std::string& path, const Model& old, const Compressed& result) {
  return line({{"model", path},
               {"rows", result.model.rows()},
               {"rows_before", old.rows()},
               {"wider", result.wider},
               {"task", name(old.task())},
               {"before", errors_json(old.task(), result.before)},
               {"after", errors_json(old.task(), result.after)}});
}

std::string attend_json(const AttendSummary& result) {
  Json files = Json::object();
  for (const auto& [name, path] : result.files) files[name] = path;
  return line({{"shape", result.shape},
               {"dtype", result.dtype},
               {"similarity", result.similarity},
               {"method", result.method},
               {"seconds", result.seconds},
               {"files", std::move(files)}});
}

std::string mask_json(Index queries, Index keys, const std::string& text) {
  return line({{"queries", queries}, {"keys", keys}, {"mask", text}});
}

std::string bench_json(const BenchResult& result) {
  Json json = {{"cpu", result.cpu},
               {"instructions", result.instructions},
               {"peak_gflops", result.peak_gflops},
               {"read_gb_s", result.read_gb_s}};
  Json& kernels = json["kernels"] = Json::array();
  for (const KernelTime& kernel : result.kernels) {
    kernels.push_back({{"name", kernel.name},
                       {"shape", kernel.shape},
                       {"threads", kernel.threads},
                       {name(kernel.unit), kernel.rate},
                       {"of_limit", kernel.of_limit}});
  }
  return line(json);
}

}  // namespace kith::cli
