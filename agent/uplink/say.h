// Sentences of the uplink for the log. Thread: any.
#pragma once

#include <string>
#include <string_view>

namespace weir {

// What came over the network as it may stand in a log: one line of ASCII, at most 256 characters.
std::string for_the_log(std::string_view text);
void say(std::string_view sentence);  // on standard error, with the program's name

}  // namespace weir
