#include "cli/attend_data.h"

#include <algorithm>
#include <filesystem>
#include <random>
#include <type_traits>

#include "kith/npy.h"

namespace kith::test {
namespace {

/// Uniform in [low, high); the generator is the same everywhere, the library's distributions are not.
template <int R>
void fill(Array<double, R>& array, const std::type_identity_t<Shape<R>>& shape, std::mt19937& generator,
          double low = -1.5, double high = 1.5) {
  array = Array<double, R>(shape);
  for (double& x : array) x = low + (high - low) * static_cast<double>(generator()) / 4294967296.0;
}

template <class T, int R>
void fill_whole(Array<T, R>& array, const std::type_identity_t<Shape<R>>& shape, std::mt19937& generator,
                unsigned below) {
  array = Array<T, R>(shape);
  for (T& x : array) x = static_cast<T>(generator() % below);
}

}  // namespace

AttendData::AttendData(Index batch) {
  std::mt19937 generator(7);
  fill(query, {batch, kHeads, kQueries, kDepth}, generator);
  fill(key, {batch, kKeyHeads, kKeys, kDepth}, generator);
  fill(value, {batch, kKeyHeads, kKeys, kValueDepth}, generator);
  fill(d_out, {batch, kHeads, kQueries, kValueDepth}, generator);
  fill(d_second_moment, d_out.shape(), generator);
  fill(bias, {1, kHeads, kQueries, kKeys}, generator);
  fill(tangent_query, query.shape(), generator);
  fill(tangent_key, key.shape(), generator);
  fill(tangent_value, value.shape(), generator);
  fill(tangent_d_out, d_out.shape(), generator);
  fill(d_lse, {batch, kHeads, kQueries}, generator);
  fill(d_entropy, {batch, kHeads, kQueries}, generator);
  fill(query_bandwidth, {batch, kHeads, kQueries}, generator, 0.5, 2);
  fill(key_bandwidth, {1, kKeyHeads, kKeys}, generator, 0.5, 2);
  fill(matrix, {kDepth, kDepth}, generator);
  fill(metric, {kDepth, 3}, generator);
  fill(query_weight, {5, kDepth}, generator);
  fill(key_weight, {5, kDepth}, generator);
  fill(relative, {kHeads, 5}, generator);
  fill(t5, {1, 8}, generator);
  fill(query_time, {batch, kQueries}, generator);
  fill(key_time, {batch, kKeys}, generator);
  fill(score, {5}, generator);
  fill(column_bandwidth, {kDepth}, generator, 0.5, 2);
  fill(sink, {kHeads}, generator);
  fill(slope, {kHeads}, generator, 0.1, 1);
  fill(frequency, {kDepth / 2}, generator, 0.1, 1);
  fill_whole(query_id, {batch, kQueries}, generator, 2);
  fill_whole(key_id, {batch, kKeys}, generator, 2);
  fill_whole(query_position, {1, kQueries}, generator, 20);
  fill_whole(key_position, {batch, kKeys}, generator, 20);
  fill_whole(prefix, {batch}, generator, 5);
  fill_whole(allowed, {batch, 1, kQueries, kKeys}, generator, 2);
  fill_whole(blocks, {1, kHeads, 3, 3}, generator, 2);
}

Outcome AttendData::run(const TemporaryFolder& folder, const std::vector<std::string>& words,
                        Setting setting) const {
  const auto file = [&](const char* name, const auto& array) {
    const bool named = std::find(words.begin(), words.end(), name) != words.end();
    if (named && !std::filesystem::exists(folder / name)) write_npy(folder / name, array);
  };
  file("query.npy", query), file("key.npy", key), file("value.npy", value);
  file("d_out.npy", d_out), file("d_second_moment.npy", d_second_moment), file("bias.npy", bias);
  file("tangent_query.npy", tangent_query), file("tangent_key.npy", tangent_key);
  file("tangent_value.npy", tangent_value), file("tangent_d_out.npy", tangent_d_out);
  file("d_lse.npy", d_lse), file("d_entropy.npy", d_entropy);
  file("query_bandwidth.npy", query_bandwidth), file("key_bandwidth.npy", key_bandwidth);
  file("matrix.npy", matrix), file("metric.npy", metric);
  file("query_weight.npy", query_weight), file("key_weight.npy", key_weight);
  file("relative.npy", relative), file("t5.npy", t5);
  file("query_time.npy", query_time), file("key_time.npy", key_time);
  file("score.npy", score), file("column_bandwidth.npy", column_bandwidth), file("sink.npy", sink);
  file("slope.npy", slope), file("frequency.npy", frequency);
  file("query_id.npy", query_id), file("key_id.npy", key_id);
  file("query_position.npy", query_position), file("key_position.npy", key_position);
  file("prefix.npy", prefix), file("allowed.npy", allowed), file("blocks.npy", blocks);

  std::vector<std::string> command = {"attend"};
  command.insert(command.end(), words.begin(), words.end());
  setting.folder = folder.path();
  return kith_run(command, setting);
}

}  // namespace kith::test
