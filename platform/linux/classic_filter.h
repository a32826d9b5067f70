// A program at a device of a kernel before 6.6: a filter of the clsact queueing discipline. Unlike
// a link it stays when who put it there is gone, so that it must be taken away.
#pragma once

#include <cstdint>

#include "core/base/result.h"

namespace weir {

// Puts the program (a descriptor) at what leaves by the device, or in the place of ours that is
// there already, without a gap.
Result<void> put_classic_filter(std::uint32_t device, int program);

// The id of the program that stands at our place of the device; 0: none.
std::uint32_t classic_filter_at(std::uint32_t device);

// Takes ours away, and the discipline with it where no other filter is left. Nothing to do where
// there is none.
void remove_classic_filter(std::uint32_t device);

// Of every device of this network namespace.
void remove_classic_filters();

}  // namespace weir
