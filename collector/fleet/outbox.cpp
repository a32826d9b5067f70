// Merges what waits into as few messages as there can be.
#include "collector/fleet/outbox.h"

#include <algorithm>

#include "collector/fleet/batch_reader.h"
#include "weir/v1/agent.pb.h"

#ifndef WEIR_VERSION
#define WEIR_VERSION "0"
#endif

namespace weir {
namespace {

void add_position(v1::LanePosition& position, const Appended& stored) {
  position.set_lane(static_cast<v1::Lane::Value>(stored.lane));
  position.set_epoch(stored.epoch);
  position.set_sequence(stored.sequence);
}

}  // namespace

void Outbox::welcome(std::int64_t now_ns, std::vector<Appended> stored) {
  welcome_ns_ = now_ns;
  welcome_stored_ = std::move(stored);
}

void Outbox::acknowledge(const Appended& stored) {
  std::uint64_t& sequence = stored_[{stored.lane, stored.epoch}];
  sequence = std::max(sequence, stored.sequence);
  // A host that makes epochs and reads nothing: it sends again what it did not hear of.
  if (stored_.size() > 3 * kMaxEpochs) stored_.erase(stored_.begin());
}

void Outbox::policy(std::shared_ptr<const std::string> signed_policy) {
  policy_ = std::move(signed_policy);
}

void Outbox::trust(std::shared_ptr<const std::string> signed_trust) {
  trusts_.push_back(std::move(signed_trust));
}

void Outbox::command(std::shared_ptr<const std::string> command) {
  commands_.push_back(std::move(command));
}

void Outbox::throttle(StoreLane lane, std::uint32_t wait_ms) {
  throttle_[lane] = wait_ms;
}

bool Outbox::next(v1::ConnectResponse& message) {
  message.Clear();
  if (welcome_ns_) {
    v1::Welcome& welcome = *message.mutable_welcome();
    welcome.set_collector_version(WEIR_VERSION);
    welcome.mutable_collector_time()->set_seconds(*welcome_ns_ / 1'000'000'000);
    welcome.mutable_collector_time()->set_nanos(static_cast<int>(*welcome_ns_ % 1'000'000'000));
    for (const Appended& stored : welcome_stored_) add_position(*welcome.add_stored(), stored);
    welcome.set_max_batch_records(kMaxBatchRecords);
    welcome.set_max_batch_bytes(kMaxBatchBytes);
    welcome_ns_.reset();
    welcome_stored_.clear();
    return true;
  }
  if (!stored_.empty()) {
    for (const auto& [key, sequence] : stored_)
      add_position(*message.mutable_acknowledgement()->add_stored(),
                   {.lane = key.first, .epoch = key.second, .sequence = sequence});
    stored_.clear();
    return true;
  }
  if (!trusts_.empty()) {
    (void)message.mutable_trust()->ParseFromString(*trusts_.front());
    trusts_.pop_front();
    return true;
  }
  if (policy_) {
    (void)message.mutable_policy()->ParseFromString(*policy_);
    policy_.reset();
    return true;
  }
  if (!commands_.empty()) {
    (void)message.mutable_command()->ParseFromString(*commands_.front());
    commands_.pop_front();
    return true;
  }
  if (!throttle_.empty()) {
    auto [lane, wait_ms] = *throttle_.begin();
    message.mutable_throttle()->set_lane(static_cast<v1::Lane::Value>(lane));
    message.mutable_throttle()->set_wait_ms(wait_ms);
    throttle_.erase(throttle_.begin());
    return true;
  }
  return false;
}

}  // namespace weir
