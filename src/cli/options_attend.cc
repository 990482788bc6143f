// The options of `kith attend`.
#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

#include "array/number.h"
#include "cli/number_list.h"
#include "cli/verb_parser.h"

namespace kith::cli {
namespace {

using Words = std::vector<std::string>;

Words with(Words words, const char* word) {
  words.emplace_back(word);
  return words;
}

Words distances() {
  return {"gaussian", "laplace", "epanechnikov", "boxcar", "triangular", "biweight", "tricube"};
}
/// Those that a metric goes with,
Words measured() {
  return {"dot",    "cosine",     "gaussian", "euclidean", "laplace",         "epanechnikov",
          "boxcar", "triangular", "biweight", "tricube",   "inverse-distance"};
}
/// that have one number,
Words scaled() { return with(measured(), "bilinear"); }
/// that look at queries and keys at all.
Words compared() { return with(scaled(), "additive"); }
Words all_similarities() { return with(compared(), "uniform"); }

/// Options that mean something to these similarities only.
struct Use {
  const char* option;
  Words similarities;
  bool needed = false;  ///< by each of them
};
std::vector<Use> uses() {
  return {{"--scale", {"dot", "bilinear"}},
          {"--temperature", {"cosine", "euclidean"}},
          {"--bandwidth", distances()},
          {"--tau", {"gaussian"}},
          {"--power", {"inverse-distance"}},
          {"--matrix", {"bilinear"}, true},
          {"--query-weight", {"additive"}, true},
          {"--key-weight", {"additive"}, true},
          {"--score", {"additive"}, true},
          {"--column-bandwidths", measured()},
          {"--metric-matrix", measured()},
          {"--query-bandwidths", scaled()},
          {"--key-bandwidths", scaled()},
          {"--soft-cap", compared()},
          {"--rotary", compared()},
          {"--tangent-parameter", scaled()}};
}

/// The first option means nothing without one of the others.
struct Need {
  const char* option;
  Words one_of;
};
std::vector<Need> requirements() {
  return {
      {"--offset", {"--causal", "--window", "--exclude-self", "--relative", "--t5", "--alibi", "--rotary"}},
      {"--prefix", {"--causal"}},
      {"--ragged-query", {"--ragged-key"}},
      {"--ragged-key", {"--ragged-query"}},
      {"--query-documents", {"--key-documents"}},
      {"--key-documents", {"--query-documents"}},
      {"--query-groups", {"--key-groups"}},
      {"--key-groups", {"--query-groups"}},
      {"--query-times", {"--key-times"}},
      {"--key-times", {"--query-times"}},
      {"--block-size", {"--block-map"}},
      {"--relative", {"--relative-left"}},
      {"--relative-left", {"--relative"}},
      {"--t5-one-way", {"--t5"}},
      {"--t5-max-distance", {"--t5"}},
      {"--rotary-base", {"--rotary"}},
      {"--rotary-columns", {"--rotary"}},
      {"--rotary-scaling", {"--rotary"}},
      {"--rotary-frequencies", {"--rotary"}},
      {"--query-offset", {"--rotary"}},
      {"--key-offset", {"--rotary"}},
      {"--query-positions", {"--rotary"}},
      {"--key-positions", {"--rotary"}},
      {"--first-batch", {"--dropout"}},
      {"--gradient-lse", {"--gradient"}},
      {"--gradient-entropy", {"--gradient"}},
      {"--gradient-second-moment", {"--gradient"}},
      {"--tangent-gradient", {"--gradient"}},
      {"--tangent-gradient", {"--tangent-query", "--tangent-key", "--tangent-value", "--tangent-parameter"}},
  };
}

struct Conflict {
  const char *one, *other, *why;
};
constexpr std::array<Conflict, 5> kConflicts = {{
    {"--bandwidth", "--tau", "tau is 2 bandwidth^2"},
    {"--column-bandwidths", "--metric-matrix", "a metric is one of the two"},
    {"--rotary-frequencies", "--rotary-base", "the frequencies are instead of the base's"},
    {"--query-positions", "--query-offset", "positions say where each query stands"},
    {"--key-positions", "--key-offset", "positions say where each key stands"},
}};

/// "needs WHAT, got TEXT" where `right` says no.
template <class Right>
CLI::Validator needs(std::string what, Right right) {
  return CLI::Validator(
      [what = std::move(what), right](const std::string& text) {
        return right(text) ? std::string() : fmt::format("needs {}, got {}", what, text);
      },
      "");
}

/// A finite number of which `right` is true.
template <class Right>
CLI::Validator number_that(std::string what, Right right) {
  return needs(std::move(what), [=](const std::string& text) {
    double value = 0;
    return parse_number(text, value) == Parsed::number && right(value);
  });
}
CLI::Validator any_number() {
  return number_that("a number", [](double) { return true; });
}
CLI::Validator positive_number() {
  return number_that("a number above 0", [](double x) { return x > 0; });
}

/// `count` whole numbers, `lowest` or more, with commas between them.
CLI::Validator whole_numbers(Index count, Index lowest, std::string what) {
  return needs(std::move(what), [=](const std::string& text) {
    const auto list = parse_number_list(text);
    if (!list || list->dtype != Dtype::int64 || list->shape[0] != count) return false;
    const Array<Index, 1> numbers = list->as<Index, 1>();
    return std::all_of(numbers.begin(), numbers.end(), [=](Index x) { return x >= lowest; });
  });
}
CLI::Validator any_whole_number() {
  return whole_numbers(1, std::numeric_limits<Index>::min(), "a whole number");
}

/// The name of a file or a list of numbers, whole ones if need be, or `word`.
CLI::Validator file_or_numbers(bool whole, const std::string& word = "") {
  const std::string what = fmt::format("{}a .npy file or {}numbers with commas between them",
                                       word.empty() ? "" : fmt::format("{}, ", word), whole ? "whole " : "");
  return needs(what, [=](const std::string& text) {
    if (names_a_file(text) || (!word.empty() && text == word)) return true;
    const auto list = parse_number_list(text);
    return list && (!whole || list->dtype == Dtype::int64);
  });
}

std::pair<Index, Index> pair_of(const std::string& text) {
  const Array<Index, 1> numbers = parse_number_list(text)->as<Index, 1>();
  return {numbers(0), numbers(1)};
}

class AttendParser {
 public:
  AttendParser();
  Command parse(int argc, char** argv);

