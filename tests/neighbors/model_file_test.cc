#include "neighbors/model_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "array/temporary_folder.h"
#include "neighbors/tables.h"

namespace kith {
namespace {

using nlohmann::json;
using test::error_of;

void expect_same_predictions(const Model& a, const Model& b, const Table& table) {
  const bool regression = a.task() == Task::regression;
  const PredictOptions options{.interval = regression ? std::optional(0.9) : std::nullopt, .why = 3};
  const Prediction p = predict(a, table, options), q = predict(b, table, options);
  EXPECT_EQ(p.value, q.value);
  EXPECT_EQ(p.lower, q.lower);
  EXPECT_EQ(p.upper, q.upper);
  EXPECT_EQ(p.spread, q.spread);
  EXPECT_EQ(p.label, q.label);
  EXPECT_TRUE(
      std::equal(p.probability.begin(), p.probability.end(), q.probability.begin(), q.probability.end()));
  for (std::size_t i = 0; i < table.rows; ++i) {
    for (std::size_t k = 0; k < 3; ++k) {
      EXPECT_EQ(p.why[i][k].row, q.why[i][k].row);
      EXPECT_EQ(p.why[i][k].weight, q.why[i][k].weight);
      EXPECT_EQ(p.why[i][k].apart, q.why[i][k].apart);
      EXPECT_EQ(p.why[i][k].target, q.why[i][k].target);
    }
  }
}

TEST(ModelFile, GivesBackTheModel) {
  const TemporaryFolder folder;
  const std::string path = folder.file("m.kith");
  for (Metric metric : {Metric::scalar, Metric::diagonal, Metric::linear, Metric::encoder}) {
    for (Scale scale : {Scale::quantile, Scale::standard, Scale::none}) {
      for (const Table& table : {test::mixed(250, 1), test::ring(250, 1)}) {
        const Model model =
            fit(table, {.target = table.columns.back().name, .metric = metric, .scale = scale});
        model.save(path);
        const Model read = Model::load(path);
        expect_same_predictions(model, read, table);
        EXPECT_EQ(read.metric(), metric);
        EXPECT_EQ(read.scale(), scale);
        EXPECT_EQ(read.task(), model.task());
        EXPECT_EQ(read.target(), model.target());
        EXPECT_EQ(read.classes(), model.classes());
        EXPECT_EQ(read.notes(), model.notes());
        EXPECT_EQ(read.rows(), model.rows());
        EXPECT_EQ(read.leave_one_out().rmse, model.leave_one_out().rmse);
        EXPECT_EQ(read.leave_one_out().log_loss, model.leave_one_out().log_loss);
        EXPECT_EQ(read.effective_neighbors(), model.effective_neighbors());
        for (std::size_t f = 0; f < model.features().size(); ++f) {
          EXPECT_EQ(read.features()[f].bandwidth, model.features()[f].bandwidth);
          EXPECT_EQ(read.features()[f].importance, model.features()[f].importance);
          EXPECT_EQ(read.features()[f].level, model.features()[f].level);
          EXPECT_EQ(read.cell(17, f), model.cell(17, f));
        }
        const std::vector<Baseline> a = baselines(model, table), b = baselines(read, table);
        for (std::size_t i = 0; i < a.size(); ++i) {
          EXPECT_EQ(a[i].errors.rmse, b[i].errors.rmse);
          EXPECT_EQ(a[i].errors.log_loss, b[i].errors.log_loss);
        }
        // Saved again it is the same file.
        const std::string bytes = read_file(path);
        read.save(folder.file("again.kith"));
        EXPECT_EQ(read_file(folder.file("again.kith")), bytes);
      }
    }
  }
}

TEST(ModelFile, SurvivesTheFileItReplaces) {
  const TemporaryFolder folder;
  const std::string path = folder.file("m.kith");
  const Table table = test::mixed(100, 2);
  const Model model = fit(table, {.target = "y"});
  model.save(path);
  const Model read = Model::load(path);
  read.save(path);
  std::filesystem::remove(path);
  expect_same_predictions(model, read, table);
}

TEST(ModelFile, KeepsNamesThatAreNotUnicode) {
  const TemporaryFolder folder;
  const Table table =
      test::table_of({test::categories("caf\xe9", {"\xff", "b", "\xff", "b", ""}),
                      test::numbers("\"quoted\"\n", {1, 2, 3, 4, 5}), test::numbers("y", {1, 2, 1, 2, 1})});
  const Model model = fit(table, {.target = "y"});
  model.save(folder.file("m.kith"));
  const Model read = Model::load(folder.file("m.kith"));
  EXPECT_EQ(read.features()[0].name, "caf\xe9");
  EXPECT_EQ(read.features()[0].level, (std::vector<std::string>{"\xff", "b"}));
  EXPECT_EQ(read.features()[1].name, "\"quoted\"\n");
  EXPECT_EQ(predict(read, table).value, predict(model, table).value);
}

TEST(ModelFile, AnyDamagedByteIsNoticed) {
  const TemporaryFolder folder;
  const std::string path = folder.file("m.kith");
  fit(test::mixed(60, 3), {.target = "y"}).save(path);
  const std::string good = read_file(path);
  for (std::size_t at = 0; at < good.size(); at += 1 + good.size() / 300) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    write_file(path, bad);
    EXPECT_NE(error_of([&] { Model::load(path); }).find("m.kith"), std::string::npos) << at;
  }
  for (std::size_t size :
       {std::size_t{0}, std::size_t{7}, std::size_t{100}, good.size() / 2, good.size() - 1}) {
    write_file(path, good.substr(0, size));
    EXPECT_NE(error_of([&] { Model::load(path); }).find("m.kith"), std::string::npos) << size;
  }
  write_file(path, "a,b\n1,2\n");
  EXPECT_NE(error_of([&] { Model::load(path); }).find("m.kith"), std::string::npos);
}

TEST(ModelFile, AnotherSafetensorsFileIsNoModel) {
  const TemporaryFolder folder;
  const std::string path = folder.file("w.safetensors");
  const float weight = 1;
  write_safetensors(path, {tensor_entry("weight", {1}, &weight)}, {});
  EXPECT_EQ(
      error_of([&] { Model::load(path); }),
      path +
          ": damaged or foreign model: it is a safetensors file, but not a kith model: its metadata has no "
          "'kith.model'");
}

/// A saved model whose schema and tensors a test changes before reading it.
class DamagedModel : public testing::Test {
 protected:
  void SetUp() override { use(Metric::diagonal); }
  void use(Metric metric, std::size_t rows = 40) {
    good_.reset();
    fit(test::mixed(rows, 4), {.target = "y", .metric = metric}).save(path_);
    good_ = SafetensorsFile::open(path_);
  }

