// A guard that parses the wire.
#include "weir/v1/policy.pb.h"
#include "core/net/domain.h"
#include "core/net/zone.h"
