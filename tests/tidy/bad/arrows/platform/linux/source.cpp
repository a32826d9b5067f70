// A platform that knows a program.
#  include "agent/engine/engine.h"
#include "sys/socket.h"
