// What the compile child (weir-engine --compile) makes of a signed envelope: numbers and bounds for
// the guard, the kernel's rows, and the policy's bytes for the engine; or why not. One flat block,
// every field of which is checked here. Pure; native byte order (both ends run on one host).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "agent/guard/flat_policy.h"
#include "agent/guard/trust.h"
#include "agent/guard/uplink_messages.h"
#include "core/base/bytes.h"
#include "core/base/result.h"

namespace weir {

struct CompiledHeader {
  std::uint32_t magic = 0;
  std::uint32_t refusal = 0;  // wire::Refusal; else 0, and the two blocks follow
  std::uint32_t number = 0;   // of the envelope, also with a refusal if it could be read
  std::uint32_t pad = 0;
  std::int64_t not_before_wall_s = 0, expires_wall_s = 0;
  std::uint64_t flat_size = 0, policy_size = 0;  // flat_policy.h, then weir.v1.Policy
  std::array<std::uint8_t, 32> digest{};         // SHA-256 of PolicyEnvelope.policy
  std::array<char, kMaxGroup + 8> target{};      // NUL-terminated
  std::array<char, 256> words{};                 // the refusal's argument, NUL-terminated
};
static_assert(sizeof(CompiledHeader) % 8 == 0);  // the flat policy behind it is aligned

inline constexpr std::size_t kMaxPolicyBytesInside = 1u << 20;  // of weir.v1.Policy
inline constexpr std::size_t kMaxCompiledAnswer =
    sizeof(CompiledHeader) + kMaxFlatBytes + kMaxPolicyBytesInside;

struct CompiledEnvelope {  // a checked view
  const CompiledHeader* header = nullptr;
  FlatPolicy flat;  // of a refusal: none
  Bytes flat_bytes, policy;

  wire::Refusal refusal() const { return static_cast<wire::Refusal>(header->refusal); }
  std::string_view target() const { return header->target.data(); }
};

// `bytes` must be aligned (a mapping or an allocation is).
Result<CompiledEnvelope> read_compiled(Bytes bytes);

// Cuts words to what fits, and replaces what does not print.
void put_words(std::array<char, 256>& words, std::string_view text);

// What the signatures say. Keys that have expired sign nothing.
wire::Refusal check_signatures(Bytes envelope, std::span<const wire::OfferedSignature> signatures,
                               const PolicyTrust& trust, std::int64_t wall_s);

// What its own numbers say, against the policy in force: numbers are a group's, so that one of
// another group says nothing.
wire::Refusal check_terms(const CompiledEnvelope& compiled, const PolicyTrust& trust,
                          const GroupPolicy& in_force, std::int64_t wall_s);

// Of one that was judged when it came: it may be of a group that this host has left since, until
// the first of its group came.
wire::Refusal check_kept_terms(const CompiledEnvelope& compiled, const PolicyTrust& trust);

// What `weir run` keeps in STATE/policy, and hands to the guard's start: this, then the envelope.
// Files of before keys could change have another magic and end before `trust_number`.
struct KeptPolicy {
  std::uint32_t magic = 0;
  std::uint32_t keep_on_exit = 0;  // the policy's on_exit: 1 keep
  wire::OfferPolicy offer;
  std::uint32_t trust_number = 0;         // of the keys that it was taken by
  std::uint32_t number = 0;               // of the policy; 0: written by an earlier build
  std::array<std::uint8_t, 32> digest{};  // SHA-256 of the envelope
};
inline constexpr std::uint32_t kFirstKeptMagic = 0x50544b57;  // "WKTP"
inline constexpr std::uint32_t kKeptMagic = 0x32544b57;       // "WKT2"
inline constexpr std::uint32_t kCompiledMagic = 0x504d4357;
inline constexpr std::size_t kMaxKeptBytes = sizeof(KeptPolicy) + kMaxEnvelopeBytes;

struct KeptView {
  KeptPolicy head;
  Bytes envelope;

  // It was taken by keys that others have followed since: whose signature it has no longer matters,
  // it is what was written. A policy outlives the keys that brought it.
  bool was_taken_before(const PolicyTrust& trust) const;
};
Result<KeptView> read_kept(Bytes bytes);

}  // namespace weir
