// Programs that start others for people: what each starts is a process tree of its own, and its
// person is the one who is logged in when it starts. `--launcher` names further ones.
#pragma once

#include <string>
#include <vector>

namespace weir {

// Those of a desk's usual ones that are there as a package leaves them: owned by root, writable by
// nobody else. `root`: "" but in tests.
std::vector<std::string> usual_launchers(const std::string& root = "");

}  // namespace weir
