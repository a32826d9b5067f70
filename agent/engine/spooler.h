// The engine's way to the spool: one bounded queue and a thread behind it that owns the writer. The
// line never waits for a disk; what finds the queue full is counted. Threads: offer() and lost()
// the line's, the rest its own.
#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/spool/spool.h"

namespace weir {

class Spooler {
 public:
  struct Ends {
    int folder = -1;        // of the spool
    int acknowledged = -1;  // the uplink's word; -1: nothing is ever forgotten
    int news = -1;          // eventfd, bumped after each commit; -1: nobody waits for it
  };
  // Call it after the seal: the folder's files are foreign bytes too.
  Spooler(const Ends& ends, const SpoolLimits& limits, std::int64_t wall_ns);
  ~Spooler();  // what was offered is committed first, if the disk lets it
  Spooler(const Spooler&) = delete;
  Spooler& operator=(const Spooler&) = delete;

  // An alert is on the disk 20 ms later, the others within a second, on a disk that syncs in time.
  void offer(SpoolLane lane, std::string record);
  // Records that found no room in the queue, or that no spool takes: too large, or refused.
  std::array<std::uint64_t, kSpoolLanes> lost() const;
  SpoolCounters counters() const;  // as of the last commit

 private:
  struct Offered {
    SpoolLane lane;
    std::string bytes;
  };
  struct Due;

  void run();
  bool wait(std::int64_t until_ns, std::vector<Offered>& taken);
  void open();
  void put(std::vector<Offered>& taken, Due& due);
  void commit(SpoolLane until, Due& due);
  void forget();

  const Ends ends_;
  const SpoolLimits limits_;
  const std::int64_t wall_ns_;
  std::unique_ptr<SpoolWriter> writer_;  // the thread's

  // pthread's own, because std::condition_variable either follows the wall clock, which jumps, or
  // needs a newer glibc than 2.28.
  mutable pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t offered_;
  std::vector<Offered> queue_;
  std::size_t queued_ = 0;  // bytes
  bool urgent_ = false;     // an alert is in the queue
  bool stop_ = false;
  SpoolCounters counters_;
  std::array<std::atomic<std::uint64_t>, kSpoolLanes> lost_{};
  std::thread thread_;
};

}  // namespace weir
