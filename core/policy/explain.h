// The one renderer: a reason {code, arguments} as a sentence, for notice, terminal and console.
#pragma once

#include <string>
#include <string_view>

#include "core/event/report.h"

namespace weir {

enum class Language : std::uint8_t { english, chinese };

std::string explain(const Reason& reason, Language language);  // an unknown code is shown as code(args)
std::string explain(const Report& report, Language language);  // what happened, why, what next
std::string human_bytes(std::uint64_t bytes);                  // "256 KiB", "1.5 MiB", "17 bytes"

}  // namespace weir
