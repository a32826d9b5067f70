// `weir release`: takes back everything that holds without a program: pins, and with them the
// links.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "agent/cli/commands.h"
#include "platform/linux/kernel_part.h"

namespace weir {

int cmd_release(int argc, char** argv) {
  CLI::App app("Remove every pin of Weir: what `on_exit: keep` holds ends here.", "weir release");
  std::string pin_dir = "/sys/fs/bpf";
  app.add_option("--pin", pin_dir, "folder that --pin named")
      ->type_name("DIR")
      ->capture_default_str();
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  if (::geteuid() != 0) {
    fmt::print(stderr, "weir release: only root can remove pins\n");
    return kExitNotAllowed;
  }
  if (Result<void> released = KernelPart::release(pin_dir); !released) {
    fmt::print(stderr, "weir release: {}\n", released.error().sentence);
    return kExitFailed;
  }
  fmt::print("nothing of Weir is pinned in {}\n", pin_dir);
  return kExitDone;
}

}  // namespace weir
