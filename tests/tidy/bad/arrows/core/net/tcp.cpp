// Core that knows an OS.
#include "core/base/bytes.h"
#include "platform/linux/kernel_part.h"
#include "core/policy/surface/surface.h"