  std::string refusal(const std::function<void(json&)>& change) {
    json schema = json::parse(good_->metadata().at("kith.model"));
    change(schema);
    return read(schema.dump(), "", 0, 0.0);
  }

  /// With element `at` of a tensor replaced.
  template <class T>
  std::string refusal(const std::string& tensor, Index at, T value) {
    return read(good_->metadata().at("kith.model"), tensor, at, value);
  }

 private:
  template <class T>
  std::string read(const std::string& schema, const std::string& changed, Index at, T value) {
    std::vector<TensorEntry> entries;
    std::vector<std::vector<std::byte>> bytes;
    for (const std::string& name : good_->names()) {
      const auto copy = [&](const auto* data, Index count) {
        const auto* from = reinterpret_cast<const std::byte*>(data);
        bytes.emplace_back(from, from + static_cast<std::size_t>(count) * sizeof(*data));
      };
      const std::vector<Index>& shape = good_->shape(name);
      const auto view_as = [&](auto zero) {
        using E = decltype(zero);
        if (shape.size() == 1) {
          copy(good_->tensor<E, 1>(name).data, shape[0]);
        } else {
          copy(good_->tensor<E, 2>(name).data, shape[0] * shape[1]);
        }
      };
      const std::string dtype = good_->dtype(name);
      if (dtype == "F32") view_as(float{});
      if (dtype == "F64") view_as(double{});
      if (dtype == "U32") view_as(std::uint32_t{});
      if (name == changed)
        std::memcpy(bytes.back().data() + static_cast<std::size_t>(at) * sizeof(T), &value, sizeof(T));
      entries.push_back({name, dtype, shape, {}});
    }
    for (std::size_t i = 0; i < entries.size(); ++i) entries[i].bytes = bytes[i];
    const std::string path = folder_.file("bad.kith");
    write_safetensors(path, entries, {{"kith.model", schema}});
    const std::string message = error_of([&] { Model::load(path); });
    const std::string start = path + ": ";
    EXPECT_EQ(message.substr(0, start.size()), start);
    return message.substr(start.size());
  }

