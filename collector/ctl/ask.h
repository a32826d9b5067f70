// Whether the person at the terminal means it, before something is signed that a host acts on.
// Thread: one.
#pragma once

#include <string>

namespace weir {

// Asks "QUESTION [y/N] " where standard input and output are a terminal: true after y or yes. Where
// they aren't, or with `yes`, nothing is asked and it is true: scripts have decided already.
// `question` is safe to show.
bool agreed(const std::string& question, bool yes);

}  // namespace weir
