// Addresses of the resolvers in a resolv.conf: see resolvers.h.
#include "agent/run/resolvers.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

namespace weir {

std::vector<IpAddress> resolvers_in(std::string_view resolv_conf, bool with_loopback) {
  std::vector<IpAddress> found;
  std::istringstream lines{std::string(resolv_conf)};
  for (std::string line; std::getline(lines, line) && found.size() < kMaxHostResolvers;) {
    std::istringstream words(line);
    std::string key, value;
    if (!(words >> key >> value) || key != "nameserver") continue;
    Result<IpAddress> address = IpAddress::parse(value.substr(0, value.find('%')));
    if (address && (with_loopback || !address->is_loopback())) found.push_back(*address);
  }
  return found;
}

std::vector<IpAddress> host_resolvers(bool with_loopback) {
  constexpr std::size_t kMaxFile = 64 * 1024;
  std::vector<IpAddress> all;
  for (const char* path : {"/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"}) {
    std::ifstream file(path);
    std::string text(kMaxFile, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    for (const IpAddress& address : resolvers_in(text, with_loopback))
      if (std::find(all.begin(), all.end(), address) == all.end()) all.push_back(address);
  }
  return all;
}

}  // namespace weir
