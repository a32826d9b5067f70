// Whether the person at the terminal means it.
#include "collector/ctl/ask.h"

#include <fmt/format.h>

#include <cstdio>

#include "platform/files/terminal.h"

namespace weir {

bool agreed(const std::string& question, bool yes) {
  if (yes || !at_terminal()) return true;
  fmt::print(stderr, "{} [y/N] ", question);
  char line[16];  // what is longer is no yes
  if (std::fgets(line, sizeof line, stdin) == nullptr) line[0] = '\0';
  const std::string said(line);
  if (said == "y\n" || said == "Y\n" || said == "yes\n" || said == "Yes\n") return true;
  fmt::print(stderr, "weirctl: nothing was signed\n");
  return false;
}

}  // namespace weir
