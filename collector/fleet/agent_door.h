// The agents' door: mTLS (TLS 1.3), one bidirectional stream a host. Who a host is, its certificate
// says and nothing else. Nothing is acknowledged before the store has it on disk. Memory of a
// stream is bounded: a few batches that wait for the disk, the newest of each kind of answer; a
// host that sends faster than the disk takes is not read from and told to wait. Thread: any; it has
// threads of its own (gRPC's, and one that looks after the streams).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "collector/fleet/certificates.h"
#include "collector/fleet/host_commands.h"
#include "collector/fleet/hosts.h"
#include "collector/rollout/rollout.h"
#include "collector/store/record_store.h"
#include "core/base/result.h"
#include "platform/doorman/doorman.h"

namespace weir {

struct AgentDoorOptions {
  std::string address;                   // HOST:PORT; port 0: any free one
  std::string ca, certificate, key;      // PEM
  std::int64_t clone_proof_ms = 25'000;  // both must outlive keepalive (10 s + 10 s) to be two
  std::int64_t hello_within_ms = 10'000;
  std::int64_t store_retry_ms = 100;  // a batch that the store had no room for
  std::size_t max_streams = 20'000;   // open files of the process
  // Then the host connects anew (give or take a tenth): its certificate is looked at again.
  int connection_age_ms = 3'600'000;
  DoormanLimits doorman{};
  std::function<void(const std::string&)> say = [](const std::string&) {};  // for the log
};

struct AgentDoorCounters {
  std::uint64_t streams = 0, opened = 0, refused = 0, batches = 0, throttled = 0, clones = 0;
  DoormanCounters doorman{};
};

class AgentDoor {
 public:
  // What it works on outlives it.
  struct Parts {
    Hosts& hosts;
    RecordStore& records;
    Rollout& rollout;
    HostCommands& commands;
  };
  static Result<std::unique_ptr<AgentDoor>> start(const AgentDoorOptions& options, Parts parts);
  ~AgentDoor();  // as stop()

  std::uint16_t port() const;
  void push_policy(const std::string& group);  // to open streams of hosts that have another
  void push_commands(std::uint32_t number);    // to the host's open stream, if it has one
  void push_trust();                           // to all: keys that follow those that a host has
  void close_host(std::uint32_t number, const std::string& sentence);  // its streams, at once
  AgentDoorCounters counters() const;
  // Ends all streams and returns when none is left. What was handed to the store is still written.
  void stop();

 private:
  class Service;
  struct Link;
  explicit AgentDoor(std::unique_ptr<Service> service);
  std::unique_ptr<Service> service_;
};

}  // namespace weir
