// From a C++ class to the functions of in_process.h.
#pragma once

#include <exception>
#include <memory>
#include <string>

#include "in_process.h"

namespace kith::bench {

/// `Adapter` has
///     static std::string version();
///     static std::string unsupported(const KithProblem&);  // empty: nothing
///     explicit Adapter(const KithProblem&);                // prepares
///     void run();
///     KithResults results();
/// and tells what went wrong by exceptions, which end here.
template <class Adapter>
class Exported {
 public:
  static constexpr KithPeer functions() { return {version, unsupported, prepare, run, results, release}; }

 private:
  template <class Work>
  static const char* guarded(const Work& work) {
    static std::string why;
    try {
      work();
      return nullptr;
    } catch (const std::exception& error) {
      why = error.what();
      return why.c_str();
    }
  }

  static const char* version() {
    static const std::string text = Adapter::version();
    return text.c_str();
  }
  static const char* unsupported(const KithProblem* problem) {
    static std::string what;
    what = Adapter::unsupported(*problem);
    return what.empty() ? nullptr : what.c_str();
  }
  static const char* prepare(const KithProblem* problem) {
    return guarded([&] {
      prepared().reset();
      prepared() = std::make_unique<Adapter>(*problem);
    });
  }
  static const char* run() {
    return guarded([] { prepared()->run(); });
  }
  static const char* results(KithResults* results) {
    return guarded([&] { *results = prepared()->results(); });
  }
  static void release() { prepared().reset(); }

  static std::unique_ptr<Adapter>& prepared() {
    static std::unique_ptr<Adapter> adapter;
    return adapter;
  }
};

}  // namespace kith::bench

#define KITH_PEER(Adapter)                                                             \
  extern "C" const KithPeer* kith_peer() {                                             \
    static constexpr KithPeer functions = kith::bench::Exported<Adapter>::functions(); \
    return &functions;                                                                 \
  }
