// What the reading children made of signed bytes: see signed_reading.h.
#include "agent/guard/signed_reading.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>

namespace weir {
namespace {

using wire::CommandRefusal;
using wire::TrustRefusal;

constexpr std::uint32_t kVerbs = 12;  // CommandBody.Verb, 0 among them

template <class T>
Result<T> block_of(Bytes bytes, std::uint32_t magic) {
  T block;
  if (bytes.size() != sizeof block) return fail("its reader gave no whole answer");
  std::memcpy(&block, bytes.data(), sizeof block);
  if (block.magic != magic || block.words.back() != '\0')
    return fail("its reader gave an answer that is none");
  return block;
}

}  // namespace

SignatureCount count_signatures(std::string_view purpose, Bytes bytes,
                                std::span<const wire::OfferedSignature> signatures,
                                const PolicyTrust& trust, std::int64_t wall_s) {
  SignatureCount count;
  count.usable = ::sodium_init() >= 0;
  if (!count.usable) return count;
  const std::vector<std::uint8_t> covered = signed_bytes_of(purpose, bytes);
  for (const wire::OfferedSignature& one :
       signatures.first(std::min(signatures.size(), kMaxPolicySignatures)))
    for (std::size_t n = 0; n < trust.keys.size() && n < kMaxTrustedKeys; ++n) {
      const TrustedKey& key = trust.keys[n];
      if (key.id != one.key || (key.expires_wall_s != 0 && key.expires_wall_s <= wall_s)) continue;
      count.known = true;
      if (::crypto_sign_verify_detached(one.signature.data(), covered.data(), covered.size(),
                                        key.key.data()) == 0)
        count.good.set(n);
      else
        count.bad = true;
    }
  return count;
}

bool is_sound(const ExceptionReading& e) {
  constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (e.rules < 1 || e.rules > e.rule.size() || e.bytes == 0 || e.proven > 1) return false;
  for (std::uint32_t n = 0; n < e.rules; ++n)
    if (e.rule[n].front() == '\0' || e.rule[n].back() != '\0') return false;
  if (e.request.back() != '\0' || e.domain.back() != '\0' || e.until_wall_s < 0) return false;
  if (e.person == 0xffffffff) return false;
  if (e.domain.front() != '\0') return e.length == 0;
  const bool v4 = std::equal(kMapped.begin(), kMapped.end(), e.address.begin());
  return e.length <= 128 && e.length >= (v4 ? 96u + 24u : 48u);
}

bool is_sound(const BlockReading& b) {
  constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (b.everybody > 1 || b.pad != 0 || b.domain.back() != '\0') return false;
  if (b.everybody == 1 ? b.person != 0 : b.person == 0xffffffff) return false;
  constexpr std::array<std::uint8_t, 16> kNone{};
  if (b.domain.front() != '\0') return b.length == 0 && b.address == kNone;
  const bool v4 = std::equal(kMapped.begin(), kMapped.end(), b.address.begin());
  if (b.length > 128 || b.length < (v4 ? kShortestShutV4 : kShortestShut)) return false;
  for (std::uint32_t bit = b.length; bit < 128; ++bit)
    if ((b.address[bit / 8] >> (7 - bit % 8) & 1) != 0) return false;
  // All of IPv4 lies within a few prefixes of IPv6.
  const Prefix place{{b.address}, static_cast<std::uint8_t>(b.length)};
  return v4 || !place.contains(*IpAddress::parse("0.0.0.0"));
}

bool is_sound(const JoinReading& join) {
  const std::string_view group(join.group.data(), ::strnlen(join.group.data(), join.group.size()));
  return !group.empty() && group.size() <= kMaxGroup && join.decided_wall_ms > 0 && join.pad == 0 &&
         std::ranges::all_of(
             group, [](char c) { return static_cast<unsigned char>(c) > ' ' && c != 0x7f; });
}

Result<CommandReading> read_command_reading(Bytes bytes) {
  Result<CommandReading> read = block_of<CommandReading>(bytes, kCommandReadingMagic);
  if (!read) return read;
  const auto refusal = static_cast<CommandRefusal>(read->refusal);
  if (refusal == CommandRefusal::damaged || refusal == CommandRefusal::unknown_part) return read;
  if (refusal != CommandRefusal::none || read->verb == 0 || read->verb >= kVerbs ||
      read->host_id.front() == '\0' || read->host_id.back() != '\0' || read->asked.back() != '\0' ||
      read->exception.request.back() != '\0')
    return fail("its reader gave an answer that is none");
  if (read->verb == kExceptVerb && !is_sound(read->exception))
    return fail("its reader gave an exception that is none");
  if (read->verb == kBlockVerb && !is_sound(read->block))
    return fail("its reader gave a destination that is none");
  if (read->verb == kKillVerb && read->tree == 0)
    return fail("its reader gave a tree that is none");
  if (read->verb == kJoinVerb && !is_sound(read->join))
    return fail("its reader gave a group that is none");
  return read;
}

CommandRefusal check_command(const CommandReading& command, const wire::CommandId& offered,
                             std::string_view host_id, std::int64_t wall_s) {
  if (command.refusal != 0) return static_cast<CommandRefusal>(command.refusal);
  if (command.id != offered) return CommandRefusal::damaged;
  if (host_id.empty()) return CommandRefusal::no_host;
  if (std::string_view(command.host_id.data()) != host_id) return CommandRefusal::other_host;
  if (command.expires_wall_s <= wall_s) return CommandRefusal::expired;
  if (command.not_before_wall_s > wall_s + kCommandSlackS) return CommandRefusal::not_yet;
  if (command.expires_wall_s - wall_s > kMaxCommandLifeS + kCommandSlackS)
    return CommandRefusal::too_long;
  return CommandRefusal::none;
}

Result<TrustReading> read_trust_reading(Bytes bytes) {
  Result<TrustReading> read = block_of<TrustReading>(bytes, kTrustReadingMagic);
  if (!read || read->damaged == 1) return read;
  if (read->damaged != 0 || read->pad != 0 || read->number == 0 || read->keys == 0 ||
      read->keys > kMaxTrustedKeys || read->threshold == 0 || read->threshold > read->keys)
    return fail("its reader gave an answer that is none");
  return read;
}

tl::expected<PolicyTrust, TrustRefusal> next_trust(
    const PolicyTrust& now, const TrustReading& reading, Bytes set,
    std::span<const wire::OfferedSignature> signatures, std::int64_t wall_s) {
  if (reading.damaged != 0) return tl::unexpected(TrustRefusal::damaged);
  if (reading.number != now.number + 1) return tl::unexpected(TrustRefusal::not_next);
  PolicyTrust next = now;
  next.number = reading.number;
  next.threshold = reading.threshold;
  next.keys.clear();
  for (const TrustReading::Key& key : std::span(reading.key).first(reading.keys))
    next.keys.push_back({key.id, key.key, key.expires_wall_s});
  if (!write_trust(next)) return tl::unexpected(TrustRefusal::damaged);  // ids, keys named twice
  const SignatureCount count = count_signatures(kTrustPurpose, set, signatures, next, wall_s);
  if (!count.usable) return tl::unexpected(TrustRefusal::failed);
  if (count.good.count() < next.threshold)
    return tl::unexpected(count.bad ? TrustRefusal::bad_signature : TrustRefusal::threshold);
  return next;
}

}  // namespace weir
