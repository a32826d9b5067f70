// The right place.
#include <spdlog/spdlog.h>
