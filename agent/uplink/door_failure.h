// Why the collector's console door gave no certificate, to a new host or to a known one.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.h"

namespace weir {

struct DoorFailure {
  enum class Kind : std::uint8_t { refused, unreachable, local };
  Kind kind = Kind::local;
  std::string sentence;
};
template <class T>
using DoorResult = tl::expected<T, DoorFailure>;

}  // namespace weir
