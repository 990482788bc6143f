// oneDNN: its matmul, softmax and matmul primitives a block of queries, the logits scaled by the first.
// The 2.x of Debian has no attention of its own.
#include <oneapi/dnnl/dnnl.hpp>

#include <algorithm>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "adapter.h"
#include "row_blocks.h"

namespace {

using dnnl::memory;
using kith::bench::RowBlock;
using Type = memory::data_type;

memory::desc rows_of(int64_t rows, int64_t columns, Type type) {
  return {{rows, columns}, type, {columns, 1}};
}

struct Step {
  template <class Description>
  explicit Step(const Description& d)
      : primitive(d),
        a(d.src_desc()),
        b(d.query_md(dnnl::query::weights_md)),
        c(d.dst_desc()),
        scratch(d.scratchpad_desc()) {}

  dnnl::primitive primitive;
  memory::desc a, b, c, scratch;
};

/// For blocks of one shape. Weights are rounded to bfloat16 where the inputs are.
struct Steps {
  static Steps of(const KithProblem& p, const RowBlock& block, const dnnl::engine& engine) {
    const Type input = p.type == kith_bfloat16 ? Type::bf16 : Type::f32;
    const memory::desc keys_across({p.depth, block.visible}, input, {1, p.depth});
    const memory::desc logits = rows_of(block.rows, block.visible, Type::f32);
    const memory::desc weights = rows_of(block.rows, block.visible, input);
    // Two objects, since a copy would be another handle to the same attributes. The library's own scratch
    // memory is not for several threads at once.
    dnnl::primitive_attr attributes, scaled;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    scaled.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    scaled.set_output_scales(0, {static_cast<float>(p.scale)});
    return {Step(dnnl::matmul::primitive_desc({rows_of(block.rows, p.depth, input), keys_across, logits},
                                              scaled, engine)),
            Step(dnnl::softmax_v2_forward::primitive_desc(
                {dnnl::prop_kind::forward_inference, dnnl::algorithm::softmax_accurate, logits, weights, 1},
                attributes, engine)),
            Step(dnnl::matmul::primitive_desc({weights, rows_of(block.visible, p.value_depth, input),
                                               rows_of(block.rows, p.value_depth, Type::f32)},
                                              attributes, engine))};
  }

  std::size_t scratch_bytes() const {
    return std::max({logits.scratch.get_size(), soft_max.scratch.get_size(), average.scratch.get_size()});
  }

  Step logits, soft_max, average;
};

class OneDnn {
 public:
  static std::string version() {
    const dnnl_version_t* v = dnnl_version();
    return "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." +
           std::to_string(v->patch);
  }
  static std::string unsupported(const KithProblem& p) {
    if (p.is_backward) return "backward";
    if (p.type == kith_float64 || p.type == kith_float16) return "such numbers on CPUs";
    return {};
  }

  explicit OneDnn(const KithProblem& p)
      : problem_(p), out_(static_cast<std::size_t>(p.heads * p.queries * p.value_depth)) {
    // Primitives choose their blocking for as many threads as there are when they are made.
    const kith::bench::SingleThreaded alone;
    const int64_t rows = kith::bench::block_rows(p);
    std::size_t scratch = 0;
    for (int64_t first = 0; first < p.queries; first += rows) {
      const RowBlock block = kith::bench::row_block(p, 0, first);
      const auto [at, is_new] = steps_.try_emplace({block.rows, block.visible}, Steps::of(p, block, engine_));
      scratch = std::max(scratch, at->second.scratch_bytes());
    }
    const auto pairs = static_cast<std::size_t>(rows * p.keys);
    for (int t = 0; t < p.threads; ++t)
      threads_.push_back({dnnl::stream(engine_), std::vector<float>(pairs),
                          std::vector<char>(p.type == kith_bfloat16 ? 2 * pairs : 0),
                          std::vector<char>(scratch)});
  }

  void run() {
    kith::bench::for_each_block(problem_, [&](const RowBlock& block, int thread) {
      attend(block, threads_[static_cast<std::size_t>(thread)]);
    });
  }
  KithResults results() { return {out_.data(), nullptr, nullptr, nullptr}; }

 private:
  struct Thread {
    dnnl::stream stream;
    std::vector<float> logits;
    std::vector<char> weights, scratch;  // no weights: they replace the logits
  };

  void attend(const RowBlock& block, Thread& thread) {
    const KithProblem& p = problem_;
    const Steps& steps = steps_.at({block.rows, block.visible});
    const int64_t bytes = p.type == kith_bfloat16 ? 2 : 4;
    const auto at = [bytes](const void* data, int64_t index) {
      return const_cast<char*>(static_cast<const char*>(data) + index * bytes);
    };
    const int64_t row = block.head * p.queries + block.first;
    float* logits = thread.logits.data();
    void* weights = thread.weights.empty() ? static_cast<void*>(logits) : thread.weights.data();

    execute(steps.logits, thread, at(p.query, row * p.depth), at(p.key, block.head * p.keys * p.depth),
            logits);
    for (int64_t i = 0; i < block.rows; ++i)
      std::fill(logits + i * block.visible + kith::bench::visible_of(p, block, i),
                logits + (i + 1) * block.visible, -std::numeric_limits<float>::infinity());
    execute(steps.soft_max, thread, logits, nullptr, weights);
    execute(steps.average, thread, weights, at(p.value, block.head * p.keys * p.value_depth),
            out_.data() + row * p.value_depth);
  }

  void execute(const Step& step, Thread& thread, void* a, void* b, void* c) const {
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC, memory(step.a, engine_, a)},
        {DNNL_ARG_DST, memory(step.c, engine_, c)},
        {DNNL_ARG_SCRATCHPAD, memory(step.scratch, engine_, thread.scratch.data())}};
    if (b != nullptr) arguments.emplace(DNNL_ARG_WEIGHTS, memory(step.b, engine_, b));
    step.primitive.execute(thread.stream, arguments);
  }

  KithProblem problem_;
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  std::map<std::pair<int64_t, int64_t>, Steps> steps_;  // by rows and visible keys
  std::vector<Thread> threads_;
  std::vector<float> out_;
};

}  // namespace

KITH_PEER(OneDnn)
