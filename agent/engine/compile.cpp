// weir-engine --compile, --read-command, --read-trust: see compile.h.
#include "agent/engine/compile.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agent/engine/seal.h"
#include "agent/guard/compiled.h"
#include "agent/guard/descriptors.h"
#include "agent/guard/signed_reading.h"
#include "agent/run/flatten.h"
#include "agent/run/resolvers.h"
#include "core/base/fixed_text.h"
#include "core/base/sha256.h"
#include "core/policy/evaluate.h"
#include "platform/files/passing.h"
#include "proto/map/command_proto.h"
#include "proto/map/envelope_proto.h"
#include "proto/map/policy_proto.h"

namespace weir {
namespace {

using wire::Refusal;

std::vector<std::uint8_t> answer_of(CompiledHeader header, Bytes flat, Bytes policy) {
  header.magic = kCompiledMagic;
  header.flat_size = flat.size();
  header.policy_size = policy.size();
  std::vector<std::uint8_t> answer(sizeof header);
  std::memcpy(answer.data(), &header, sizeof header);
  answer.insert(answer.end(), flat.begin(), flat.end());
  answer.insert(answer.end(), policy.begin(), policy.end());
  return answer;
}

std::vector<std::uint8_t> refused(CompiledHeader header, Refusal why, const std::string& words) {
  header.refusal = static_cast<std::uint32_t>(why);
  put_words(header.words, words);
  return answer_of(header, {}, {});
}

template <class T>
std::vector<std::uint8_t> block_of(const T& block) {
  std::vector<std::uint8_t> bytes(sizeof block);
  std::memcpy(bytes.data(), &block, sizeof block);
  return bytes;
}

Bytes map_envelope() {
  struct stat info {};
  if (::fstat(fds::kCompileEnvelope, &info) != 0 || info.st_size <= 0 ||
      static_cast<std::size_t>(info.st_size) > kMaxEnvelopeBytes)
    return {};
  auto size = static_cast<std::size_t>(info.st_size);
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fds::kCompileEnvelope, 0);
  if (memory == MAP_FAILED) return {};
  return {static_cast<const std::uint8_t*>(memory), size};
}

}  // namespace

std::vector<std::uint8_t> compile_envelope(Bytes bytes, const std::vector<IpAddress>& resolvers) {
  CompiledHeader header;
  Result<Envelope> envelope = envelope_from_bytes(bytes);
  if (!envelope) return refused(header, Refusal::damaged, envelope.error().sentence);
  header.number = envelope->number;
  header.not_before_wall_s = envelope->not_before_wall_s;
  header.expires_wall_s = envelope->expires_wall_s;
  header.digest = sha256(bytes_of(envelope->policy));
  if (envelope->target.size() > kMaxGroup)
    return refused(header, Refusal::other_group, "its target is no group's name");
  std::copy(envelope->target.begin(), envelope->target.end(), header.target.begin());
  if (envelope->policy.size() > kMaxPolicyBytesInside)
    return refused(header, Refusal::too_large, "");
  Result<Policy> policy = policy_from_bytes(bytes_of(envelope->policy));
  if (!policy) return refused(header, Refusal::damaged, policy.error().sentence);
  if (envelope->number == 0 || policy->number != envelope->number)
    return refused(header, Refusal::damaged, "the policy's number is not its envelope's");
  if (envelope->keys > 0)
    return refused(header, Refusal::unenforceable, "this version takes no new policy keys");
  if (policy->mode == Mode::enforce)
    if (std::vector<std::string> parts = unenforceable(*policy); !parts.empty())
      return refused(header, Refusal::unenforceable, parts.front());
  return answer_of(header, flatten(*policy, resolvers), bytes_of(envelope->policy));
}

namespace {

void put_exception(const ExceptionTerms& terms, ExceptionReading& out) {
  out.person = terms.what.person;
  out.bytes = terms.what.bytes;
  out.until_wall_s = terms.until_wall_s;
  put_text(out.request, terms.request_id);
  put_text(out.domain, terms.what.domain);
  out.proven = !terms.what.domain.empty() && terms.name_proven ? 1 : 0;
  if (terms.what.domain.empty() && !terms.what.sets_aside.empty()) {
    out.address = terms.what.prefix.address.bytes;
    out.length = terms.what.prefix.length;
  }
  for (const std::string& rule : terms.what.sets_aside)
    if (out.rules < out.rule.size()) put_text(out.rule[out.rules++], rule);
}

void put_block(const BlockTerms& terms, BlockReading& out) {
  out.everybody = terms.person == kNoPerson ? 1 : 0;
  out.person = terms.person == kNoPerson ? 0 : terms.person;
  put_text(out.domain, terms.domain);
  if (!terms.domain.empty()) return;
  out.address = terms.prefix.address.bytes;
  out.length = terms.prefix.length;
}

}  // namespace

std::vector<std::uint8_t> read_command(Bytes body) {
  CommandReading reading;
  reading.magic = kCommandReadingMagic;
  if (auto command = command_from_bytes(body)) {
    reading.verb = command->verb;
    reading.lease_s = command->lease_s;
    reading.not_before_wall_s = command->not_before_wall_s;
    reading.expires_wall_s = command->expires_wall_s;
    reading.id = command->id;
    if (command->lease) reading.lease = *command->lease;
    if (command->exception) put_exception(*command->exception, reading.exception);
    if (command->join) {
      put_text(reading.join.group, command->join->group);
      reading.join.decided_wall_ms = command->join->decided_wall_ms;
      reading.join.least_number = command->join->least_number;
    }
    if (command->block) put_block(*command->block, reading.block);
    reading.tree = command->tree;
    put_text(reading.host_id, command->host_id);
    put_text(reading.asked, command->asked);
  } else {
    reading.refusal =
        static_cast<std::uint32_t>(command.error().kind == CommandFault::Kind::unknown_part
                                       ? wire::CommandRefusal::unknown_part
                                       : wire::CommandRefusal::damaged);
    put_text(reading.words, command.error().words);
  }
  return block_of(reading);
}

std::vector<std::uint8_t> read_trust_set(Bytes set) {
  TrustReading reading;
  reading.magic = kTrustReadingMagic;
  if (Result<TrustSetTerms> trust = trust_set_from_bytes(set)) {
    reading.number = trust->number;
    reading.threshold = trust->threshold;
    for (const TrustSetKey& key : trust->keys)
      reading.key[reading.keys++] = {key.id, key.key, key.expires_wall_s};
  } else {
    reading.damaged = 1;
    put_text(reading.words, trust.error().sentence);
  }
  return block_of(reading);
}

int run_reading(Reading what, std::uint32_t user) {
  std::vector<IpAddress> resolvers;
  if (what == Reading::policy) resolvers = host_resolvers();
  Bytes bytes = map_envelope();
  if (Result<SealReport> seal = seal_engine(user); !seal) {
    fmt::print(stderr, "weir-engine: {}\n", seal.error().sentence);
    return 1;
  }
  std::vector<std::uint8_t> answer;
  if (what == Reading::policy) answer = compile_envelope(bytes, resolvers);
  if (what == Reading::command) answer = read_command(bytes);
  if (what == Reading::trust) answer = read_trust_set(bytes);
  return write_all(fds::kRecord, answer) ? 0 : 1;
}

}  // namespace weir
