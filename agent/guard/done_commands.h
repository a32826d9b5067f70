// Commands that were carried out, or refused by their verb: an id is done once until it expires,
// also after a restart. The file STATE/commands is this table as it stands here; `weir run` writes
// it before the guard does what was asked. Pure; native byte order (it never leaves its host).
#pragma once

#include <array>
#include <cstdint>

#include "agent/guard/uplink_messages.h"
#include "core/base/bytes.h"

namespace weir {

struct DoneCommand {
  wire::CommandId id{};
  std::int64_t expires_wall_s = 0;
  std::uint32_t verb = 0, outcome = 0, reason = 0, pad = 0;
};

// An administrator sends a few a day; a script that goes wild is told so.
inline constexpr std::size_t kMaxDoneCommands = 256;

struct DoneCommands {
  std::uint32_t magic = 0, count = 0;
  std::array<DoneCommand, kMaxDoneCommands> command{};

  static DoneCommands none();
  // The file's; one that is not whole is taken for none (`damaged` says so): ids that were in it
  // can then be done once more.
  static DoneCommands read(Bytes file, bool& damaged);
  Bytes bytes() const;

  const DoneCommand* find(const wire::CommandId& id) const;
  // False: all of them have to be remembered still. The one that expired longest ago gives way;
  // none is forgotten before there is need, because clocks are set back.
  bool add(const DoneCommand& done, std::int64_t wall_s);
  void remove(const wire::CommandId& id);
};
inline constexpr std::uint32_t kDoneCommandsMagic = 0x4e444357;

}  // namespace weir
