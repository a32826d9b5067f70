// A policy that was offered, on its way into force: see offers.h.
#include "agent/guard/offers.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <utility>

namespace weir {
namespace {

// A policy of 1 MiB compiles in well below a second; a loaded machine gets ten.
constexpr std::uint64_t kCompileNs = 10'000'000'000;
constexpr int kCompileMs = 10'000;

OfferRefused refused(wire::Refusal why, std::uint32_t number = 0, std::string words = "") {
  return {why, number, std::move(words)};
}

}  // namespace

std::int64_t wall_s() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec;
}

std::optional<OfferRefused> Offers::begin(const wire::OfferPolicy& offer, SealedMemory envelope,
                                          Spawner& spawner, std::uint64_t now_ns,
                                          bool was_taken_before) {
  if (offer.envelope_size > kMaxEnvelopeBytes) return refused(wire::Refusal::too_large);
  if (envelope.bytes().size() != offer.envelope_size) return refused(wire::Refusal::damaged);
  wire::Refusal why = check_signatures(
      envelope.bytes(), std::span(offer.signature).first(offer.signatures), trust_, wall_s());
  if (why == wire::Refusal::failed) return refused(why, 0, "libsodium");
  if (was_taken_before && (why == wire::Refusal::unknown_key || why == wire::Refusal::threshold))
    why = wire::Refusal::none;
  if (why != wire::Refusal::none) return refused(why);
  answer_ = new_memory("weir-compiled");
  const int fds[] = {envelope.fd(), answer_};
  if (answer_ < 0 || !spawner.spawn(Role::compile, fds)) {
    if (answer_ >= 0) ::close(std::exchange(answer_, -1));
    return refused(wire::Refusal::failed, 0, "its compiler could not be started");
  }
  offer_ = offer;
  envelope_ = std::move(envelope);
  began_ns_ = now_ns;
  return std::nullopt;
}

bool Offers::is_late(std::uint64_t now_ns) const {
  return busy() && now_ns - began_ns_ > kCompileNs;
}

OfferOutcome Offers::ended(int status, const std::optional<GroupPolicy>& in_force) {
  int fd = std::exchange(answer_, -1);
  SealedMemory envelope = std::move(envelope_);
  envelope_ = {};
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    ::close(fd);
    return tl::unexpected(refused(wire::Refusal::failed, 0, "its compiler did not end well"));
  }
  Result<SealedMemory> memory = SealedMemory::take(fd, kMaxCompiledAnswer);
  if (!memory) return tl::unexpected(refused(wire::Refusal::failed, 0, memory.error().sentence));
  AcceptedPolicy accepted;
  accepted.compiled = std::move(*memory);
  Result<CompiledEnvelope> view = read_compiled(accepted.compiled.bytes());
  if (!view) return tl::unexpected(refused(wire::Refusal::failed, 0, view.error().sentence));
  accepted.view = *view;
  const CompiledHeader& header = *accepted.view.header;
  const wire::Refusal why = in_force ? check_terms(accepted.view, trust_, *in_force, wall_s())
                                     : check_kept_terms(accepted.view, trust_);
  if (why == wire::Refusal::below_least)
    return tl::unexpected(refused(why, header.number, std::to_string(trust_.least_number())));
  if (why != wire::Refusal::none)
    return tl::unexpected(refused(why, header.number, header.words.data()));
  Result<SealedMemory> policy = SealedMemory::make("weir-policy", accepted.view.policy);
  if (!policy)
    return tl::unexpected(refused(wire::Refusal::failed, header.number, policy.error().sentence));
  accepted.policy = std::move(*policy);
  accepted.envelope = std::move(envelope);
  accepted.offer = offer_;
  return accepted;
}

OfferOutcome take_kept(Offers& offers, const KeptView& kept, Spawner& spawner) {
  Result<SealedMemory> envelope = SealedMemory::make("weir-envelope", kept.envelope);
  if (!envelope)
    return tl::unexpected(refused(wire::Refusal::failed, 0, envelope.error().sentence));
  if (auto why = offers.begin(kept.head.offer, std::move(*envelope), spawner, 0,
                              kept.was_taken_before(offers.trust())))
    return tl::unexpected(*why);
  pollfd end{spawner.fd(), POLLIN, 0};
  if (::poll(&end, 1, kCompileMs) <= 0) spawner.kill(Role::compile);
  ::poll(&end, 1, kCompileMs);
  std::optional<Spawner::Ended> ended = spawner.ended();
  return offers.ended(ended ? ended->status : -1, std::nullopt);
}

}  // namespace weir
