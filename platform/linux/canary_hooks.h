// Of the canary (canary.h): tries that send nothing, of hooks that have their say before a packet.
// In a network namespace of the caller's own. Thread: any.
#pragma once

#include <cstdint>
#include <string>

#include "platform/linux/canary.h"

namespace weir {

struct TriedHooks {
  using State = TriedControl::State;
  State connect4 = State::untried, connect6 = State::untried, sendmsg4 = State::untried,
        sendmsg6 = State::untried, setsockopt = State::untried, wake = State::untried,
        family = State::untried;
};

// `sockets`: the table of that name; `tree`: whose this process is. Untried is what is not pinned.
TriedHooks try_hooks(const std::string& pin_dir, int sockets, std::uint64_t tree);

}  // namespace weir
