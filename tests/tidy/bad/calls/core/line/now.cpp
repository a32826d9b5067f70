// A line that reads clock and environment.
auto t = std::chrono::steady_clock::now();
auto u = time(nullptr);
auto home = getenv("HOME");
event.time(3);
