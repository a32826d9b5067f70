// Compiles a policy file in a child that gave up its rights first: whatever is in the file, a
// process without files, network or a user of its own reads it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace weir {

struct CompiledPolicy {
  std::vector<std::uint8_t> flat;   // for the guard
  std::vector<std::uint8_t> bytes;  // weir.v1.Policy, for the engine
};

// `path` "": the built-in default policy, which observes. The error's sentence has a line for each
// fault of the file, or for each part that `enforce` asks for and this version can't enforce.
Result<CompiledPolicy> compile_policy(const std::string& path);

}  // namespace weir
