// How the user says a table is written, laid over the columns a model wants from it.
#pragma once

#include "kith/table.h"

namespace kith::cli {

inline CsvOptions with_format(CsvOptions wanted, const CsvOptions& given) {
  wanted.delimiter = given.delimiter;
  wanted.header = given.header;
  wanted.decimal_comma = given.decimal_comma;
  wanted.missing.insert(wanted.missing.end(), given.missing.begin(), given.missing.end());
  return wanted;
}

}  // namespace kith::cli
