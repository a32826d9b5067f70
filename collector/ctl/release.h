// `weirctl hosts release`: answers the challenge of a host that nobody reaches over the network, by
// the policy key of admin.json. Asks no collector.
#pragma once

#include <string>
#include <vector>

#include "collector/ctl/commands.h"

namespace CLI {
class App;
}

namespace weir {

struct ReleaseWords {
  std::vector<std::string> challenge;  // groups, as they were typed
  std::string host, reason;
  bool yes = false;
  CtlOptions options;
};

CLI::App* add_release(CLI::App& hosts, ReleaseWords& words);  // the verb, with its options
int answer_challenge(const ReleaseWords& words);              // exit status

}  // namespace weir
