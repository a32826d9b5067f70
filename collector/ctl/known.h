// `weirctl policy known`: what colleagues use, as a list that a policy can name.
#pragma once

#include <cstdint>
#include <string>

#include "collector/ctl/output.h"
#include "collector/ctl/session.h"

namespace weir {

struct KnownTerms {
  std::string group = "default";
  std::uint32_t persons = 3;
  std::uint64_t within_s = 14 * 86'400;
  bool by_host = false;
};

// Prints the list: nothing is changed anywhere. The exit status.
int print_known(CtlSession& session, const KnownTerms& terms, Output output);

}  // namespace weir
