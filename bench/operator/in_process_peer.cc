#include "in_process_peer.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "kith/error.h"
#include "measure.h"
#include "memory.h"

namespace kith::bench {
namespace {

// RTLD_LOCAL: each library finds symbols in this program, which offers none of theirs, and in what it is
// linked to itself; libtorch's own sgemm_ and oneDNN stay its own. What all of them do share is the OpenMP
// runtime: there is one libgomp.so.1 a process, the first that is loaded, whoever brings it. So its variables
// are set before the first.
const KithPeer* functions_of(const std::string& path) {
  for (const auto& [name, value] : library_variables(1)) setenv(name.c_str(), value.c_str(), 1);
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw Error(fmt::format("not installed ({})", dlerror()));
  using Function = const KithPeer*();
  auto* const peer = reinterpret_cast<Function*>(dlsym(library, "kith_peer"));
  if (peer == nullptr) throw Error(fmt::format("{} has no kith_peer()", path));
  return peer();
}

void require(const char* failure) {
  if (failure != nullptr) throw Error(failure);
}

}  // namespace

InProcessPeer::InProcessPeer(const std::string& name) : name_(name) {
  const std::string path = fmt::format("{}/in_process/{}.so", peers_folder(), name);
  if (!std::filesystem::exists(path))
    throw Error(fmt::format("not installed ({}: no such file; run bench/peers.sh)", path));
  functions_ = functions_of(path);
  version_ = functions_->version();
}

InProcessPeer::~InProcessPeer() { functions_->release(); }

double InProcessPeer::prepare(const Problem& problem, const Own& own) {
  if (problem.variant != Variant::dot)
    throw Error(fmt::format("has no {}", to_json(problem)["variant"].get<std::string>()));
  const KithProblem seen = own.in_process(problem);
  if (const char* what = functions_->unsupported(&seen)) throw Error(fmt::format("has no {}", what));
  require(functions_->prepare(&seen));
  const double bytes = peak_growth([&] { require(functions_->run()); });
  KithResults results{};
  require(functions_->results(&results));
  own.compare(results, problem, name_);
  return bytes;
}

double InProcessPeer::seconds(double at_least) {
  return bench::seconds([&] { require(functions_->run()); }, at_least);
}

}  // namespace kith::bench
