// What the guard has kept on the disk: see keeping.h.
#include "agent/guard/keeping.h"

#include <sys/socket.h>

#include "agent/guard/sealed_memory.h"
#include "platform/files/passing.h"

namespace weir {
namespace {

// A file of some KiB, synced: milliseconds. A disk that hangs must not keep commands for ever.
constexpr std::uint64_t kAnswerNs = 10'000'000'000;

}  // namespace

bool KeepLine::ask(KeptFile what, Bytes content, std::uint64_t now_ns) {
  Result<SealedMemory> memory = SealedMemory::make("weir-keep", content);
  if (!memory || waits()) return false;
  KeepRequest request;
  request.magic = kKeepMagic;
  request.what = what;
  request.size = static_cast<std::uint32_t>(content.size());
  request.number = ++number_;
  if (!send_with(fd_, {reinterpret_cast<const std::uint8_t*>(&request), sizeof request},
                 memory->fd(), MSG_DONTWAIT | MSG_NOSIGNAL))
    return false;
  asked_ns_ = now_ns;
  return true;
}

std::optional<bool> KeepLine::hear(std::uint64_t now_ns) {
  KeepAnswer answer;
  while (::recv(fd_, &answer, sizeof answer, MSG_DONTWAIT) == sizeof answer) {
    if (!waits() || answer.number != number_) continue;
    asked_ns_ = 0;
    return answer.kept == 1;
  }
  if (!waits() || now_ns - asked_ns_ < kAnswerNs) return std::nullopt;
  asked_ns_ = 0;
  ++number_;  // should it come still
  return false;
}

}  // namespace weir
