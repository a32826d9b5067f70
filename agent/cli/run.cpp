// `weir run`: the agent in the foreground.
#include <fmt/format.h>
#include <net/if.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "agent/cli/commands.h"
#include "agent/cli/printer.h"
#include "agent/run/exec_served.h"
#include "agent/run/state_dir.h"
#include "agent/run/supervisor.h"

namespace weir {

int cmd_run(int argc, char** argv) {
  CLI::App app(
      "Bound and report what leaves this host, until SIGTERM. Prints `ready` on standard error.",
      "weir run");
  RunOptions options;
  options.state_dir = kStateDir;
  std::string format = "text";
  bool no_restart = false;
  app.add_option("--policy", options.policy, "policy file (default: observe everything)")
      ->envname("WEIR_POLICY")
      ->type_name("FILE");
  app.add_option("--collector", options.collector,
                 "where to report to (default: where the host is enrolled, if it is)")
      ->type_name("HOST:PORT");
  app.add_option("--cgroup", options.cgroup, "where the hooks attach (default: the cgroup2 root)")
      ->type_name("PATH");
  app.add_option("--interface", options.interfaces,
                 "a device whose every frame counts; may be repeated (default: those that "
                 "lead out of the machine, unless --cgroup is given)")
      ->type_name("NAME");
  app.add_option("--state", options.state_dir, "folder for reports, usage rows, sessions")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--pin", options.pin_dir, "where pins go (default: the host's bpffs)")
      ->type_name("DIR");
  app.add_option("--record", options.record, "event log for weir replay")->type_name("FILE");
  app.add_option("--launcher", options.launchers,
                 "a program whose children are new process trees; may be repeated")
      ->type_name("PATH");
  CLI::Option* exec_socket =
      app.add_option("--exec-socket", options.exec_socket,
                     "where other users' `weir exec` asks (default with the default --state: "
                     "/run/weir/exec)")
          ->type_name("PATH");
  app.add_option("--try-every", options.try_every_s,
                 "seconds between two tries of the controls by a canary; 0: none")
      ->type_name("SECONDS")
      ->capture_default_str();
  app.add_option("--user", options.user, "uid and gid of the engine")->type_name("UID");
  app.add_flag("--no-restart", no_restart, "end when the guard ends");
  add_choice(app, "--format", format, {"text", "json"}, "how reports are printed");
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  if (::geteuid() != 0) {
    fmt::print(stderr, "weir run: only root can set a bound in the kernel: sudo weir run …\n");
    return kExitNotAllowed;
  }
  for (const std::string& path : options.launchers)
    if (::access(path.c_str(), X_OK) != 0) {
      fmt::print(stderr, "weir run: --launcher {}: there is no such program\n", path);
      return kExitUsage;
    }
  for (const std::string& name : options.interfaces)
    if (::if_nametoindex(name.c_str()) == 0) {
      fmt::print(stderr, "weir run: --interface {}: there is no such device here\n", name);
      return kExitUsage;
    }
  if (exec_socket->empty() && options.state_dir == kStateDir) options.exec_socket = kExecSocket;
  options.restart = !no_restart;
  options.json = format == "json";
  options.chinese = language_of_caller() == Language::chinese;
  return run_agent(options);
}

}  // namespace weir
