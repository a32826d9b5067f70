// How many calls of one method run at once: each may hold a page of answers while it does. The
// others wait, first come, first served. Pure. Thread: one.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>

namespace weir {

class Turns {
 public:
  static constexpr std::size_t kAtOnce = 32;

  // Runs it now, or when as many as have to have ended.
  void begin(const std::string& method, std::function<void()> run) {
    Row& row = rows_[method];
    if (row.running >= kAtOnce) return row.waiting.push_back(std::move(run));
    ++row.running;
    run();
  }
  void end(const std::string& method) {
    Row& row = rows_[method];
    --row.running;
    if (row.waiting.empty()) return;
    ++row.running;
    const std::function<void()> next = std::move(row.waiting.front());
    row.waiting.pop_front();
    next();
  }
  // Those that wait are never run.
  void forget() {
    for (auto& [method, row] : std::exchange(rows_, {})) row.waiting.clear();
  }

 private:
  struct Row {
    std::size_t running = 0;
    std::deque<std::function<void()>> waiting;  // at most one a connection
  };
  std::map<std::string, Row> rows_;  // by method; the door knows them all
};

}  // namespace weir
