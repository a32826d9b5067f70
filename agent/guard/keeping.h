// What the guard has kept on the disk by `weir run`, over the socketpair kKeep: the last good
// policy (compiled.h), the commands that were done, the keys that count. A small file is written
// before it counts: the answer says so. Thread: the guard's; the other end is `weir run`'s.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "agent/guard/descriptors.h"
#include "agent/guard/done_commands.h"
#include "agent/guard/exceptions.h"
#include "agent/guard/trust.h"
#include "core/base/bytes.h"

namespace weir {

enum class KeptFile : std::uint32_t { done_commands = 1, trust = 2, exceptions = 3, accounts = 4 };
inline constexpr std::array<const char*, 4> kKeptFileNames{"", "commands", "trust", "exceptions"};
inline constexpr const char* kAccountsFileName = "accounts";  // over a line of its own
inline constexpr std::size_t kMaxKeptFile =
    sizeof(DoneCommands) + kMaxTrustBytes + sizeof(ExceptionTable);

struct KeepRequest {  // and its content, as sealed memory
  std::uint32_t magic = 0;
  KeptFile what = KeptFile::trust;
  std::uint32_t size = 0;
  std::uint32_t pad = 0;
  std::uint64_t number = 0;  // comes back with the answer
};
inline constexpr std::uint32_t kKeepMagic = 0x50454b57;  // "WKEP", where a KeptPolicy has its own

struct KeepAnswer {
  std::uint64_t number = 0;
  std::uint32_t kept = 0;  // 1: it is on the disk
  std::uint32_t pad = 0;
};

class KeepLine {
 public:
  // A guard that is gone may have left questions: their answers are not ours.
  explicit KeepLine(std::uint64_t now_ns, int fd = fds::kKeep) : number_(now_ns), fd_(fd) {}

  bool ask(KeptFile what, Bytes content, std::uint64_t now_ns);
  bool waits() const { return asked_ns_ != 0; }
  // Whether it is kept; nothing: no answer yet. One that is late is a no.
  std::optional<bool> hear(std::uint64_t now_ns);

 private:
  std::uint64_t number_;
  int fd_;
  std::uint64_t asked_ns_ = 0;  // 0: nothing was asked
};

}  // namespace weir
