// Core that may stay. A comment is no include:
// #include "agent/guard/messages.h"
#include <vector>
#include "core/base/result.h"
