// Names of the kinds of damage, as the Summary prints them.
#include "core/net/damage.h"

namespace weir {

std::string_view name_of(Damage damage) {
  switch (damage) {
    case Damage::truncated:
      return "truncated";
    case Damage::bad_length:
      return "bad_length";
    case Damage::bad_version:
      return "bad_version";
    case Damage::bad_header:
      return "bad_header";
    case Damage::bad_name:
      return "bad_name";
    case Damage::too_deep:
      return "too_deep";
    case Damage::unsupported:
      return "unsupported";
    case Damage::count_:
      break;
  }
  return "unknown";
}

}  // namespace weir
