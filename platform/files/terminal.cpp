// Whether a person sits before this program.
#include "platform/files/terminal.h"

#include <unistd.h>

namespace weir {

bool at_terminal() {
  return ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0;
}

}  // namespace weir
