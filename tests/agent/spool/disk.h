// What stands between the spool and the disk in these tests: the linker hands the library's calls
// to this first (--wrap). It can refuse them, and it remembers what a power cut would leave.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace weir::spool_test {

enum class Call { open, write, sync, truncate, rename, remove, reserve };

// Errno that a call is to fail with, or 0. Called before the call is made.
using Refusal = std::function<int(Call)>;
void refuse_calls(Refusal refusal);  // nullptr: none

// A disk with a write cache. A write lasts once its file is synced, an entry of the folder once the
// folder is; of the rest a power cut leaves anything: whole blocks, in any order.
class WriteCache {
 public:
  explicit WriteCache(int folder);  // an empty one; one at a time
  ~WriteCache();
  void ignore_syncs();
  // What is found after a cut now, made in `into`.
  void cut(const std::filesystem::path& into, std::mt19937& random) const;
  struct Memory;

 private:
  std::unique_ptr<Memory> memory_;
};

}  // namespace weir::spool_test
