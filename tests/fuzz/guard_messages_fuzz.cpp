// Messages between guard and engine, and the flat policy. First byte: which of them; then
// datagrams, each behind two bytes of length, all of one conversation.
#include <cstring>
#include <vector>

#include "agent/guard/flat_policy.h"
#include "agent/guard/messages.h"

using namespace weir;

namespace {

void hear(Reader& in) {
  constexpr std::uint64_t kRows = 0xff;
  wire::EngineSession session(kRows);
  std::uint64_t now = 0;
  while (in.left() > 2) {
    const std::uint16_t length = in.u16();
    const Bytes datagram = in.take(std::min<std::size_t>(length, in.left()));
    const bool was_ready = session.ready();
    const auto message = session.on(datagram, now += 1'000'000);
    if (!message) return;  // the guard ends the engine here
    WEIR_CHECK(datagram.size() <= wire::kMaxMessage && session.ready());
    WEIR_CHECK(was_ready != std::holds_alternative<wire::Ready>(*message));
    if (const auto* verdict = std::get_if<wire::Classify>(&*message))
      WEIR_CHECK((verdict->limits & ~kRows) == 0 && verdict->cookie != 0);
    if (const auto* lease = std::get_if<wire::ClassifyAddress>(&*message))
      WEIR_CHECK((lease->limits & ~kRows) == 0 && lease->length >= wire::kMinPrefix &&
                 lease->length <= 128);
  }
}

void read_policy(Bytes rest) {
  // A mapping is aligned; so is this copy.
  std::vector<std::uint64_t> aligned(rest.size() / 8 + 1);
  std::memcpy(aligned.data(), rest.data(), rest.size());
  const auto policy =
      read_flat_policy({reinterpret_cast<const std::uint8_t*>(aligned.data()), rest.size()});
  if (!policy) return;
  WEIR_CHECK((allowed_limits(*policy, ~0ull) & ~policy->rows()) == 0);
  for (const FlatPrefix& prefix : policy->prefixes)
    WEIR_CHECK((prefix.value.limits & ~policy->rows()) == 0 && prefix.key.length <= 128);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader in(Bytes(data, size));
  switch (in.u8() % 3) {
    case 0:
      hear(in);
      break;
    case 1:
      (void)wire::parse_from_guard(in.rest());
      break;
    default:
      read_policy(in.rest());
      break;
  }
  return 0;
}
