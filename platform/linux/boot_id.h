// Which boot of the machine this is. Thread: any.
#pragma once

#include <array>
#include <cstdint>

namespace weir {

// Drawn anew by the kernel with each boot. All zero: it can't be read.
using BootId = std::array<std::uint8_t, 16>;

BootId boot_id();

}  // namespace weir
