// Whether a person sits before this program.
#pragma once

namespace weir {

bool at_terminal();  // standard input and standard output both are one

}  // namespace weir
