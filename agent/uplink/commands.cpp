// Commands on their way through the uplink: see commands.h.
#include "agent/uplink/commands.h"

#include <algorithm>

#include "agent/uplink/guard_line.h"
#include "core/base/command_id.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

constexpr std::size_t kMost = 16;  // of each queue
constexpr std::size_t kMaxId = 64;

}  // namespace

UplinkCommands::UplinkCommands() = default;
UplinkCommands::~UplinkCommands() = default;

void UplinkCommands::take(const v1::Command& command) {
  auto is_it = [&](const auto& other) { return other.id() == command.id(); };
  if (std::ranges::any_of(offers_, is_it) || std::ranges::any_of(answers_, is_it) ||
      std::ranges::find(renewing_, command.id()) != renewing_.end())
    return;
  ++taken_;
  CommandIdBytes id{};
  // The guard would not take it; it is not kept waiting for its turn.
  if (!command_id_of(command.id(), id) || command.body().size() > kMaxCommandBytes)
    return not_offered(command.id(), "its id is not 32 hexadecimal digits, or it is too large");
  offers_.push_back(command);
}

bool UplinkCommands::is_full() const {
  return offers_.size() >= kMost || answers_.size() >= kMost || renewing_.size() >= kMost;
}

bool UplinkCommands::has_offer() const {
  return !offers_.empty();
}
v1::Command UplinkCommands::take_offer() {
  v1::Command command = std::move(offers_.front());
  offers_.pop_front();
  return command;
}

v1::CommandResult& UplinkCommands::answer(const std::string& id, bool done) {
  v1::CommandResult& result = answers_.emplace_back();
  result.set_id(id.substr(0, kMaxId));
  result.set_outcome(done ? v1::CommandResult::done : v1::CommandResult::refused);
  return result;
}

void UplinkCommands::not_offered(const std::string& id, const std::string& sentence) {
  v1::Reason& why = *answer(id, false).add_why();
  why.set_code("command_damaged");
  why.add_args(sentence);
}

UplinkCommands::Now UplinkCommands::heard(const wire::CommandOutcomeMessage& outcome) {
  v1::CommandResult result;
  to_proto(outcome, result);
  const bool now = outcome.again == 0 && result.outcome() == v1::CommandResult::done;
  if (now && outcome.verb == v1::CommandBody::renew_certificate) {
    renewing_.push_back(result.id());
    return Now::renew;
  }
  answers_.push_back(std::move(result));
  return now && outcome.verb == v1::CommandBody::send_health ? Now::health : Now::nothing;
}

void UplinkCommands::renewed(const std::string& refusal) {
  for (const std::string& id : renewing_) {
    v1::CommandResult& result = answer(id, refusal.empty());
    if (refusal.empty()) continue;
    v1::Reason& why = *result.add_why();
    why.set_code("certificate_not_renewed");
    why.add_args(refusal);
  }
  renewing_.clear();
}

bool UplinkCommands::has_answer() const {
  return !answers_.empty();
}
v1::CommandResult UplinkCommands::take_answer() {
  v1::CommandResult result = std::move(answers_.front());
  answers_.pop_front();
  return result;
}

}  // namespace weir
