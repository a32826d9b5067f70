// The uplink's end of its line to the guard: see guard_line.h.
#include "agent/uplink/guard_line.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "platform/files/passing.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

// A descriptor of memory that nobody can change any more; -1: errno says why.
int sealed_memory(const std::string& bytes) {
  int fd = ::memfd_create("weir-envelope", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return -1;
  for (std::size_t at = 0; at < bytes.size();) {
    ssize_t written = ::write(fd, bytes.data() + at, bytes.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      ::close(fd);
      return -1;
    }
    at += static_cast<std::size_t>(written);
  }
  if (::fcntl(fd, F_ADD_SEALS, kSeals) == 0) return fd;
  ::close(fd);
  return -1;
}

}  // namespace

bool UplinkGuardLine::beat(std::uint64_t boot_ns) {
  wire::UplinkBeat beat;
  beat.boot_ns = boot_ns;
  return send_with(fd_, wire::seal(beat, sequence_), -1, MSG_NOSIGNAL);
}

Result<void> UplinkGuardLine::offer(const v1::SignedPolicy& policy) {
  if (policy.envelope().empty() || policy.envelope().size() > kMaxEnvelopeBytes)
    return fail(fmt::format("a policy of {} bytes: not taken", policy.envelope().size()));
  if (policy.signatures_size() > static_cast<int>(kMaxPolicySignatures))
    return fail(fmt::format("a policy with {} signatures: not taken", policy.signatures_size()));
  wire::OfferPolicy offer;
  offer.envelope_size = policy.envelope().size();
  for (const v1::PolicySignature& signature : policy.signatures()) {
    wire::OfferedSignature& out = offer.signature[offer.signatures];
    if (signature.key_id().size() != out.key.size() ||
        signature.signature().size() != out.signature.size())
      continue;  // no Ed25519: it can't count
    std::copy(signature.key_id().begin(), signature.key_id().end(), out.key.begin());
    std::copy(signature.signature().begin(), signature.signature().end(), out.signature.begin());
    ++offer.signatures;
  }
  int memory = sealed_memory(policy.envelope());
  if (memory < 0) return fail(fmt::format("no memory for a policy: {}", std::strerror(errno)));
  bool sent = send_with(fd_, wire::seal(offer, sequence_), memory, MSG_NOSIGNAL);
  ::close(memory);
  if (!sent) return fail("the guard does not take a policy");
  return {};
}

UplinkGuardLine::Heard UplinkGuardLine::hear() {
  Heard heard;
  std::uint8_t buffer[wire::kUplinkReceiveBuffer];
  ssize_t got = 0;
  do {
    got = ::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return heard;
  heard.stop = true;
  if (got <= 0) return heard;
  auto message = wire::parse_to_uplink({buffer, static_cast<std::size_t>(got)});
  if (!message) return heard;
  if (const auto* state = std::get_if<wire::PolicyStateMessage>(&*message)) {
    heard.stop = state->header.sequence != heard_++;
    heard.state = *state;
  }
  return heard;
}

void to_proto(const wire::PolicyStateMessage& state, v1::PolicyState& out) {
  out.set_number(state.number);
  if (std::any_of(state.digest.begin(), state.digest.end(), [](auto byte) { return byte != 0; }))
    out.set_digest(state.digest.data(), state.digest.size());
  out.set_state(static_cast<v1::PolicyState::State>(state.state));
  out.mutable_since()->set_seconds(state.since_wall_s);
  out.set_refused_number(state.refused_number);
  auto reason = static_cast<wire::Refusal>(state.reason);
  if (reason == wire::Refusal::none) return;
  v1::Reason& why = *out.add_why();
  why.set_code(std::string(wire::code_of(reason)));
  std::string words(state.words.data(), ::strnlen(state.words.data(), state.words.size()));
  if (!words.empty()) why.add_args(words);
}

}  // namespace weir
