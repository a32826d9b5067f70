// A child cgroup of our own in the cgroup2 tree, that a command runs in.
// Thread: any, one owner for each ChildCgroup.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace weir {

Result<std::string> own_cgroup();  // where this process is, as a folder

// Removes PREFIX<pid> below `parent` where that process is gone and nobody is in there any more:
// what was killed could not.
void remove_left_cgroups(const std::string& parent, const std::string& prefix);

class ChildCgroup;
// PREFIX<our pid> below `hooked`; under a unit that may only write in its own cgroup, there. What
// former ones of us left is removed first.
Result<ChildCgroup> agent_cgroup(const std::string& hooked, const std::string& prefix);

// A child cgroup. It is removed with its processes when the object goes.
class ChildCgroup {
 public:
  static Result<ChildCgroup> make(const std::string& parent, const std::string& name);
  ChildCgroup(ChildCgroup&& other) noexcept;
  ChildCgroup& operator=(ChildCgroup&& other) noexcept;
  ~ChildCgroup();

  const std::string& path() const { return path_; }
  int fd() const { return fd_; }  // of cgroup.procs, opened for writing: "0" moves the caller
  std::vector<pid_t> processes() const;  // of this cgroup itself, at most kMaxListed
  void kill() const;                     // every process in it, by cgroup.kill or one by one

 private:
  ChildCgroup(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_ = -1;
};

}  // namespace weir
