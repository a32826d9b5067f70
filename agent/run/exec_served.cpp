// What a caller of the running agent may say, and who it may be: see exec_served.h.
#include "agent/run/exec_served.h"

#include <limits>
#include <sstream>

namespace weir {
namespace {

constexpr std::uint64_t kHourNs = 3600ull * 1'000'000'000;

}  // namespace

const char* damage_of(const ExecRequest& request, std::size_t size) {
  if (size != sizeof request || request.magic != kExecMagic)
    return "this agent speaks another version";
  if ((request.flags & ~(kExecJson | kExecChinese)) != 0) return "an unknown flag";
  if (request.limit > std::numeric_limits<std::int64_t>::max()) return "no such limit";
  for (std::uint64_t hours : {0, 1, 24, 168})
    if (request.window_ns == hours * kHourNs) return "";
  return "no such window";
}

bool is_inside(const std::string& proc_cgroup, const std::string& inside) {
  std::istringstream lines(proc_cgroup);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("0::/")) continue;
    const std::string path = line.substr(3);
    if (path.starts_with("/..")) return false;  // outside of what this process sees
    if (inside == "/") return true;
    return path.starts_with(inside) && (path.size() == inside.size() || path[inside.size()] == '/');
  }
  return false;
}

bool runs_only_as(const std::string& proc_status, std::uint32_t uid) {
  std::istringstream lines(proc_status);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("Uid:")) continue;
    std::istringstream fields(line.substr(4));
    std::uint32_t one = 0;
    int same = 0;
    while (fields >> one && one == uid) ++same;
    return same == 4;
  }
  return false;
}

}  // namespace weir
