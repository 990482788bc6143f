#include <fmt/format.h>

#include <cstring>

#include "attention/kernels/kernels.h"
#include "hwy/highway.h"
#include "hwy/targets.h"
#include "kith/attention.h"

namespace kith {

std::vector<const char*> instruction_sets() {
  hwy::SetSupportedTargetsForTest(0);
  std::vector<const char*> names;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets())
    names.push_back(hwy::TargetName(target));
  return names;
}

const char* instruction_set() {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) return hwy::TargetName(target);
  return "";
}

void force_instruction_set(const char* name) {
  hwy::SetSupportedTargetsForTest(0);
  std::int64_t forced = 0;
  if (name != nullptr && *name != '\0') {
    std::string known;
    for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
      if (std::strcmp(hwy::TargetName(target), name) == 0) forced = target;
      known += fmt::format("{}{}", known.empty() ? "" : ", ", hwy::TargetName(target));
    }
    if (forced == 0)
      throw Error(
          fmt::format("instruction set: {} is not one this CPU has; it needs one of {}", name, known));
  }
  if (forced != 0) hwy::SetSupportedTargetsForTest(forced);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace kith
