// The head of an HTTP answer of the console's door. Pure. Thread: any.
#pragma once

#include <string>
#include <string_view>

namespace weir {

// `lines`: those of this answer, each with its end.
std::string answer_head(unsigned status, std::string_view type, std::string_view lines);

}  // namespace weir
