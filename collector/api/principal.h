// Who asks. The console door authenticates and writes the principal into the metadata of the
// in-process call; nothing else can reach the services, so what stands there is true.
#pragma once

#include <string>

namespace grpc {
class CallbackServerContext;
}

namespace weir {

// Key of the metadata. The door removes it from whatever a client sends.
inline constexpr char kPrincipalKey[] = "weir-principal";

struct Principal {
  std::string name;  // "admin", …; empty: nobody signed in (enrolment and renewal only)
};

Principal principal_of(const grpc::CallbackServerContext& context);

}  // namespace weir
