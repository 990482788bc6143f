#include "peer.h"

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "in_process_peer.h"
#include "process_peer.h"

namespace kith::bench {

std::string peers_folder() {
  if (const char* folder = std::getenv("KITH_PEERS")) return folder;
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "." : home) + "/.cache/kith-peers";
}

std::vector<std::pair<std::string, std::string>> library_variables(int threads) {
  // 3000 are a tenth of a millisecond: workers are awake for the next part of the same call, and all sleep
  // long before the canary between two turns is over.
  std::vector<std::pair<std::string, std::string>> variables = {{"OMP_WAIT_POLICY", "PASSIVE"},
                                                                {"GOMP_SPINCOUNT", "3000"}};
  for (const char* name : {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"})
    variables.emplace_back(name, std::to_string(threads));
#ifdef __x86_64__
  // Debian's OpenBLAS takes AVX2 kernels on CPUs that are newer than itself.
  if (__builtin_cpu_supports("avx512bw")) variables.emplace_back("OPENBLAS_CORETYPE", "SKYLAKEX");
#endif
  return variables;
}

std::unique_ptr<Peer> open_peer(const std::string& adapter, int threads, const std::string& folder) {
  if (std::filesystem::exists(fmt::format("{}/peers/{}.cc", KITH_BENCH_FOLDER, adapter)))
    return std::make_unique<InProcessPeer>(adapter);
  return std::make_unique<ProcessPeer>(adapter, threads, folder);
}

}  // namespace kith::bench
