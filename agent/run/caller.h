// Who asked for a command: under sudo the calling user, else ourselves. Becoming them gives up
// every right of root that `weir exec` needed to set the bound.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace weir {

struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;  // "" where the host has no such account
  std::string home;
  std::vector<gid_t> groups;  // supplementary, as at a login
  std::uint32_t person = 0;   // login uid where one is set, else uid
  bool changed = false;       // differs from who we are: become() has something to do
};

Result<Caller> find_caller();  // SUDO_UID and SUDO_GID count only for root

// In the child, before exec: groups, gid, uid, then HOME, USER, LOGNAME. False: the caller must not
// go on. No allocation.
bool become(const Caller& caller);

}  // namespace weir
