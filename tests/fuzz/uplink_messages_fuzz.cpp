// Messages between guard and uplink, and the trust file. First byte: which of them; then datagrams,
// each behind two bytes of length and one that counts its descriptors, all of one conversation.
#include "agent/guard/trust.h"
#include "agent/guard/uplink_messages.h"

using namespace weir;

namespace {

void hear(Reader& in) {
  wire::UplinkSession session;
  std::uint64_t now = 0;
  while (in.left() > 3) {
    const std::uint16_t length = in.u16();
    const std::size_t descriptors = in.u8() % 4;
    const Bytes datagram = in.take(std::min<std::size_t>(length, in.left()));
    const auto message = session.on(datagram, descriptors, now += 100'000'000);
    if (!message) return;  // the guard ends the uplink here
    WEIR_CHECK(datagram.size() <= wire::kMaxUplinkMessage && session.last_heard_ns() == now);
    WEIR_CHECK(descriptors == (std::holds_alternative<wire::UplinkBeat>(*message) ? 0u : 1u));
    if (const auto* offer = std::get_if<wire::OfferPolicy>(&*message))
      WEIR_CHECK(offer->signatures <= kMaxPolicySignatures);
    if (const auto* offer = std::get_if<wire::OfferCommand>(&*message))
      WEIR_CHECK(offer->signatures <= kMaxPolicySignatures && offer->body_size != 0);
    if (const auto* offer = std::get_if<wire::OfferTrust>(&*message))
      WEIR_CHECK(offer->signatures <= kMaxPolicySignatures && offer->set_size != 0);
  }
}

void trust(Bytes text) {
  auto read = read_trust({reinterpret_cast<const char*>(text.data()), text.size()});
  if (!read) return;
  WEIR_CHECK(read->threshold >= 1 && read->threshold <= read->keys.size());
  auto again = write_trust(*read);
  WEIR_CHECK(again && read_trust(*again));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader in(Bytes(data, size));
  switch (in.u8() % 3) {
    case 0:
      hear(in);
      break;
    case 1:
      (void)wire::parse_to_uplink(in.rest());
      break;
    default:
      trust(in.rest());
      break;
  }
  return 0;
}
