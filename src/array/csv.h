// Reading a table from any source; read_csv is this over a path.
#pragma once

#include "array/csv_source.h"
#include "kith/table.h"

namespace kith::csv {

/// As read_csv. `Table::source` is left empty.
Table read(Source& source, const CsvOptions& options);

}  // namespace kith::csv
