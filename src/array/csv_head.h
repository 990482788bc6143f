// What the first records of a table say: the delimiter and the columns' names.
#pragma once

#include <string>
#include <vector>

#include "array/csv_source.h"

namespace kith::csv {

/// The candidate (, ; tab |) that splits most of the first records into as many cells as the first of them,
/// and into the most cells; a comma if the file has one column. Quotes are respected.
char find_delimiter(Source& source, bool decimal_comma);

/// The columns' names, or c1, c2, ... without a header. kith::Error if the file is empty, or a name is
/// missing, there twice or not UTF-8.
std::vector<std::string> column_names(Source& source, char delimiter, bool header);

}  // namespace kith::csv
