// `weir enroll`: makes this host one of a collector's, by a token that an administrator handed
// over.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>

#include "agent/cli/commands.h"
#include "agent/run/state_dir.h"
#include "agent/uplink/enrol.h"
#include "agent/uplink/user.h"

namespace weir {
namespace {

int failed(Exit exit, const std::string& sentence) {
  fmt::print(stderr, "weir enroll: {}\n", sentence);
  return exit;
}

// One byte more than a token has, so that a file that is none is seen and not cut to one.
std::optional<std::string> read_file(const std::string& path, std::size_t most) {
  std::ifstream file(path, std::ios::binary);
  std::string text(most + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad()) return std::nullopt;
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

// Told, not refused: where the token is rolled out by a tool, the machine is enrolled all the same.
void warn_of_readers(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || (info.st_mode & S_IROTH) == 0)
    return;
  fmt::print(stderr,
             "weir enroll: {}: its mode {:04o} lets every user of this machine read it, and enrol "
             "machines of theirs while the token lasts: make it 0600, or remove it\n",
             path, info.st_mode & 07777);
}

EnrolmentFacts facts_of_host() {
  EnrolmentFacts facts{.version = WEIR_VERSION};
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) == 0) facts.hostname = name;
  std::ifstream("/etc/machine-id") >> facts.machine_id;
  return facts;
}

// The owner of a folder may prepare it; what is root's is root's to enrol.
int check_state(const std::string& state) {
  struct stat info {};
  if (::geteuid() == 0 && ::stat(state.c_str(), &info) != 0 && ::mkdir(state.c_str(), 0700) != 0)
    return failed(kExitFailed, fmt::format("{}: can't be made", state));
  if (::stat(state.c_str(), &info) != 0)
    return failed(kExitFailed, fmt::format("{}: is not there", state));
  if (::geteuid() != 0 && info.st_uid != ::geteuid())
    return failed(kExitNotAllowed, fmt::format("{} is not yours: run it as root", state));
  return kExitDone;
}

int enroll(const std::string& token_file, const std::string& state) {
  if (int exit = check_state(state); exit != kExitDone) return exit;
  Result<std::optional<Identity>> known = enrolled_as(state);
  if (!known) return failed(kExitFailed, known.error().sentence);
  if (*known) {
    fmt::print("enrolled already: host {} in group {}\n", (*known)->host.host_id,
               (*known)->host.group);
    return kExitDone;
  }
  std::optional<std::string> text = read_file(token_file, 4 * kMaxTokenText);
  if (!text) return failed(kExitUsage, fmt::format("{}: can't be read", token_file));
  warn_of_readers(token_file);
  Result<EnrolmentToken> token = read_token(*text);
  if (!token) return failed(kExitUsage, fmt::format("{}: {}", token_file, token.error().sentence));
  std::optional<uid_t> owner;
  if (::geteuid() == 0) owner = kUplinkUser;
  DoorResult<HostFacts> host = enrol(*token, facts_of_host(), state, owner);
  if (host) {
    fmt::print("enrolled: host {} in group {}; reports go to {}\n", host->host_id, host->group,
               host->agent_address);
    return kExitDone;
  }
  Exit exit = kExitFailed;
  if (host.error().kind == DoorFailure::Kind::refused) exit = kExitNotAllowed;
  if (host.error().kind == DoorFailure::Kind::unreachable) exit = kExitUnreachable;
  return failed(exit, host.error().sentence);
}

}  // namespace

int cmd_enroll(int argc, char** argv) {
  CLI::App app("Make this host one of a collector's, by the token that `weirctl tokens` printed.",
               "weir enroll");
  std::string token_file, state = kStateDir;
  app.add_option("--token-file", token_file, "file with the token; only its text counts")
      ->type_name("FILE")
      ->required();
  app.add_option("--state", state, "folder of the agent")->type_name("DIR")->capture_default_str();
  if (int exit = parse_arguments(app, argc, argv); exit >= 0) return exit;
  return enroll(token_file, state);
}

}  // namespace weir
