// kith: one verb a job. This file turns what a verb threw into a message and an exit code.
#include <csignal>
#include <cstdio>
#include <new>

#include <fmt/format.h>

#include "cli/options.h"
#include "cli/output.h"
#include "cli/text.h"

namespace kith::cli {

void run(const Message& message) { print(message.text); }

namespace {

enum ExitCode { kDone = 0, kFailed = 1, kUsage = 2 };

int complain(std::string_view message, ExitCode code) {
  fmt::print(stderr, "kith: {}\n", one_line(message));
  return code;
}

int execute(int argc, char** argv) {
  // A reader that leaves and a file that cannot grow are then errors of the call that meets them.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    std::visit([](auto&& arguments) { run(std::forward<decltype(arguments)>(arguments)); },
               parse(argc, argv));
    return kDone;
  } catch (const ClosedPipe&) {
    return kDone;
  } catch (const UsageError& e) {
    return complain(e.what(), kUsage);
  } catch (const std::bad_alloc&) {
    return complain("not enough memory for this", kFailed);
  } catch (const std::exception& e) {
    return complain(e.what(), kFailed);
  }
}

}  // namespace
}  // namespace kith::cli

int main(int argc, char** argv) { return kith::cli::execute(argc, argv); }
