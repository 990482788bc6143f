#include "cli/attend_cases.h"

namespace kith::test {
namespace {

using Data = AttendData;
using Options = AttentionOptions;

std::vector<double> vector_of(const Array<double, 1>& a) { return {a.begin(), a.end()}; }
BlockMap blocks_of(const Data& d) { return {.query_block = 2, .key_block = 3, .allowed = d.blocks}; }

}  // namespace

const std::vector<AttendCase>& attend_cases() {
  static const std::vector<AttendCase> list = {
      {"plain", {}},
      {"scale", {"--scale", "-0.7"}, [](const Data&, Options& o) { o.similarity = Dot{-0.7}; }},
      {"cosine",
       {"--similarity", "cosine", "--temperature", "0.3"},
       [](const Data&, Options& o) { o.similarity = Cosine{0.3}; },
       "temperature"},
      {"gaussian",
       {"--similarity", "gaussian", "--bandwidth", "0.8"},
       [](const Data&, Options& o) { o.similarity = Gaussian{0.8}; },
       "bandwidth"},
      {"tau",
       {"--similarity", "gaussian", "--tau", "0.5"},
       [](const Data&, Options& o) { o.similarity = Gaussian{0.5}; },
       "bandwidth"},
      {"euclidean",
       {"--similarity", "euclidean", "--temperature", "0.6"},
       [](const Data&, Options& o) { o.similarity = Euclidean{0.6}; },
       "temperature"},
      {"laplace",
       {"--similarity", "laplace", "--bandwidth", "1.7"},
       [](const Data&, Options& o) { o.similarity = Laplace{1.7}; },
       "bandwidth"},
      {"epanechnikov",
       {"--similarity", "epanechnikov", "--bandwidth", "2.5"},
       [](const Data&, Options& o) {
         o.similarity = Compact{CompactKernel::epanechnikov, 2.5};
       },
       "bandwidth"},
      {"boxcar",
       {"--similarity", "boxcar", "--bandwidth", "2.5"},
       [](const Data&, Options& o) {
         o.similarity = Compact{CompactKernel::boxcar, 2.5};
       },
       "bandwidth"},
      {"triangular",
       {"--similarity", "triangular", "--bandwidth", "2.5"},
       [](const Data&, Options& o) {
         o.similarity = Compact{CompactKernel::triangular, 2.5};
       },
       "bandwidth"},
      {"biweight",
       {"--similarity", "biweight", "--bandwidth", "2.5"},
       [](const Data&, Options& o) {
         o.similarity = Compact{CompactKernel::biweight, 2.5};
       },
       "bandwidth"},
      {"tricube",
       {"--similarity", "tricube", "--bandwidth", "2.5"},
       [](const Data&, Options& o) {
         o.similarity = Compact{CompactKernel::tricube, 2.5};
       },
       "bandwidth"},
      {"inverse_distance",
       {"--similarity", "inverse-distance", "--power", "3"},
       [](const Data&, Options& o) { o.similarity = InverseDistance{3}; },
       "power"},
      {"bilinear",
       {"--similarity", "bilinear", "--matrix", "matrix.npy", "--scale", "0.4"},
       [](const Data& d, Options& o) {
         o.similarity = Bilinear{d.matrix, 0.4};
       }},
      {"additive",
       {"--similarity", "additive", "--query-weight", "query_weight.npy", "--key-weight", "key_weight.npy",
        "--score", "score.npy"},
       [](const Data& d, Options& o) {
         o.similarity = Additive{d.query_weight, d.key_weight, d.score};
       },
       ""},
      {"uniform", {"--similarity", "uniform"}, [](const Data&, Options& o) { o.similarity = Uniform{}; }, ""},
      {"column_bandwidths",
       {"--similarity", "gaussian", "--column-bandwidths", "column_bandwidth.npy"},
       [](const Data& d, Options& o) {
         o.similarity = Gaussian{};
         o.metric.column_bandwidth = vector_of(d.column_bandwidth);
       },
       "bandwidth"},
      {"column_bandwidths_in_place",
       {"--column-bandwidths", "1,0.5, 2,1e1"},
       [](const Data&, Options& o) {
         o.metric.column_bandwidth = {1, 0.5, 2, 10};
       }},
      {"metric_matrix",
       {"--similarity", "euclidean", "--metric-matrix", "metric.npy"},
       [](const Data& d, Options& o) {
         o.similarity = Euclidean{};
         o.metric.matrix = d.metric;
       },
       "temperature"},
      {"adaptive",
       {"--similarity", "gaussian", "--query-bandwidths", "query_bandwidth.npy", "--key-bandwidths",
        "key_bandwidth.npy"},
       [](const Data& d, Options& o) {
         o.similarity = Gaussian{};
         o.adaptive = {d.query_bandwidth, d.key_bandwidth};
       },
       "bandwidth"},
      {"soft_cap", {"--soft-cap", "0.5"}, [](const Data&, Options& o) { o.soft_cap = 0.5; }},
      {"sink", {"--sink", "0.25"}, [](const Data&, Options& o) { o.sink = {0.25}; }},
      {"sinks", {"--sink", "sink.npy"}, [](const Data& d, Options& o) { o.sink = vector_of(d.sink); }},
      {"causal", {"--causal"}, [](const Data&, Options& o) { o.mask = causal(); }},
      {"causal_offset", {"--causal", "--offset", "-2"}, [](const Data&, Options& o) { o.mask = causal(-2); }},
      {"window",
       {"--window", "2,1", "--offset", "1"},
       [](const Data&, Options& o) { o.mask = window(2, 1, 1); }},
      {"exclude_self",
       {"--exclude-self", "--offset", "1"},
       [](const Data&, Options& o) { o.mask = exclude_self(1); }},
      {"prefix",
       {"--causal", "--prefix", "prefix.npy"},
       [](const Data& d, Options& o) {
         o.mask = prefix_causal({d.prefix.begin(), d.prefix.end()});
       }},
      {"first_key", {"--first-key", "2"}, [](const Data&, Options& o) { o.mask.first_key = 2; }},
      {"lengths",
       {"--key-lengths", "3,6", "--query-lengths", "6,4"},
       [](const Data&, Options& o) {
         o.mask = key_lengths({3, 6}) & query_lengths({6, 4});
       }},
      {"ragged",
       {"--ragged-query", "0,2,6", "--ragged-key", "0,4,7", "--causal"},
       [](const Data&, Options& o) {
         o.mask = ragged({0, 2, 6}, {0, 4, 7}) & causal();
       },
       "scale",
       "",
       1},
      {"documents",
       {"--query-documents", "query_id.npy", "--key-documents", "key_id.npy"},
       [](const Data& d, Options& o) { o.mask = documents(d.query_id, d.key_id); }},
      {"groups",
       {"--query-groups", "query_id.npy", "--key-groups", "key_id.npy"},
       [](const Data& d, Options& o) { o.mask = exclude_groups(d.query_id, d.key_id); }},
      {"times",
       {"--query-times", "query_time.npy", "--key-times", "key_time.npy"},
       [](const Data& d, Options& o) { o.mask = before(d.query_time, d.key_time); }},
      {"block_map",
       {"--block-map", "blocks.npy", "--block-size", "2,3"},
       [](const Data& d, Options& o) { o.mask = block_map(blocks_of(d)); }},
      {"mask_allows",
       {"--mask", "allowed.npy"},
       [](const Data& d, Options& o) { o.mask = allowed(d.allowed); }},
      {"mask_adds",
       {"--mask", "bias.npy"},
       [](const Data& d, Options& o) { o.bias.array64 = d.bias; },
       "scale",
       "d_mask"},
      {"bias", {"--bias", "bias.npy"}, [](const Data& d, Options& o) { o.bias.array64 = d.bias; }},
      {"relative",
       {"--relative", "relative.npy", "--relative-left", "3", "--offset", "2"},
       [](const Data& d, Options& o) {
         o.bias.relative = {d.relative, 3};
         o.bias.offset = 2;
       }},
      {"t5", {"--t5", "t5.npy"}, [](const Data& d, Options& o) { o.bias.t5 = {d.t5}; }},
      {"t5_one_way",
       {"--t5", "t5.npy", "--t5-one-way", "--t5-max-distance", "9"},
       [](const Data& d, Options& o) {
         o.bias.t5 = {d.t5, false, 9};
       }},
      {"alibi",
       {"--alibi", "slope.npy"},
       [](const Data& d, Options& o) { o.bias.alibi = vector_of(d.slope); }},
      {"alibi_auto",
       {"--alibi", "auto", "--offset", "3"},
       [](const Data&, Options& o) {
         o.bias.alibi = alibi_slopes(kHeads);
         o.bias.offset = 3;
       }},
      {"rotary",
       {"--rotary", "half", "--rotary-base", "100", "--offset", "5"},
       [](const Data&, Options& o) { o.rotary = {.base = 100, .query_offset = 5}; }},
      {"rotary_interleaved",
       {"--rotary", "interleaved", "--rotary-columns", "2", "--rotary-scaling", "0.5", "--query-offset", "3",
        "--key-offset", "1"},
       [](const Data&, Options& o) {
         o.rotary = {.interleaved = true, .columns = 2, .scaling = 0.5, .query_offset = 3, .key_offset = 1};
       }},
      {"rotary_positions",
       {"--rotary", "half", "--rotary-frequencies", "frequency.npy", "--query-positions",
        "query_position.npy", "--key-positions", "key_position.npy"},
       [](const Data& d, Options& o) {
         o.rotary = {.frequency = vector_of(d.frequency),
                     .query_position = d.query_position,
                     .key_position = d.key_position};
       }},
      {"dropout",
       {"--dropout", "0.4", "--seed", "11", "--first-batch", "3"},
       [](const Data&, Options& o) {
         o.dropout = {0.4, 11, 3};
       }},
      {"many",
       {"--similarity",  "gaussian",  "--bandwidth",
        "1.5",           "--causal",  "--window",
        "4,0",           "--offset",  "1",
        "--key-lengths", "7,5",       "--alibi",
        "0.1",           "--sink",    "-1",
        "--soft-cap",    "3",         "--bias",
        "bias.npy",      "--threads", "2"},
       [](const Data& d, Options& o) {
         o.similarity = Gaussian{1.5};
         o.mask = causal(1) & window(4, 0, 1) & key_lengths({7, 5});
         o.bias.array64 = d.bias;
         o.bias.alibi = {0.1};
         o.bias.offset = 1;
         o.sink = {-1};
         o.soft_cap = 3;
       },
       "bandwidth"},
  };
  return list;
}

}  // namespace kith::test
