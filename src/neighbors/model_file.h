// A model as one safetensors file.
#pragma once

#include <string>

#include "kith/neighbors.h"
#include "kith/safetensors.h"

namespace kith::neighbors {

/// The model in an open file, whose mapping it keeps; `path` is for messages. Everything read is checked,
/// whether or not the file's checksum was.
Model model_from(const SafetensorsFile& file, const std::string& path);

}  // namespace kith::neighbors
