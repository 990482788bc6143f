#include "cli/attend_arrays.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

#include "cli/number_list.h"

namespace kith::cli {
namespace {

constexpr std::array<std::pair<std::string_view, CompactKernel>, 5> kCompactKernels = {
    {{"epanechnikov", CompactKernel::epanechnikov},
     {"boxcar", CompactKernel::boxcar},
     {"triangular", CompactKernel::triangular},
     {"biweight", CompactKernel::biweight},
     {"tricube", CompactKernel::tricube}}};

/// The options that the library's arguments come from.
constexpr std::array<std::pair<std::string_view, std::string_view>, 55> kOptions = {{
    {"query", "--query"},
    {"key", "--key"},
    {"value", "--value"},
    {"bilinear.matrix", "--matrix"},
    {"additive.query_weight", "--query-weight"},
    {"additive.key_weight", "--key-weight"},
    {"additive.score", "--score"},
    {"metric.column_bandwidth", "--column-bandwidths"},
    {"metric.matrix", "--metric-matrix"},
    {"adaptive.query", "--query-bandwidths"},
    {"adaptive.key", "--key-bandwidths"},
    {"sink", "--sink"},
    {"window", "--window"},
    {"first_key", "--first-key"},
    {"prefix", "--prefix"},
    {"key_length", "--key-lengths"},
    {"query_length", "--query-lengths"},
    {"ragged", "--ragged-query"},
    {"ragged.query", "--ragged-query"},
    {"ragged.key", "--ragged-key"},
    {"documents.query", "--query-documents"},
    {"documents.key", "--key-documents"},
    {"groups.query", "--query-groups"},
    {"groups.key", "--key-groups"},
    {"times.query", "--query-times"},
    {"times.key", "--key-times"},
    {"blocks.allowed", "--block-map"},
    {"allowed", "--mask"},
    {"bias.array", "--bias"},
    {"bias.array64", "--bias"},
    {"bias.relative.table", "--relative"},
    {"bias.relative.left", "--relative-left"},
    {"bias.t5.table", "--t5"},
    {"bias.t5.max_distance", "--t5-max-distance"},
    {"bias.alibi", "--alibi"},
    {"bias.offset", "--offset"},
    {"rotary.columns", "--rotary-columns"},
    {"rotary.frequency", "--rotary-frequencies"},
    {"rotary.query_offset", "--query-offset"},
    {"rotary.key_offset", "--key-offset"},
    {"rotary.query_position", "--query-positions"},
    {"rotary.key_position", "--key-positions"},
    {"b", "--describe-at"},
    {"h", "--describe-at"},
    {"top", "--top"},
    {"weights", "--outputs weights"},
    {"method", "--method"},
    {"d_out", "--gradient"},
    {"d_lse", "--gradient-lse"},
    {"d_entropy", "--gradient-entropy"},
    {"d_second_moment", "--gradient-second-moment"},
    {"d_out_tangent", "--tangent-gradient"},
    {"tangent.query", "--tangent-query"},
    {"tangent.key", "--tangent-key"},
    {"tangent.value", "--tangent-value"},
}};

template <class Table>
auto find(const Table& table, std::string_view name) {
  return std::find_if(table.begin(), table.end(), [&](const auto& entry) { return entry.first == name; });
}

bool is_floating(Dtype dtype) {
  return dtype == Dtype::float32 || dtype == Dtype::float64 || dtype == Dtype::bfloat16 ||
         dtype == Dtype::float16;
}

}  // namespace

AttendArrays::AttendArrays(const AttendArguments& arguments) {
  const AttendOptions& given = arguments.attend;
  read_rows("--query", given.query);
  read_rows("--key", given.key);
  read_rows("--value", given.value);
  dtype_ = chosen_dtype(given);

  options_.similarity = similarity(given.similarity);
  options_.metric.column_bandwidth = list<double>("--column-bandwidths", given.similarity.column_bandwidths);
  options_.metric.matrix = read_view<double, 2>("--metric-matrix", given.similarity.metric_matrix);
  options_.adaptive.query = read_view<double, 3>("--query-bandwidths", given.similarity.query_bandwidths);
  options_.adaptive.key = read_view<double, 3>("--key-bandwidths", given.similarity.key_bandwidths);
  options_.soft_cap = given.similarity.soft_cap;
  options_.sink = list<double>("--sink", given.similarity.sink);
  options_.mask = mask(given);
  options_.bias = bias(given);
  if (!given.rotary.layout.empty()) options_.rotary = rotary(given);
  options_.dropout = {given.dropout, arguments.seed, given.first_batch};
  options_.method = given.method;
  options_.round_weights = given.round_weights;
  options_.threads = arguments.threads;

  const OutputArguments& outputs = given.outputs;
  const DerivativeArguments& derivatives = given.derivatives;
  read("--gradient", derivatives.gradient);
  read("--gradient-lse", derivatives.gradient_lse);
  read("--gradient-entropy", derivatives.gradient_entropy);
  read("--gradient-second-moment", derivatives.gradient_second_moment);
  read("--tangent-query", derivatives.tangent_query);
  read("--tangent-key", derivatives.tangent_key);
  read("--tangent-value", derivatives.tangent_value);
  read("--tangent-gradient", derivatives.tangent_gradient);
  options_.want = {.lse = outputs.lse || has("--gradient"),
                   .top = outputs.top,
                   .entropy = outputs.entropy || has("--gradient-entropy"),
                   .largest = outputs.largest,
                   .received = outputs.received,
                   .position = outputs.position,
                   .second_moment = outputs.second_moment || has("--gradient-second-moment")};
}

std::vector<std::string> AttendArrays::files() const {
  std::vector<std::string> files;
  for (const auto& [option, array] : arrays_)
    if (array.path != option) files.push_back(array.path);
  return files;
}

std::string AttendArrays::in_command_words(const std::string& message) const {
  const std::size_t colon = message.find(':');
  const auto found = find(kOptions, std::string_view(message).substr(0, colon));
  if (colon == std::string::npos || found == kOptions.end()) return message;
  const std::string option = found->second == "--bias" ? bias_option() : std::string(found->second);
  const auto array = arrays_.find(option);
  const bool file = array != arrays_.end() && array->second.path != option;
  std::string rest = message.substr(colon);
  constexpr std::string_view kLimit = "most_bytes";
  if (const std::size_t at = rest.find(kLimit); at != std::string::npos)
    rest.replace(at, kLimit.size(), "--weights-limit");
  return fmt::format("{}{}{}", option, file ? fmt::format(" ({})", array->second.path) : "", rest);
}

void AttendArrays::read(const std::string& option, const std::string& text) {
  if (text.empty()) return;
  if (auto numbers = names_a_file(text) ? std::nullopt : parse_number_list(text)) {
    numbers->path = option;
    arrays_[option] = std::move(*numbers);
  } else {
    arrays_[option] = read_npy(text == "-" ? "/dev/stdin" : text);
  }
}

void AttendArrays::read_rows(const std::string& option, const std::string& path) {
  read(option, path);
  if (!has(option)) return;
  const std::size_t rank = shape(option).size();
  if (rank < 2 || rank > 4) {
    throw Error(
        fmt::format("{}: has {} ax{}s; {} needs 2 (rows, columns), 3 (heads before them) or 4 (batch "
                    "before those)",
                    arrays_.at(option).path, rank, rank == 1 ? "i" : "e", option));
  }
}

template <class T>
std::vector<T> AttendArrays::list(const std::string& option, const std::string& text) {
  read(option, text);
  if (!has(option)) return {};
  const Array<T, 1> numbers = arrays_.at(option).as<T, 1>();
  return {numbers.begin(), numbers.end()};
}

template <class T, int R>
View<const T, R> AttendArrays::read_view(const std::string& option, const std::string& text) {
  read(option, text);
  return view<T, R>(option);
}

Dtype AttendArrays::chosen_dtype(const AttendOptions& given) const {
  if (given.dtype) return *given.dtype;
  const NpyArray& query = arrays_.at("--query");
  if (!is_floating(query.dtype) && !given.describe) {
    throw Error(fmt::format("{}: is {}, needs a floating-point type; --dtype float32 converts", query.path,
                            name(query.dtype)));
  }
  return query.dtype;
}

Similarity AttendArrays::similarity(const SimilarityArguments& given) {
  const double bandwidth = given.tau ? std::sqrt(*given.tau / 2) : given.bandwidth.value_or(1);
  const double temperature = given.temperature.value_or(1);
  if (given.name == "cosine") return Cosine{temperature};
  if (given.name == "gaussian") return Gaussian{bandwidth};
  if (given.name == "euclidean") return Euclidean{temperature};
  if (given.name == "laplace") return Laplace{bandwidth};
  if (given.name == "inverse-distance") return InverseDistance{given.power.value_or(InverseDistance{}.power)};
  if (given.name == "bilinear")
    return Bilinear{read_view<double, 2>("--matrix", given.matrix), given.scale.value_or(1)};
  if (given.name == "additive") {
    return Additive{read_view<double, 2>("--query-weight", given.query_weight),
                    read_view<double, 2>("--key-weight", given.key_weight),
                    read_view<double, 1>("--score", given.score)};
  }
  if (given.name == "uniform") return Uniform{};
  const auto compact = find(kCompactKernels, given.name);
  if (compact != kCompactKernels.end()) return Compact{compact->second, bandwidth};
  return Dot{given.scale};
}

Mask AttendArrays::mask(const AttendOptions& options) {
  const MaskArguments& given = options.mask;
  Mask mask;
  if (given.causal) mask.causal_offset = options.offset;
  if (given.exclude_self) mask.self_offset = options.offset;
  if (given.window) mask.window = {given.window->first, given.window->second, options.offset};
  mask.first_key = given.first_key;
  mask.key_length = list<Index>("--key-lengths", given.key_lengths);
  mask.query_length = list<Index>("--query-lengths", given.query_lengths);
  mask.prefix = list<Index>("--prefix", given.prefix);
  mask.ragged = {list<Index>("--ragged-query", given.ragged_query),
                 list<Index>("--ragged-key", given.ragged_key)};
  mask.documents = {read_view<Index, 2>("--query-documents", given.query_documents),
                    read_view<Index, 2>("--key-documents", given.key_documents)};
  mask.groups = {read_view<Index, 2>("--query-groups", given.query_groups),
                 read_view<Index, 2>("--key-groups", given.key_groups)};
  mask.times = {read_view<double, 2>("--query-times", given.query_times),
                read_view<double, 2>("--key-times", given.key_times)};
  read("--block-map", given.block_map);
  if (has("--block-map")) {
    mask.blocks = std::make_shared<const BlockMap>(
        BlockMap{given.block_size.first, given.block_size.second, arrays_.at("--block-map").as<bool, 4>()});
  }
  read("--mask", given.mask);
  if (has("--mask")) {
    const NpyArray& array = arrays_.at("--mask");
    if (array.dtype == Dtype::boolean) {
      mask.allowed = view<bool, 4>("--mask");
    } else if (!is_floating(array.dtype)) {
      throw Error(
          fmt::format("{}: is {}; --mask needs bool (true: may be seen) or floating-point numbers "
                      "(added to the logits)",
                      array.path, name(array.dtype)));
    }
  }
  return mask;
}

std::string AttendArrays::bias_option() const {
  if (has("--bias")) return "--bias";
  return has("--mask") && arrays_.at("--mask").dtype != Dtype::boolean ? "--mask" : "";
}

Bias AttendArrays::bias(const AttendOptions& options) {
  const BiasArguments& given = options.bias;
  read("--bias", given.bias);
  if (has("--bias") && has("--mask") && arrays_.at("--mask").dtype != Dtype::boolean) {
    throw UsageError(fmt::format("--mask: {} holds numbers to add, as --bias does; give one of the two",
                                 arrays_.at("--mask").path));
  }
  Bias bias;
  if (const std::string option = bias_option(); !option.empty()) {
    if (arrays_.at(option).dtype == Dtype::float64) {
      bias.array64 = view<double, 4>(option);
    } else {
      bias.array = view<float, 4>(option);
    }
  }
  if (!given.t5.empty())
    bias.t5 = {read_view<double, 2>("--t5", given.t5), !given.t5_one_way, given.t5_max_distance};
  if (!given.relative.empty())
    bias.relative = {read_view<double, 2>("--relative", given.relative), given.relative_left};
  if (given.alibi == "auto") {
    bias.alibi = alibi_slopes(arrays_.at("--query").shape_of_rank<4>()[1]);
  } else {
    bias.alibi = list<double>("--alibi", given.alibi);
  }
  bias.offset = options.offset;
  return bias;
}

Rotary AttendArrays::rotary(const AttendOptions& options) {
  const RotaryArguments& given = options.rotary;
  return {.base = given.base,
          .interleaved = given.layout == "interleaved",
          .columns = given.columns,
          .scaling = given.scaling,
          .frequency = list<double>("--rotary-frequencies", given.frequencies),
          .query_offset = given.query_offset.value_or(options.offset),
          .key_offset = given.key_offset.value_or(0),
          .query_position = read_view<Index, 2>("--query-positions", given.query_positions),
          .key_position = read_view<Index, 2>("--key-positions", given.key_positions)};
}

}  // namespace kith::cli
