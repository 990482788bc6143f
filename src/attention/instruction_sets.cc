#include <fmt/format.h>

#include <cstring>

#include "attention/kernels/kernels.h"
#include "hwy/highway.h"
#include "hwy/targets.h"
#include "kith/attention.h"

namespace kith {

namespace {

// Highway's best target with the products of bfloat16 beside it.
constexpr const char* kWithBfloat16 = "AVX3_BF16";

}  // namespace

std::vector<const char*> instruction_sets() {
  hwy::SetSupportedTargetsForTest(0);
  std::vector<const char*> names;
  if (kernels::can_multiply_bfloat16()) names.push_back(kWithBfloat16);
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets())
    names.push_back(hwy::TargetName(target));
  return names;
}

const char* instruction_set() {
  if (kernels::multiplies_bfloat16()) return kWithBfloat16;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) return hwy::TargetName(target);
  return "";
}

void force_instruction_set(const char* name) {
  hwy::SetSupportedTargetsForTest(0);
  std::int64_t forced = 0;
  const bool best = name == nullptr || *name == '\0' ||
                    (kernels::can_multiply_bfloat16() && std::strcmp(name, kWithBfloat16) == 0);
  if (!best) {
    std::string known = kernels::can_multiply_bfloat16() ? kWithBfloat16 : "";
    for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
      if (std::strcmp(hwy::TargetName(target), name) == 0) forced = target;
      known += fmt::format("{}{}", known.empty() ? "" : ", ", hwy::TargetName(target));
    }
    if (forced == 0)
      throw Error(
          fmt::format("instruction set: {} is not one this CPU has; it needs one of {}", name, known));
  }
  kernels::switch_bfloat16(best);
  if (forced != 0) hwy::SetSupportedTargetsForTest(forced);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace kith
