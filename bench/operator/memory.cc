#include "memory.h"

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace kith::bench {
namespace {

// A line such as "VmHWM:     1234 kB", in bytes.
double status(const std::string& field) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(field + ":")) return 1024 * std::stod(line.substr(field.size() + 1));
  return 0;
}

}  // namespace

double peak_growth(const std::function<void()>& work) {
  // What others have freed would hide what work() takes.
  malloc_trim(0);
  // Linux: 5 sets the peak back to what is resident now.
  std::ofstream("/proc/self/clear_refs") << "5" << std::flush;
  const double before = status("VmRSS");
  work();
  return std::max(0.0, status("VmHWM") - before);
}

}  // namespace kith::bench
