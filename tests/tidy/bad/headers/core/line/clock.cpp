// A line that reads the time.
#include <chrono>
#include <unistd.h>
#include <cstdint>
