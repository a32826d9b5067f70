// One thread that looks whether what somebody waits for has happened: at once when poked, else four
// times a second. Thread: any.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace weir {

class Pulse {
 public:
  Pulse();
  ~Pulse();  // as stop()
  // Before the first poke that matters. `ending`: the last call; answer everybody.
  void add(std::function<void(bool ending)> look);
  void poke();
  void stop();

 private:
  void run();
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::function<void(bool)>> looks_;
  bool poked_ = false, ending_ = false;
  std::thread thread_;
};

}  // namespace weir
