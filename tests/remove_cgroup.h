// What a test has made, also with what programs that it killed have left below.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>

namespace weir::test {

// False: somebody is in there still.
inline bool remove_cgroup(const std::string& path) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(path, ignored))
    if (entry.is_directory(ignored)) remove_cgroup(entry.path());
  return ::rmdir(path.c_str()) == 0 || errno == ENOENT;
}

}  // namespace weir::test
