// PyTorch's scaled_dot_product_attention, forward and backward, without Python: the same kernels as its wheel
// runs.
#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/version.h>

#include <array>
#include <vector>

#include "adapter.h"

namespace {

at::ScalarType type_of(KithType type) {
  switch (type) {
    case kith_float64:
      return at::kDouble;
    case kith_bfloat16:
      return at::kBFloat16;
    case kith_float16:
      return at::kHalf;
    default:
      return at::kFloat;
  }
}

class LibtorchSdpa {
 public:
  static std::string version() { return "libtorch " TORCH_VERSION; }
  static std::string unsupported(const KithProblem&) { return {}; }

  explicit LibtorchSdpa(const KithProblem& p)
      : scale_(p.scale), is_backward_(p.is_backward != 0), is_causal_(p.is_causal != 0) {
    // Of OpenMP and of MKL, which share libgomp's workers.
    at::set_num_threads(p.threads);
    const at::ScalarType type = type_of(p.type);
    result_type_ = type == at::kDouble ? at::kDouble : at::kFloat;
    inputs_ = {view(p.query, {1, p.heads, p.queries, p.depth}, type),
               view(p.key, {1, p.heads, p.keys, p.depth}, type),
               view(p.value, {1, p.heads, p.keys, p.value_depth}, type)};
    if (!is_backward_) return;
    d_out_ = view(p.d_out, {1, p.heads, p.queries, p.value_depth}, result_type_).to(type);
    for (at::Tensor& input : inputs_) input.requires_grad_();
    out_ = attend();
  }

  void run() {
    if (is_backward_) {
      gradients_ = torch::autograd::grad({out_}, inputs_, {d_out_}, /*retain_graph=*/true);
    } else {
      const at::NoGradGuard no_graph;
      out_.reset();  // so that its memory serves again, as it does in Python
      out_ = attend();
    }
  }

  KithResults results() {
    if (!is_backward_) return {read(out_, 0), nullptr, nullptr, nullptr};
    return {nullptr, read(gradients_.at(0), 0), read(gradients_.at(1), 1), read(gradients_.at(2), 2)};
  }

 private:
  static at::Tensor view(const void* data, at::IntArrayRef shape, at::ScalarType type) {
    return at::from_blob(const_cast<void*>(data), shape, at::TensorOptions(type));
  }

  at::Tensor attend() const {
    return at::scaled_dot_product_attention(inputs_[0], inputs_[1], inputs_[2], /*attn_mask=*/{},
                                            /*dropout_p=*/0, is_causal_, scale_);
  }

  // Strides are PyTorch's choice: out comes with rows outside of heads.
  const void* read(const at::Tensor& tensor, std::size_t place) {
    read_[place] = tensor.detach().to(result_type_).contiguous();
    return read_[place].const_data_ptr();
  }

  double scale_;
  bool is_backward_, is_causal_;
  at::ScalarType result_type_ = at::kFloat;
  std::vector<at::Tensor> inputs_, gradients_;
  at::Tensor out_, d_out_;
  std::array<at::Tensor, 3> read_;
};

}  // namespace

KITH_PEER(LibtorchSdpa)
