// Reads the principal off an in-process call.
#include "collector/api/principal.h"

#include <grpcpp/server_context.h>

namespace weir {

Principal principal_of(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  auto found = metadata.find(kPrincipalKey);
  if (found == metadata.end()) return {};
  return {std::string(found->second.data(), found->second.size())};
}

}  // namespace weir
