// A policy as bytes of weir.v1.Policy: see policy_bytes.h.
#include "agent/run/policy_bytes.h"

#include "proto/map/policy_proto.h"

namespace weir {

std::string bytes_of_policy(const Policy& policy) {
  return policy_bytes(policy);
}

}  // namespace weir
