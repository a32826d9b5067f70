// Which catalogued service that takes uploads a flow goes to, and by what that is known.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/net/flows.h"
#include "core/policy/catalogue.h"

namespace weir {

struct UploadService {
  enum class By : std::uint8_t { server_name, http_host, resolved_name, address, earlier_flow };
  const Service* service = nullptr;
  std::string name;  // what named it, "" for an address
  By by = By::server_name;
  bool upload_host = false;  // the name is one of the hosts that take the bytes
};

// The strongest hint first: what the client says, what its resolver said, whose range it is.
std::optional<UploadService> upload_service_of(const Flow& flow, const Catalogue& catalogue);

// ATT&CK technique of an upload to a service of this category, "" if it takes no uploads.
std::string_view upload_technique(std::string_view category);

}  // namespace weir
