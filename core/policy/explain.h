// The one renderer: a reason {code, arguments} as a sentence, for notice, terminal and console.
#pragma once

#include <string>
#include <string_view>

#include "core/event/report.h"

namespace weir {

struct Policy;

enum class Language : std::uint8_t { english, chinese };

// Arguments may come from the wire: what doesn't print is shown as "?", and long ones are cut.
std::string explain(const Reason& reason,
                    Language language);  // an unknown code is shown as code(args)
// What happened, why, what was done, what next: two to four lines.
std::string explain(const Report& report, Language language);
std::string explain(const Policy& policy,
                    Language language);        // what each rule does, a line or two each
std::string human_bytes(std::uint64_t bytes);  // "256 KiB", "1.5 MiB", "17 bytes"
std::string human_bytes(std::uint64_t bytes, Language language);
std::string human_seconds(std::uint64_t seconds, Language language);  // "24 hours", "45 seconds"

}  // namespace weir
