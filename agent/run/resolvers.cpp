// Addresses of the resolvers in a resolv.conf: see resolvers.h.
#include "agent/run/resolvers.h"

#include <sstream>
#include <string>

namespace weir {

std::vector<IpAddress> resolvers_in(std::string_view resolv_conf) {
  std::vector<IpAddress> found;
  std::istringstream lines{std::string(resolv_conf)};
  for (std::string line; std::getline(lines, line) && found.size() < kMaxResolvers;) {
    std::istringstream words(line);
    std::string key, value;
    if (!(words >> key >> value) || key != "nameserver") continue;
    Result<IpAddress> address = IpAddress::parse(value.substr(0, value.find('%')));
    if (address && !address->is_loopback()) found.push_back(*address);
  }
  return found;
}

}  // namespace weir