 private:
  void add_files();
  void add_similarity();
  void add_method();
  void add_mask();
  void add_bias();
  void add_rotary();
  void add_outputs();
  void add_derivatives();

  template <class T>
  CLI::Option* option(const std::string& name, T& into, const std::string& description,
                      const std::string& type) {
    return app_.add_option(name, into, description)->type_name(type)->group(group_);
  }
  CLI::Option* file(const std::string& name, std::string& into, const std::string& description) {
    files_.push_back(&into);
    return option(name, into, description, "FILE");
  }
  CLI::Option* numbers(const std::string& name, std::string& into, const std::string& description) {
    files_.push_back(&into);
    return option(name, into, description, "LIST")->check(file_or_numbers(false));
  }
  CLI::Option* whole(const std::string& name, std::string& into, const std::string& description) {
    files_.push_back(&into);
    return option(name, into, description, "LIST")->check(file_or_numbers(true));
  }
  void flag(const std::string& name, bool& into, const std::string& description) {
    app_.add_flag(name, into, description)->group(group_);
  }

  bool has(const std::string& option) const { return app_.count(option) > 0; }
  void check_uses() const;
  void check_combinations() const;
  void check_files() const;
  void read_texts();
  void read_outputs();

  VerbParser parser_{
      "attend",
      "Attention: each query finds the keys most like it; out is the weighted average of their "
      "values.\nFILE: .npy. LIST: a .npy file, or numbers with commas between them.",
      "kith attend -q q.npy -k k.npy -v v.npy -o out.npy --causal --outputs lse,entropy"};
  CLI::App& app_ = parser_.app();
  AttendArguments arguments_;
  AttendOptions& into_ = arguments_.attend;
  std::string group_;
  std::vector<const std::string*> files_;
  std::string dtype_, method_, describe_at_, window_, block_size_, outputs_;
};

AttendParser::AttendParser() {
  app_.get_formatter()->column_width(34);
  add_files();
  add_similarity();
  add_mask();
  add_bias();
  add_rotary();
  add_method();
  add_outputs();
  add_derivatives();
  parser_.common(arguments_);
}

void AttendParser::add_files() {
  group_ = "Arrays";
  file("-q,--query", into_.query, "queries: [N, D], with heads [H, N, D], with a batch [B, H, N, D]")
      ->required();
  file("-k,--key", into_.key, "keys: [..., M, D]; each may serve several query heads")->required();
  file("-v,--value", into_.value, "values: [..., M, Dv]");
  option("-o,--out", into_.out, "file to write, [..., N, Dv]; further outputs go beside it", "FILE");
  option("--dtype", dtype_, "float32, float64, bfloat16 or float16, for all three; else the queries' own",
         "TYPE")
      ->check(one_of({"float32", "float64", "bfloat16", "float16"}));
}

void AttendParser::add_method() {
  group_ = "How the sums are done";
  option(
      "--method", method_,
      "auto (else), direct, or for kernel regression in few columns line, plane, space or skip; the summary "
      "says which was used",
      "NAME")
      ->check(one_of({"auto", "direct", "line", "plane", "space", "skip"}));
  flag("--round-weights", into_.round_weights,
       "weights of bfloat16 arrays to bfloat16 (2^-8 of each at most), where the CPU multiplies that: about "
       "twice as fast");
}

void AttendParser::add_similarity() {
  group_ = "Similarity";
  SimilarityArguments& s = into_.similarity;
  option("--similarity", s.name, fmt::format("{}; dot if not given", fmt::join(all_similarities(), ", ")),
         "NAME")
      ->check(one_of(all_similarities()));
  option("--scale", s.scale, "of dot (else 1/sqrt(D)) and bilinear (else 1)", "X")->check(any_number());
  option("--temperature", s.temperature, "of cosine and euclidean; else 1", "T")->check(positive_number());
  option("--bandwidth", s.bandwidth, "of gaussian, laplace and the compact kernels; else 1", "H")
      ->check(positive_number());
  option("--tau", s.tau, "of gaussian, in place of the bandwidth: 2 H^2", "TAU")->check(positive_number());
  option("--power", s.power, "of inverse-distance; else 2", "P")->check(positive_number());
  file("--matrix", s.matrix, "of bilinear, q W k: [Dq, Dk]");
  file("--query-weight", s.query_weight, "of additive, u tanh(Wq q + Wk k): Wq [A, Dq]");
  file("--key-weight", s.key_weight, "Wk [A, Dk]");
  numbers("--score", s.score, "u [A]");
  numbers("--column-bandwidths", s.column_bandwidths,
          "columns of queries and keys are divided by these: [D]");
  file("--metric-matrix", s.metric_matrix, "queries and keys are multiplied by it: [D, R]");
  numbers("--query-bandwidths", s.query_bandwidths,
          "times the bandwidth or temperature, query by query: [N], [Hq, N] or [B, Hq, N]");
  numbers("--key-bandwidths", s.key_bandwidths, "the same for keys: [M], [Hk, M] or [B, Hk, M]");
  option("--soft-cap", s.soft_cap, "logits become C tanh(logit / C)", "C")->check(positive_number());
  numbers("--sink", s.sink, "a logit that takes weight and has no value: one, or one per query head");
}

void AttendParser::add_mask() {
  group_ = "Which keys a query sees (all that is given must agree)";
  MaskArguments& m = into_.mask;
  flag("--causal", m.causal, "none after itself");
  flag("--exclude-self", m.exclude_self, "not the one at its own position (leave-one-out)");
  option("--window", window_, "this many before its position and after it", "LEFT,RIGHT")
      ->check(whole_numbers(2, 0, "two whole numbers, LEFT,RIGHT, 0 or more"));
  option("--offset", into_.offset,
         "position of the first query among the keys, for all that goes by positions", "N")
      ->check(any_whole_number());
  whole("--prefix", m.prefix, "with --causal: so many first keys are seen by all: one number, or [B]");
  option("--first-key", m.first_key, "none before this one", "N")
      ->check(whole_numbers(1, 0, "a whole number, 0 or more"));
  whole("--key-lengths", m.key_lengths, "keys that count in each batch row: [B]");
  whole("--query-lengths", m.query_lengths, "queries that count in each batch row: [B]");
  whole("--ragged-query", m.ragged_query,
        "sequences behind each other: where each starts, and the end: 0,...,N");
  whole("--ragged-key", m.ragged_key, "the same for keys: 0,...,M");
  whole("--query-documents", m.query_documents, "only keys with the same id: [N] or [B, N]");
  whole("--key-documents", m.key_documents, "[M] or [B, M]");
  whole("--query-groups", m.query_groups, "only keys with another id: [N] or [B, N]");
  whole("--key-groups", m.key_groups, "[M] or [B, M]");
  numbers("--query-times", m.query_times, "only keys with an earlier time: [N] or [B, N]");
  numbers("--key-times", m.key_times, "[M] or [B, M]");
  file("--block-map", m.block_map,
       "bool, which blocks of keys a block of queries sees: [N/QB, M/KB], rounded up");
  option("--block-size", block_size_, "of --block-map; else 64,64", "QB,KB")
      ->check(whole_numbers(2, 1, "two whole numbers, QB,KB, 1 or more"));
  file("--mask", m.mask, "bool: true where a key may be seen; numbers: added like --bias; [N, M], broadcast");
  flag("--describe", into_.describe, "print the mask as text and compute nothing; -v and -o may be absent");
  option("--describe-at", describe_at_, "batch row (or sequence) and query head of --describe; else 0,0",
         "B,H")
      ->check(whole_numbers(2, 0, "two whole numbers, B,H, 0 or more"));
}

void AttendParser::add_bias() {
  group_ = "What is added to the logits";
  BiasArguments& b = into_.bias;
  file("--bias", b.bias, "an array [N, M], [Hq, N, M] or [B, Hq, N, M]; axes of 1 are repeated");
  numbers("--relative", b.relative,
          "one number a distance from -L on, the outermost for all beyond: [W] or [Hq, W]");
  option("--relative-left", b.relative_left, "the L of --relative", "L")
      ->check(whole_numbers(1, 0, "a whole number, 0 or more"));
  numbers("--t5", b.t5, "T5's buckets of distances: [buckets] or [Hq, buckets]");
  flag("--t5-one-way", b.t5_one_way, "the buckets are for keys before the query only");
  option("--t5-max-distance", b.t5_max_distance, "from here on all is one bucket; else 128", "N")
      ->check(whole_numbers(1, 1, "a whole number, 1 or more"));
  files_.push_back(&b.alibi);
  option("--alibi", b.alibi,
         "minus slope times distance: auto (the usual slopes), one slope, or one per query head", "LIST")
      ->check(file_or_numbers(false, "auto"));
}

void AttendParser::add_rotary() {
  group_ = "Rotary positions";
  RotaryArguments& r = into_.rotary;
  option("--rotary", r.layout,
         "turn pairs of columns by the position: half (p, p + D/2) or interleaved (2p, 2p + 1)", "LAYOUT")
      ->check(one_of({"half", "interleaved"}));
  option("--rotary-base", r.base, "else 10000", "X")->check(positive_number());
  option("--rotary-columns", r.columns, "only so many first columns turn; else all", "N")
      ->check(whole_numbers(1, 0, "a whole number, 0 or more"));
  option("--rotary-scaling", r.scaling, "positions are divided by it; else 1", "X")->check(positive_number());
  numbers("--rotary-frequencies", r.frequencies, "angle per position of each pair, in place of the base's");
  option("--query-offset", r.query_offset, "position of the first query, here only; else --offset", "N")
      ->check(any_whole_number());
  option("--key-offset", r.key_offset, "position of the first key; else 0", "N")->check(any_whole_number());
  whole("--query-positions", r.query_positions, "of each query: [N] or [B, N]");
  whole("--key-positions", r.key_positions, "of each key: [M] or [B, M]");
}

void AttendParser::add_outputs() {
  group_ = "Outputs beside OUT.npy, as OUT.NAME.npy";
  option("--outputs", outputs_,
         "of lse, entropy, largest, top, received, position, second-moment and weights (all N x M)", "A,B");
  option("--top", into_.outputs.top, "the K largest weights and their keys: top_weight, top_key", "K")
      ->check(whole_numbers(1, 1, "a whole number, 1 or more"));
  option("--weights-limit", into_.outputs.weights_limit, "most bytes that weights may need; else 2^30",
         "BYTES")
      ->check(whole_number(0, std::numeric_limits<std::size_t>::max()));
  option("--dropout", into_.dropout, "drop weights with this probability; --seed decides which", "RATE")
      ->check(number_that("a number from 0 to below 1", [](double x) { return x >= 0 && x < 1; }));
  option("--first-batch", into_.first_batch, "the number of the first batch row, for --dropout; else 0", "N")
      ->check(whole_numbers(1, 0, "a whole number, 0 or more"));
}

void AttendParser::add_derivatives() {
  group_ = "Derivatives";
  DerivativeArguments& d = into_.derivatives;
  file("--gradient", d.gradient,
       "of a loss with respect to OUT; writes d_query, d_key, d_value, d_OPTION, ...");
  file("--gradient-lse", d.gradient_lse, "of the loss with respect to lse");
  file("--gradient-entropy", d.gradient_entropy, "and to the entropy");
  file("--gradient-second-moment", d.gradient_second_moment, "and to the second moment");
  file("--tangent-query", d.tangent_query,
       "direction of the queries; writes jvp_out, jvp_lse (float64) and, with --gradient, jvp_d_query, ...");
  file("--tangent-key", d.tangent_key, "direction of the keys");
  file("--tangent-value", d.tangent_value, "direction of the values");
  option("--tangent-parameter", d.tangent_parameter,
         "direction of the scale, temperature, bandwidth or power", "X")
      ->check(any_number());
  file("--tangent-gradient", d.tangent_gradient, "direction of --gradient");
}

void AttendParser::check_uses() const {
  const std::string& similarity = into_.similarity.name;
  for (const Use& use : uses()) {
    const bool used =
        std::find(use.similarities.begin(), use.similarities.end(), similarity) != use.similarities.end();
    if (has(use.option) && !used) {
      parser_.wrong(use.similarities.size() > distances().size()
                        ? fmt::format("{}: means nothing to --similarity {}", use.option, similarity)
                        : fmt::format("{}: means nothing to --similarity {}; it is for {}", use.option,
                                      similarity, fmt::join(use.similarities, ", ")));
    }
    if (use.needed && used && !has(use.option))
      parser_.wrong(fmt::format("{}: needed by --similarity {}", use.option, similarity));
  }
}

void AttendParser::check_combinations() const {
  for (const Need& need : requirements()) {
    if (has(need.option) &&
        std::none_of(need.one_of.begin(), need.one_of.end(), [&](const auto& o) { return has(o); }))
      parser_.wrong(fmt::format("{}: needs {}", need.option, fmt::join(need.one_of, " or ")));
  }
  for (const Conflict& conflict : kConflicts) {
    if (has(conflict.one) && has(conflict.other))
      parser_.wrong(
          fmt::format("{} and {}: {}; give one of them", conflict.one, conflict.other, conflict.why));
  }
  for (const char* option : {"--gradient-lse", "--gradient-entropy", "--gradient-second-moment"}) {
    if (has(option) && into_.derivatives.tangent())
      parser_.wrong(
          fmt::format("{}: derivatives of gradients along --tangent-... go through OUT alone", option));
  }
}

void AttendParser::check_files() const {
  for (const char* option : {"--value", "--out"}) {
    if (!has(option) && !into_.describe) parser_.wrong(fmt::format("{} is required", option));
  }
  for (const CLI::Option* option : app_.get_options()) {
    if (option->count() > 0 && option->get_type_name() == "FILE" && option->results().front().empty())
      parser_.wrong(fmt::format("{}: the name is empty", option->get_name()));
  }
  if (std::count_if(files_.begin(), files_.end(), [](const std::string* file) { return *file == "-"; }) > 1)
    parser_.wrong("-: standard input can be read once");
  if (into_.out == "-" && (arguments_.json || has("--outputs") || has("--top") || has("--gradient") ||
                           into_.derivatives.tangent())) {
    parser_.wrong("-o: standard output takes one array and nothing else; further outputs need a file name");
  }
}

void AttendParser::read_texts() {
  for (const Dtype dtype : {Dtype::float32, Dtype::float64, Dtype::bfloat16, Dtype::float16})
    if (dtype_ == name(dtype)) into_.dtype = dtype;
  for (const Method method : {Method::direct, Method::line, Method::plane, Method::space, Method::skip})
    if (method_ == method_name(method)) into_.method = method;
  if (has("--window")) into_.mask.window = pair_of(window_);
  if (has("--block-size")) into_.mask.block_size = pair_of(block_size_);
  if (has("--describe-at")) {
    into_.describe = true;
    into_.describe_at = pair_of(describe_at_);
  }
}

void AttendParser::read_outputs() {
  OutputArguments& outputs = into_.outputs;
  const std::vector<std::pair<std::string, bool*>> names = {
      {"lse", &outputs.lse},           {"entropy", &outputs.entropy},
      {"largest", &outputs.largest},   {"received", &outputs.received},
      {"position", &outputs.position}, {"second-moment", &outputs.second_moment},
      {"weights", &outputs.weights}};
  Words known = {"top"};
  for (const auto& [name, wanted] : names) known.push_back(name);
  for (const std::string& word : has("--outputs") ? split_at_commas(outputs_) : Words{}) {
    if (word == "top") {
      if (!has("--top")) parser_.wrong("--outputs top: needs --top K, how many");
      continue;
    }
    const auto found =
        std::find_if(names.begin(), names.end(), [&](const auto& entry) { return entry.first == word; });
    if (found == names.end()) {
      parser_.wrong(fmt::format("--outputs: '{}' is none of {}{}", word, fmt::join(known, ", "),
                                suggestion(word, known)));
    }
    *found->second = true;
  }
  if (has("--weights-limit") && !outputs.weights) parser_.wrong("--weights-limit: needs --outputs weights");
}

Command AttendParser::parse(int argc, char** argv) {
  if (auto message = parser_.parse(argc, argv)) return *message;
  read_texts();
  check_files();
  check_uses();
  check_combinations();
  read_outputs();
  return arguments_;
}

}  // namespace

Command parse_attend(int argc, char** argv) { return AttendParser().parse(argc, argv); }

}  // namespace kith::cli
