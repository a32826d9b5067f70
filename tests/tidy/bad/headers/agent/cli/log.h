// A header that everyone pays for.
#include <spdlog/spdlog.h>
#include <string>
