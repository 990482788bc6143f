// The files and lists of a `kith attend`, and the operator's options made of them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "cli/options.h"
#include "kith/attention.h"
#include "kith/npy.h"

namespace kith::cli {

/// Owns every array that the command names; the options view them.
class AttendArrays {
 public:
  /// Reads all. kith::Error names the file or the option; UsageError where a file shows that the command was
  /// wrong.
  explicit AttendArrays(const AttendArguments& arguments);

  const AttentionOptions& options() const { return options_; }
  /// The type that query, key and value are computed in.
  Dtype dtype() const { return dtype_; }

  /// Whether an array was given with the option, --query for instance, and what its file says of its shape.
  bool has(const std::string& option) const { return arrays_.contains(option); }
  const std::vector<Index>& shape(const std::string& option) const { return arrays_.at(option).shape; }
  /// The number of queries or keys.
  Index rows(const std::string& option) const { return arrays_.at(option).shape_of_rank<4>()[2]; }
  /// The array, converted where it is of another type; an empty view if none was given.
  template <class T, int R>
  View<const T, R> view(const std::string& option);

  /// The option whose array is added to the logits: --bias, or --mask where it holds numbers. Empty: none.
  std::string bias_option() const;

  /// Every file that was read.
  std::vector<std::string> files() const;
  /// The library's message with the option, and its file, in place of the argument that it begins with:
  /// "key: 3 heads do not ..." as "--key (k.npy): 3 heads do not ...".
  std::string in_command_words(const std::string& message) const;

 private:
  void read(const std::string& option, const std::string& text);
  void read_rows(const std::string& option, const std::string& path);
  template <class T>
  std::vector<T> list(const std::string& option, const std::string& text);
  template <class T, int R>
  View<const T, R> read_view(const std::string& option, const std::string& text);

  Dtype chosen_dtype(const AttendOptions& given) const;
  Similarity similarity(const SimilarityArguments& given);
  Mask mask(const AttendOptions& given);
  Bias bias(const AttendOptions& given);
  Rotary rotary(const AttendOptions& given);

  std::map<std::string, NpyArray> arrays_;
  std::map<std::tuple<std::string, Dtype, int>, std::shared_ptr<const void>> converted_;
  Dtype dtype_ = Dtype::float32;
  AttentionOptions options_;
};

template <class T, int R>
View<const T, R> AttendArrays::view(const std::string& option) {
  const auto found = arrays_.find(option);
  if (found == arrays_.end()) return {};
  if (found->second.dtype == dtype_of<T>()) return found->second.view<T, R>();
  std::shared_ptr<const void>& converted = converted_[{option, dtype_of<T>(), R}];
  if (!converted) converted = std::make_shared<const Array<T, R>>(found->second.as<T, R>());
  return static_cast<const Array<T, R>*>(converted.get())->view();
}

}  // namespace kith::cli
