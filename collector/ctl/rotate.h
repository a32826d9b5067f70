// The verb `weirctl policy rotate-key`.
#pragma once

#include "collector/ctl/session.h"

namespace weir {

int rotate_key(CtlSession& session, const CtlOptions& options);  // the exit status

}  // namespace weir
