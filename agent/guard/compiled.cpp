// What the compile child makes of a signed envelope, and whether it may come into force: see
// compiled.h.
#include "agent/guard/compiled.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "agent/guard/signed_reading.h"
#include "core/base/fixed_text.h"
#include "core/base/sha256.h"

namespace weir {
namespace {

bool has_end(const char* text, std::size_t size) {
  return std::memchr(text, 0, size) != nullptr;
}

}  // namespace

Result<CompiledEnvelope> read_compiled(Bytes bytes) {
  if (bytes.size() < sizeof(CompiledHeader)) return fail("its compiler gave no whole answer");
  CompiledEnvelope compiled;
  compiled.header = reinterpret_cast<const CompiledHeader*>(bytes.data());
  const CompiledHeader& h = *compiled.header;
  if (h.magic != kCompiledMagic || h.pad != 0 || h.refusal >= wire::kRefusals ||
      !has_end(h.target.data(), h.target.size()) || !has_end(h.words.data(), h.words.size()))
    return fail("its compiler gave an answer that is none");
  if (h.flat_size > kMaxFlatBytes || h.policy_size > kMaxPolicyBytesInside ||
      bytes.size() != sizeof h + h.flat_size + h.policy_size)
    return fail("its compiler gave an answer that is cut");
  if (h.refusal != 0) return compiled;
  compiled.flat_bytes = bytes.subspan(sizeof h, h.flat_size);
  compiled.policy = bytes.subspan(sizeof h + h.flat_size);
  Result<FlatPolicy> flat = read_flat_policy(compiled.flat_bytes);
  if (!flat) return tl::unexpected(flat.error());
  if (flat->header->policy_number != h.number || h.number == 0 || h.policy_size == 0)
    return fail("its compiler gave an answer about another policy");
  compiled.flat = *flat;
  return compiled;
}

void put_words(std::array<char, 256>& words, std::string_view text) {
  put_text(words, text);
}

wire::Refusal check_signatures(Bytes envelope, std::span<const wire::OfferedSignature> signatures,
                               const PolicyTrust& trust, std::int64_t wall_s) {
  if (envelope.size() > kMaxEnvelopeBytes) return wire::Refusal::too_large;
  return refusal_of<wire::Refusal>(
      count_signatures(kPolicyPurpose, envelope, signatures, trust, wall_s), trust);
}

wire::Refusal check_terms(const CompiledEnvelope& compiled, const PolicyTrust& trust,
                          const GroupPolicy& in_force, std::int64_t wall_s) {
  const CompiledHeader& h = *compiled.header;
  if (compiled.refusal() != wire::Refusal::none) return compiled.refusal();
  if (compiled.target() != trust.group) return wire::Refusal::other_group;
  if (in_force.group == trust.group && h.number <= in_force.number) return wire::Refusal::not_newer;
  if (h.number < trust.least_number()) return wire::Refusal::below_least;
  if (h.expires_wall_s <= wall_s) return wire::Refusal::expired;
  if (h.not_before_wall_s > wall_s) return wire::Refusal::not_yet;
  return wire::Refusal::none;
}

wire::Refusal check_kept_terms(const CompiledEnvelope& compiled, const PolicyTrust& trust) {
  if (compiled.refusal() != wire::Refusal::none) return compiled.refusal();
  return trust.was_in(compiled.target()) ? wire::Refusal::none : wire::Refusal::other_group;
}

Result<KeptView> read_kept(Bytes bytes) {
  constexpr std::size_t kFirstSize = offsetof(KeptPolicy, trust_number);
  KeptView kept;
  if (bytes.size() <= kFirstSize || bytes.size() > kMaxKeptBytes)
    return fail("the kept policy has no size of one");
  std::memcpy(&kept.head, bytes.data(), kFirstSize);
  const bool first = kept.head.magic == kFirstKeptMagic;
  if (!first && bytes.size() <= sizeof kept.head) return fail("the kept policy is cut");
  if (!first) std::memcpy(&kept.head, bytes.data(), sizeof kept.head);
  kept.envelope = bytes.subspan(first ? kFirstSize : sizeof kept.head);
  const wire::OfferPolicy& offer = kept.head.offer;
  if ((!first && kept.head.magic != kKeptMagic) || kept.head.keep_on_exit > 1 ||
      offer.signatures > kMaxPolicySignatures || offer.envelope_size != kept.envelope.size())
    return fail("the kept policy is damaged");
  return kept;
}

bool KeptView::was_taken_before(const PolicyTrust& trust) const {
  return head.magic == kKeptMagic && head.trust_number != 0 && head.trust_number < trust.number &&
         sha256(envelope) == head.digest;
}

}  // namespace weir
