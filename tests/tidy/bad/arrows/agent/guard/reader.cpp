// A guard that parses the wire.
#include "weir/v1/policy.pb.h"
