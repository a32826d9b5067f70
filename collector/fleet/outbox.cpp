// Merges what waits into as few messages as there can be.
#include "collector/fleet/outbox.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <utility>

#include "collector/fleet/batch_reader.h"
#include "weir/v1/agent.pb.h"

#ifndef WEIR_VERSION
#define WEIR_VERSION "0"
#endif

namespace weir {
namespace {

using WireFormat = google::protobuf::internal::WireFormatLite;

void add_position(v1::LanePosition& position, const Appended& stored) {
  position.set_lane(static_cast<v1::Lane::Value>(stored.lane));
  position.set_epoch(stored.epoch);
  position.set_sequence(stored.sequence);
}

// The message's one field is a message that is serialized already.
Outgoing shared(int field, std::shared_ptr<const std::string> bytes) {
  std::string head;
  google::protobuf::io::StringOutputStream out(&head);
  google::protobuf::io::CodedOutputStream coded(&out);
  coded.WriteTag(WireFormat::MakeTag(field, WireFormat::WIRETYPE_LENGTH_DELIMITED));
  coded.WriteVarint32(static_cast<std::uint32_t>(bytes->size()));
  coded.Trim();
  return {std::move(head), std::move(bytes)};
}

Outgoing first_of(std::deque<std::shared_ptr<const std::string>>& queue, int field) {
  Outgoing first = shared(field, std::move(queue.front()));
  queue.pop_front();
  return first;
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

void Outbox::command(const std::shared_ptr<const std::string>& command) {
  // A host that reads nothing is asked again and again, but not in memory.
  if (std::find(commands_.begin(), commands_.end(), command) == commands_.end())
    commands_.push_back(command);
}

void Outbox::throttle(StoreLane lane, std::uint32_t wait_ms) {
  throttle_[lane] = wait_ms;
}

std::optional<Outgoing> Outbox::next() {
  v1::ConnectResponse message;
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
    return Outgoing{message.SerializeAsString(), nullptr};
  }
  if (!stored_.empty()) {
    for (const auto& [key, sequence] : stored_)
      add_position(*message.mutable_acknowledgement()->add_stored(),
                   {.lane = key.first, .epoch = key.second, .sequence = sequence});
    stored_.clear();
    return Outgoing{message.SerializeAsString(), nullptr};
  }
  if (!trusts_.empty()) return first_of(trusts_, v1::ConnectResponse::kTrustFieldNumber);
  if (policy_)
    return shared(v1::ConnectResponse::kPolicyFieldNumber, std::exchange(policy_, nullptr));
  if (!commands_.empty()) return first_of(commands_, v1::ConnectResponse::kCommandFieldNumber);
  if (!throttle_.empty()) {
    auto [lane, wait_ms] = *throttle_.begin();
    message.mutable_throttle()->set_lane(static_cast<v1::Lane::Value>(lane));
    message.mutable_throttle()->set_wait_ms(wait_ms);
    throttle_.erase(throttle_.begin());
    return Outgoing{message.SerializeAsString(), nullptr};
  }
  return std::nullopt;
}

}  // namespace weir
