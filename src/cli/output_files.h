// Arrays on their way into .npy files: all of them are written, or none.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kith/npy.h"

namespace kith::cli {

class OutputFiles {
 public:
  /// The first file; the others are put beside it, OUT-stem.NAME.npy. "-": standard output, and nothing else.
  explicit OutputFiles(std::string out) : out_(std::move(out)) {}

  /// The path of a file called `name`; "out" is the first file itself.
  std::string path(const std::string& name) const;

  /// With a shape of one's own, of as many elements.
  template <class T, int R>
  void add(const std::string& name, Array<T, R> array, std::vector<Index> shape) {
    const auto owner = std::make_shared<const Array<T, R>>(std::move(array));
    add(name, {path(name), dtype_of<T>(), std::move(shape), owner->data(), owner});
  }
  /// With the last `rank` axes of its shape; those before them have extent 1.
  template <class T, int R>
  void add(const std::string& name, Array<T, R> array, std::size_t rank) {
    std::vector<Index> shape(array.shape().end() - static_cast<std::ptrdiff_t>(rank), array.shape().end());
    add(name, std::move(array), std::move(shape));
  }
  void add(const std::string& name, double number);
  void add(const std::string& name, const std::vector<double>& numbers);

  /// Writes each under a temporary name, then puts all in place, so that a full disk leaves every old file as
  /// it was. UsageError if a file is one of `inputs`; kith::Error if one cannot be written.
  void write(const std::vector<std::string>& inputs) const;

  const std::vector<Index>& shape(const std::string& name) const { return file(name).shape; }
  Dtype dtype(const std::string& name) const { return file(name).dtype; }
  /// Name and path of each, in the order in which they were added.
  std::vector<std::pair<std::string, std::string>> list() const;

 private:
  struct File {
    std::string path;
    Dtype dtype;
    std::vector<Index> shape;
    const void* data;
    std::shared_ptr<const void> owner;
  };
  void add(const std::string& name, File file);
  const File& file(const std::string& name) const;
  static void write(const File& file, const std::string& path);

  std::string out_;
  std::vector<std::pair<std::string, File>> files_;
};

}  // namespace kith::cli
