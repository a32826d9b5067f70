// Text that comes from outside before a host is enrolled, and its own facts read back. First byte:
// which of them.
#include "agent/uplink/identity.h"
#include "agent/uplink/token.h"

using namespace weir;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] % 2 == 0) {
    if (auto token = read_token(text))
      WEIR_CHECK(is_host_and_port(token->address) && token->secret.size() == kTokenSecret);
    return 0;
  }
  auto facts = facts_from_json(text);
  if (!facts) return 0;
  auto again = facts_from_json(to_json(*facts));
  WEIR_CHECK(again && again->host_id == facts->host_id &&
             again->door_key_sha256 == facts->door_key_sha256 &&
             again->renew_after_s == facts->renew_after_s);
  return 0;
}
