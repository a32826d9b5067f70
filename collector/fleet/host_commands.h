// Commands on their way to hosts: taken from who may sign, kept until the host has answered or they
// expire, handed to its stream whenever it has one. The collector holds no key to sign with: it can
// delay a command, not make one. Thread: any.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "collector/base/refusal.h"
#include "collector/store/fleet_store.h"

namespace weir {

namespace v1 {
class Command;
class CommandResult;
}  // namespace v1

struct HostToCommand {
  std::uint32_t number = 0;
  std::string id;
};

class HostCommands {
 public:
  HostCommands(FleetStore& store, std::int64_t now_s);

  static constexpr std::size_t kMaxOpen = 32;  // of one host: an administrator sends a few a day

  // Checked as the host will. The same command again is found, not sent again. `decided`: what the
  // request that it answers becomes with it.
  Reply<CommandRow> send(const HostToCommand& host, const v1::Command& command,
                         const std::string& by, std::int64_t now_s,
                         const RequestRow* decided = nullptr);
  // With what there is by now; one that expired unanswered has that as its result.
  std::optional<CommandRow> find(const std::string& id, std::int64_t now_s) const;
  std::vector<CommandRow> of_host(std::uint32_t host, std::int64_t now_s) const;  // newest first

  // What a host has not answered yet; the collector asks until it does.
  struct Open {
    std::string id;
    std::shared_ptr<const std::string> command;  // serialized Command
    std::int64_t expires_s = 0;
    std::string joins{};  // the group, of a command that moves the host
  };
  // Hosts whose newest order to join a group is of this one, and is not answered yet.
  std::vector<std::uint32_t> joining(const std::string& group, std::int64_t now_s) const;
  bool any_open() const;  // of any host: most of the time there is none
  std::vector<Open> open_of(std::uint32_t host, std::int64_t now_s);
  // Of this host, to one of its open commands; anything else is dropped.
  void answered(std::uint32_t host, const v1::CommandResult& result, std::int64_t now_s);

  // After a command was taken, and after an answer; outside the lock. Set before threads start.
  std::function<void(std::uint32_t host)> sent = [](std::uint32_t) {};
  std::function<void()> changed = [] {};

 private:
  FleetStore& store_;
  mutable std::mutex mutex_;
  std::map<std::uint32_t, std::vector<Open>> open_;  // by host
};

// What one stream was asked, and when: a command without an answer is asked again. Thread: one.
class AskedOnStream {
 public:
  static constexpr std::int64_t kAskAgainMs = 30'000;
  // Of those that are open, the ones whose turn it is.
  std::vector<HostCommands::Open> due(const std::vector<HostCommands::Open>& open,
                                      std::int64_t now_ms);

 private:
  std::map<std::string, std::int64_t> sent_;  // id, when; those that are open
};

}  // namespace weir