  TemporaryFolder folder_;
  std::string path_ = folder_.file("good.kith");
  std::optional<SafetensorsFile> good_;
};

TEST_F(DamagedModel, SchemaIsChecked) {
  const std::string start = "damaged or foreign model: ";
  EXPECT_EQ(refusal([](json& s) { s = json::array(); }), start + "its schema is not a JSON object");
  EXPECT_EQ(refusal([](json& s) { s["format"] = 2; }), start + "its format is 2, this program reads 1");
  EXPECT_EQ(refusal([](json& s) { s.erase("task"); }), start + "its schema lacks 'task'");
  EXPECT_EQ(refusal([](json& s) { s["task"] = "ranking"; }),
            start + "'task' is 'ranking', which is none this program knows");
  EXPECT_EQ(refusal([](json& s) { s["metric"] = 3; }), start + "'metric' is not text");
  EXPECT_EQ(refusal([](json& s) { s["target_numeric"] = 1; }),
            start + "'target_numeric' is not true or false");
  EXPECT_EQ(refusal([](json& s) { s["target_numeric"] = false; }),
            start + "it is a regression on categories");
  EXPECT_EQ(refusal([](json& s) { s["deviation"] = -1; }), start + "'deviation' is not positive");
  EXPECT_EQ(refusal([](json& s) { s["center"] = "x"; }), start + "'center' is not a number");
  EXPECT_EQ(refusal([](json& s) { s["notes"] = 1; }), start + "'notes' is not a list");
  EXPECT_EQ(refusal([](json& s) { s["notes"] = {{300}}; }), start + "'notes' is not text");
  EXPECT_EQ(refusal([](json& s) { s["leave_one_out"] = 0; }), start + "'leave_one_out' is not an object");
  EXPECT_EQ(refusal([](json& s) { s["features"][0] = 0; }), start + "a feature is not an object");
  EXPECT_EQ(refusal([](json& s) { s["features"][0]["name"] = "y"; }), start + "two columns are the same");
  EXPECT_EQ(refusal([](json& s) { s["features"][0]["deviation"] = 0; }),
            start + "a column's deviation is not positive");
  EXPECT_EQ(refusal([](json& s) { s["features"][1]["groups"] = 1.5; }), start + "'groups' is not a count");
  EXPECT_EQ(refusal([](json& s) { s["features"][1]["groups"] = 4; }),
            start + "a column has more groups than categories");
  EXPECT_EQ(refusal([](json& s) { s["features"][1]["groups"] = 2; }),
            start + "a category is in none of its column's groups");
  EXPECT_EQ(refusal([](json& s) { s["features"][1]["level"][0] = s["features"][1]["level"][1]; }),
            start + "two categories of a column are the same");
  EXPECT_EQ(refusal([](json& s) { s["features"].erase(2); }).substr(0, 47),
            "damaged or foreign model: tensor 'cell.number' ");
  EXPECT_EQ(refusal([](json& s) { s["calibration"]["floor"] = 0; }),
            start + "its intervals have no positive scale");
  EXPECT_EQ(refusal([](json& s) { s["calibration"]["rows"] = 1; }),
            start + "it has no residuals, or more than rows");
}

TEST_F(DamagedModel, NumbersAreChecked) {
  const std::string start = "damaged or foreign model: ";
  const double nan = test::kBlank, infinity = HUGE_VAL;
  EXPECT_EQ(refusal("key", 3, std::numeric_limits<float>::quiet_NaN()), start + "a key is not finite");
  EXPECT_EQ(refusal("target", 2, nan), start + "a target is not finite");
  EXPECT_EQ(refusal("cell.number", 2, infinity), start + "a cell is infinite");
  EXPECT_EQ(refusal("cell.code", 2, std::uint32_t{3}), start + "a cell is none of its column's categories");
  EXPECT_EQ(refusal("table_row", 2, std::uint32_t{1}), start + "'table_row' does not ascend from 1");
  EXPECT_EQ(refusal("bandwidth", 0, nan), start + "a bandwidth is not between 1e-37 and 1e37, or infinite");
  EXPECT_EQ(refusal("one_bandwidth", 0, -1.0),
            start + "a bandwidth is not between 1e-37 and 1e37, or infinite");
  EXPECT_EQ(refusal("quantile.0", 3, 1e9), start + "a column's quantiles do not ascend");
  EXPECT_EQ(refusal("quantile.0", 3, nan), start + "a quantile is not finite");
  EXPECT_EQ(refusal("residual", 3, 1e9), start + "its residuals do not ascend");
  EXPECT_EQ(refusal("group.1", 1, std::uint32_t{9}), start + "a category is in none of its column's groups");
  use(Metric::linear);
  EXPECT_EQ(refusal("projection", 3, nan), start + "its projection is not finite");
  EXPECT_EQ(refusal("bandwidth", 0, infinity), start + "its projection does not fit its columns");
  use(Metric::encoder, 60);
  EXPECT_EQ(refusal([](json& s) { s["metric"] = "auto"; }),
            start + "'metric' is 'auto', which is none this program knows");
  EXPECT_EQ(refusal("encoder.key.weight", 3, std::numeric_limits<float>::infinity()),
            start + "its encoder is not finite");
  EXPECT_EQ(refusal("bandwidth", 0, infinity), start + "its encoder needs columns that are ignored");
}

}  // namespace
}  // namespace kith
