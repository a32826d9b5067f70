// `weir-collector`: what a fleet reports to and is steered from.
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "collector/serve/serve.h"

namespace weir {
namespace {

constexpr int kMostKeepDays = 36'500;  // a hundred years: beyond, it is a mistake
constexpr int kExitDone = 0, kExitFailed = 1, kExitUsage = 2;

void say(const std::string& sentence) {
  fmt::print(stderr, "weir-collector: {}\n", sentence);
}

// Before any thread is there, so that all of them inherit the mask.
sigset_t block_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  return ends;
}

// A stream is an open file.
void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::string machine_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "localhost";
}

int run_serve(const ServeOptions& options) {
  ::umask(0077);
  raise_file_limit();
  const sigset_t ends = block_signals();
  Result<void> served = serve(
      options, machine_name(), [] { fmt::print(stderr, "ready\n"); },
      [&ends] {
        int signal = 0;
        ::sigwait(&ends, &signal);
      },
      say);
  if (served) return kExitDone;
  say(served.error().sentence);
  return kExitFailed;
}

int run(int argc, char** argv) {
  CLI::App app("The collector that a fleet of Weir agents reports to.", "weir-collector");
  app.set_version_flag("--version", WEIR_VERSION);
  app.require_subcommand(1);
  ServeOptions options;
  CLI::App* serve = app.add_subcommand(
      "serve", "Serve agents and console; make what is needed in the data folder at first start.");
  serve->add_option("--data", options.data, "folder of store, authority and keys")->required();
  serve->add_option("--listen", options.listen, "HOST:PORT for agents (mTLS gRPC)")
      ->capture_default_str();
  serve
      ->add_option("--console", options.console, "HOST:PORT for console, API and enrolment (HTTPS)")
      ->capture_default_str();
  serve->add_option("--name", options.name,
                    "DNS name or address that agents and administrators reach this collector by");
  serve->add_option("--console-cert", options.console_cert,
                    "PEM file with key and certificate chain of the console's door");
  serve
      ->add_option("--keep-days", options.keep_days,
                   "remove records when they are so many days old; 0: never")
      ->check(CLI::Range(0, kMostKeepDays).description(""))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitDone : kExitUsage;
  }
  return run_serve(options);
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  try {
    return weir::run(argc, argv);
  } catch (const std::exception& error) {  // out of memory, or a bug in a library
    std::fprintf(stderr, "weir-collector: %s\n", error.what());
    return weir::kExitFailed;
  }
}
