// weir-uplink: started by the guard's spawner. Gathers what it says of the host, seals itself, then
// keeps the stream to the collector. Descriptors: agent/guard/descriptors.h.
#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <string_view>

#include "agent/guard/descriptors.h"
#include "agent/uplink/say.h"
#include "agent/uplink/seal.h"
#include "agent/uplink/stream.h"
#include "agent/uplink/token.h"
#include "agent/uplink/uplink.h"

namespace weir {
namespace {

constexpr int kExitFailed = 1, kExitUsage = 2;

bool is(int fd, mode_t kind) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && (info.st_mode & S_IFMT) == kind;
}

UplinkFacts gather_facts() {
  UplinkFacts facts{.version = WEIR_VERSION};
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) == 0) facts.hostname = name;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> facts.boot_id;
  return facts;
}

int run(int argc, char** argv) {
  std::optional<std::string> collector;
  if (argc == 1) collector.emplace();
  if (argc == 3 && std::string_view(argv[1]) == "--collector" && is_host_and_port(argv[2]))
    collector = argv[2];
  if (!collector || !is(fds::kUplinkGuard, S_IFSOCK) || !is(fds::kUplinkSpool, S_IFDIR) ||
      !is(fds::kUplinkIdentity, S_IFDIR) || !is(fds::kUplinkAcknowledged, S_IFREG)) {
    fmt::print(stderr, "weir-uplink is started by weir-guard\n");
    return kExitUsage;
  }
  ::signal(SIGPIPE, SIG_IGN);
  ::umask(077);
  prepare_streams();
  UplinkFacts facts = gather_facts();
  facts.collector = *collector;
  Result<UplinkSealReport> seal = seal_uplink(fds::kUplinkSpool, fds::kUplinkIdentity);
  if (!seal) {
    say(seal.error().sentence);
    return kExitFailed;
  }
  for (const std::string& part : seal->missing)
    say(fmt::format("this kernel has no {}: sealed without it", part));
  Uplink uplink({.guard = fds::kUplinkGuard,
                 .spool = fds::kUplinkSpool,
                 .acknowledged = fds::kUplinkAcknowledged,
                 .identity = fds::kUplinkIdentity,
                 .news = fds::kUplinkNews},
                std::move(facts));
  int status = uplink.run();
  // A renewal may still wait for its door: its files are whole at any moment.
  ::_exit(status);
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  return weir::run(argc, argv);
}
