// OpenBLAS: two of its products a block of queries, and between them a softmax that the compiler vectorizes
// over glibc's vector exp. BLAS has no such operation, so this is what one would write with it.
#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "adapter.h"
#include "row_blocks.h"

extern "C" char* openblas_get_config(void);

namespace {

using kith::bench::RowBlock;

// C = alpha A B^T, and C = A B.
void product_nt(int64_t m, int64_t n, int64_t k, float alpha, const float* a, const float* b, float* c) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(m), static_cast<int>(n),
              static_cast<int>(k), alpha, a, static_cast<int>(k), b, static_cast<int>(k), 0, c,
              static_cast<int>(n));
}
void product_nt(int64_t m, int64_t n, int64_t k, double alpha, const double* a, const double* b, double* c) {
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(m), static_cast<int>(n),
              static_cast<int>(k), alpha, a, static_cast<int>(k), b, static_cast<int>(k), 0, c,
              static_cast<int>(n));
}
void product(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float* c) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(m), static_cast<int>(n),
              static_cast<int>(k), 1, a, static_cast<int>(k), b, static_cast<int>(n), 0, c,
              static_cast<int>(n));
}
void product(int64_t m, int64_t n, int64_t k, const double* a, const double* b, double* c) {
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(m), static_cast<int>(n),
              static_cast<int>(k), 1, a, static_cast<int>(k), b, static_cast<int>(n), 0, c,
              static_cast<int>(n));
}

// Logits to weights in place; those that are masked get 0. Returns 1 over the sum, by which the average is
// multiplied instead of every weight.
template <class Real>
Real soft_max(Real* row, int64_t visible, int64_t columns) {
  Real max = row[0], sum = 0;
  for (int64_t j = 1; j < visible; ++j) max = row[j] > max ? row[j] : max;
  for (int64_t j = 0; j < visible; ++j) {
    row[j] = std::exp(row[j] - max);
    sum += row[j];
  }
  std::fill(row + visible, row + columns, Real{0});
  return 1 / sum;
}

template <class Real>
class Attention {
 public:
  explicit Attention(const KithProblem& p)
      : problem_(p),
        reciprocals_(static_cast<std::size_t>(p.threads)),
        out_(static_cast<std::size_t>(p.heads * p.queries * p.value_depth)),
        logits_(static_cast<std::size_t>(p.threads)) {
    const int64_t rows = kith::bench::block_rows(p);
    for (auto& logits : logits_) logits.resize(static_cast<std::size_t>(rows * p.keys));
    for (auto& reciprocals : reciprocals_) reciprocals.resize(static_cast<std::size_t>(rows));
  }

  void run() {
    kith::bench::for_each_block(problem_, [&](const RowBlock& block, int thread) {
      attend(block, logits_[static_cast<std::size_t>(thread)].data(),
             reciprocals_[static_cast<std::size_t>(thread)].data());
    });
  }
  const void* out() const { return out_.data(); }

 private:
  void attend(const RowBlock& block, Real* logits, Real* reciprocals) {
    const KithProblem& p = problem_;
    const Real* query = static_cast<const Real*>(p.query) + (block.head * p.queries + block.first) * p.depth;
    const Real* key = static_cast<const Real*>(p.key) + block.head * p.keys * p.depth;
    const Real* value = static_cast<const Real*>(p.value) + block.head * p.keys * p.value_depth;
    Real* out = out_.data() + (block.head * p.queries + block.first) * p.value_depth;

    product_nt(block.rows, block.visible, p.depth, static_cast<Real>(p.scale), query, key, logits);
    for (int64_t i = 0; i < block.rows; ++i)
      reciprocals[i] = soft_max(logits + i * block.visible, visible_of(p, block, i), block.visible);
    product(block.rows, p.value_depth, block.visible, logits, value, out);
    for (int64_t i = 0; i < block.rows; ++i)
      for (int64_t c = 0; c < p.value_depth; ++c) out[i * p.value_depth + c] *= reciprocals[i];
  }

  KithProblem problem_;
  std::vector<std::vector<Real>> reciprocals_;  // of each thread: [rows]
  std::vector<Real> out_;
  std::vector<std::vector<Real>> logits_;  // of each thread: [rows][visible keys]
};

class OpenBlas {
 public:
  static std::string version() {
    const std::string config = openblas_get_config();  // "OpenBLAS 0.3.21 NO_LAPACKE ..."
    return config.substr(0, config.find(' ', config.find(' ') + 1));
  }
  static std::string unsupported(const KithProblem& p) {
    if (p.is_backward) return "backward";
    if (p.type == kith_bfloat16 || p.type == kith_float16) return "16-bit types";
    return {};
  }
  explicit OpenBlas(const KithProblem& p) {
    // Its own threads would split products that row_blocks.h has split already.
    openblas_set_num_threads(1);
    if (p.type == kith_float64) {
      doubles_ = std::make_unique<Attention<double>>(p);
    } else {
      floats_ = std::make_unique<Attention<float>>(p);
    }
  }
  void run() { doubles_ ? doubles_->run() : floats_->run(); }
  KithResults results() { return {doubles_ ? doubles_->out() : floats_->out(), nullptr, nullptr, nullptr}; }

 private:
  std::unique_ptr<Attention<float>> floats_;
  std::unique_ptr<Attention<double>> doubles_;
};

}  // namespace

KITH_PEER(OpenBlas)
