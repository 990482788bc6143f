// Numbers given in place, 3,1,2, where the name of a .npy file could stand as well.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kith/npy.h"

namespace kith::cli {

/// Whether the text is to be taken for a file's name: it has a / or ends in .npy, or it is -.
bool names_a_file(const std::string& text);

/// The words between commas, without blanks around them.
std::vector<std::string> split_at_commas(const std::string& text);

/// "3,1,2" as an array of one axis: int64 where all are whole numbers, else float64. Nothing if it is no list
/// of finite numbers.
std::optional<NpyArray> parse_number_list(const std::string& text);

}  // namespace kith::cli
