// What `kith attend` computes, from its arrays to the files that are asked for.
#pragma once

#include "cli/attend_arrays.h"
#include "cli/output_files.h"

namespace kith::cli {

/// The forward pass and what goes with it, in the arrays' type. Returns how its sums were done.
Method compute(const AttendOptions& given, AttendArrays& arrays, OutputFiles& files);

}  // namespace kith::cli
