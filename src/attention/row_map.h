// What happens to the rows of queries and keys before the kernels see them, and the way back for gradients.
#pragma once

#include "attention/geometry.h"
#include "attention/mask_plan.h"

namespace kith {

/// Rotation, then metric or projection, then normalization, of one side of a call. All arithmetic in double,
/// a row at a time; a row's bits depend on the row and its position alone.
class RowMap {
 public:
  enum class Side { query, key };

  /// The options are checked already and outlive the map.
  RowMap(const AttentionOptions& options, const Geometry& g, Side side);

  bool identity() const;  ///< rows reach the kernels as they are
  Index depth_in() const;
  Index depth_out() const;  ///< 0 for uniform

  /// Rows 0 .. rows - 1 of sequence `s` (its batch row and first row say which positions), raw and `stride`
  /// apart, to `to` [rows][to_stride]; what lies beyond depth_out in a row is not touched.
  template <class T>
  void apply(const T* from, Index stride, const Sequence& s, Index rows, compute_t<T>* to,
             Index to_stride) const;

  /// Gradients of the options' parameters through one head's rows, added in row order.
  struct Parameters {
    std::vector<double> column_bandwidth;  ///< [D]
    std::vector<double> metric;            ///< [D][R]
    std::vector<double>
        matrix;  ///< query side: bilinear [Dq][Dk] or additive [A][Dq]; key side: additive [A][Dk]
    void add(const Parameters& other);
  };
  Parameters parameters() const;  ///< zeros of the right sizes

  /// The chain rule: d_to [rows][d_to_stride], gradients of the mapped rows, to d_from [rows][d_from_stride]
  /// of the raw ones (written, not added), and into `sums`. Where the similarity works on differences the sum
  /// of all d_to of a sequence's queries and keys is 0; then `origin`, a raw row (depth_in doubles, already
  /// rotated if at all; null: none), is taken from every row first, so that a common offset costs no digits.
  template <class T>
  void backward(const T* from, Index stride, const Sequence& s, Index rows, const compute_t<T>* d_to,
                Index d_to_stride, const double* origin, compute_t<T>* d_from, Index d_from_stride,
                Parameters& sums) const;

 private:
  const AttentionOptions* options_;
  Geometry g_;
  Side side_;
};

}  // namespace kith
