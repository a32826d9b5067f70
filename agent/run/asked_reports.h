// The reports of a person, as the children without rights read them. See asked.h.
#pragma once

#include <map>
#include <span>
#include <string>

#include "agent/run/asked.h"

namespace weir::v1 {
class Report;
}

namespace weir {

// The last revision of each, by id. `wanted`: one id alone, "" for all of the last days.
std::map<std::string, v1::Report> reports_of(const AskFacts& facts, std::span<const int> files,
                                             const std::string& wanted);

// What waits for an answer of theirs.
AskAnswer what_waits(const AskFacts& facts, std::span<const int> files);

}  // namespace weir
