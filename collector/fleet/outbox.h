// What one stream is to be told next. Of each kind only the newest is kept, so that a host that
// reads slowly costs no memory: acknowledgements of a lane merge, a policy replaces the one before.
// Thread: one at a time.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collector/store/record_store.h"

namespace weir {

// A serialized ConnectResponse: `bytes`, then `shared`, which all streams have in common. A policy
// of a megabyte that thousands don't read is there once.
struct Outgoing {
  std::string bytes;
  std::shared_ptr<const std::string> shared;
};

class Outbox {
 public:
  void welcome(std::int64_t now_ns, std::vector<Appended> stored);
  void acknowledge(const Appended& stored);
  void policy(std::shared_ptr<const std::string> signed_policy);
  // In this order, each once; the owner bounds how many.
  void trust(std::shared_ptr<const std::string> signed_trust);
  void command(const std::shared_ptr<const std::string>& command);  // once until it is sent
  void throttle(StoreLane lane, std::uint32_t wait_ms);

  // Welcome first, then acknowledgements, so that a host never waits for a policy to forget; keys
  // before the policy that they sign.
  std::optional<Outgoing> next();

 private:
  std::optional<std::int64_t> welcome_ns_;
  std::vector<Appended> welcome_stored_;
  std::map<std::pair<StoreLane, std::uint64_t>, std::uint64_t> stored_;  // at most 3 × kMaxEpochs
  std::shared_ptr<const std::string> policy_;
  std::deque<std::shared_ptr<const std::string>> trusts_, commands_;
  std::map<StoreLane, std::uint32_t> throttle_;
};

}  // namespace weir
