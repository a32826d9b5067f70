// A set of policy keys on its way to count: see rotation.h.
#include "agent/guard/rotation.h"

#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "agent/guard/offers.h"

namespace weir {
namespace {

using wire::TrustRefusal;

constexpr std::uint64_t kReadNs = 10'000'000'000;  // as a policy's compiler

}  // namespace

std::optional<TrustRefused> Rotation::begin(const wire::OfferTrust& offer, SealedMemory set,
                                            const PolicyTrust& trust, Spawner& spawner,
                                            std::uint64_t now_ns) {
  if (set.bytes().size() != offer.set_size || set.bytes().size() > kMaxTrustSetBytes)
    return TrustRefused{TrustRefusal::damaged, "it has another size"};
  const auto why = refusal_of<TrustRefusal>(
      count_signatures(kTrustPurpose, set.bytes(),
                       std::span(offer.signature).first(offer.signatures), trust, wall_s()),
      trust);
  if (why != TrustRefusal::none) return TrustRefused{why, ""};
  answer_ = new_memory("weir-trust");
  const int fds[] = {set.fd(), answer_};
  if (answer_ < 0 || !spawner.spawn(Role::read_trust, fds)) {
    if (answer_ >= 0) ::close(std::exchange(answer_, -1));
    return TrustRefused{TrustRefusal::failed, "their reader could not be started"};
  }
  offer_ = offer;
  set_ = std::move(set);
  began_ns_ = now_ns;
  return std::nullopt;
}

bool Rotation::is_late(std::uint64_t now_ns) const {
  return reads() && now_ns - began_ns_ > kReadNs;
}

std::optional<TrustRefused> Rotation::read(int status, const PolicyTrust& trust, std::int64_t wall,
                                           std::uint64_t now_ns) {
  const int fd = std::exchange(answer_, -1);
  SealedMemory set = std::move(set_);
  set_ = {};
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    ::close(fd);
    return TrustRefused{TrustRefusal::failed, "their reader did not end well"};
  }
  Result<SealedMemory> memory = SealedMemory::take(fd, sizeof(TrustReading));
  if (!memory) return TrustRefused{TrustRefusal::failed, memory.error().sentence};
  Result<TrustReading> reading = read_trust_reading(memory->bytes());
  if (!reading) return TrustRefused{TrustRefusal::failed, reading.error().sentence};
  auto next = next_trust(trust, *reading, set.bytes(),
                         std::span(offer_.signature).first(offer_.signatures), wall);
  if (!next) return TrustRefused{next.error(), reading->words.data()};
  Result<std::string> text = write_trust(*next);
  if (!text || !line_.ask(KeptFile::trust, bytes_of(*text), now_ns))
    return TrustRefused{TrustRefusal::failed, "they could not be handed over to be kept"};
  next_ = std::move(*next);
  return std::nullopt;
}

std::optional<RotationOutcome> Rotation::kept(std::uint64_t now_ns) {
  std::optional<bool> kept = line_.hear(now_ns);
  if (!kept) return std::nullopt;
  if (!*kept)
    return RotationOutcome(
        tl::unexpected(TrustRefused{TrustRefusal::failed, "they could not be kept on the disk"}));
  return RotationOutcome(std::move(next_));
}

}  // namespace weir
