// A collector that reaches into an agent.
#include "agent/wire/report_proto.h"
#include "proto/map/policy_proto.h"
