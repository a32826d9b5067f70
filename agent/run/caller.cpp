// Who asked for a command: see caller.h.
#include "agent/run/caller.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <string_view>

namespace weir {
namespace {

constexpr std::uint32_t kNoLoginUid = 0xffffffff;  // what the kernel shows where none was set
constexpr int kMaxGroups = 65536;                  // NGROUPS_MAX of Linux

std::optional<std::uint32_t> number_in(const char* text) {
  if (text == nullptr) return std::nullopt;
  std::string_view view(text);
  std::uint32_t value = 0;
  auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  if (error != std::errc() || end != view.data() + view.size() || view.empty()) return std::nullopt;
  return value;
}

std::uint32_t login_uid() {
  std::ifstream file("/proc/self/loginuid");
  std::uint32_t uid = kNoLoginUid;
  return file >> uid ? uid : kNoLoginUid;
}

}  // namespace

Result<Caller> find_caller() {
  Caller caller;
  caller.uid = ::getuid();
  caller.gid = ::getgid();
  const char* asked = std::getenv("SUDO_UID");
  if (::geteuid() == 0 && asked != nullptr) {
    std::optional<std::uint32_t> uid = number_in(asked), gid = number_in(std::getenv("SUDO_GID"));
    if (!uid || !gid) return fail("SUDO_UID and SUDO_GID must both be numbers, as sudo sets them");
    caller.changed = *uid != caller.uid || *gid != caller.gid;
    caller.uid = *uid;
    caller.gid = *gid;
  }
  if (const passwd* entry = ::getpwuid(caller.uid)) {
    caller.name = entry->pw_name;
    caller.home = entry->pw_dir;
  }
  caller.groups.assign(1, caller.gid);
  if (caller.changed && !caller.name.empty()) {
    int count = 0;
    ::getgrouplist(caller.name.c_str(), caller.gid, nullptr, &count);
    if (count > 0 && count <= kMaxGroups) {
      caller.groups.resize(static_cast<std::size_t>(count));
      ::getgrouplist(caller.name.c_str(), caller.gid, caller.groups.data(), &count);
      caller.groups.resize(static_cast<std::size_t>(count));
    }
  }
  std::uint32_t login = login_uid();
  caller.person = login != kNoLoginUid ? login : caller.uid;
  return caller;
}

bool become(const Caller& caller) {
  if (!caller.changed) return true;
  if (::setgroups(caller.groups.size(), caller.groups.data()) != 0) return false;
  if (::setresgid(caller.gid, caller.gid, caller.gid) != 0) return false;
  if (::setresuid(caller.uid, caller.uid, caller.uid) != 0) return false;
  if (!caller.name.empty()) {
    ::setenv("USER", caller.name.c_str(), 1);
    ::setenv("LOGNAME", caller.name.c_str(), 1);
    ::setenv("HOME", caller.home.c_str(), 1);
  }
  return caller.uid == 0 || ::setuid(0) != 0;  // root must be out of reach now
}

}  // namespace weir
