// Commands on their way to hosts.
#include "collector/fleet/host_commands.h"

#include <fmt/format.h>

#include <algorithm>

#include "collector/fleet/signers.h"
#include "core/policy/signature.h"
#include "proto/map/command_proto.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

using Kind = Refusal::Kind;

constexpr std::size_t kMaxResult = 4 << 10;

CommandRow& with_end(CommandRow& row, std::int64_t now_s) {
  if (!row.result.empty() || row.expires_s > now_s) return row;
  v1::CommandResult expired;
  expired.set_id(row.id);
  expired.set_outcome(v1::CommandResult::expired);
  expired.add_why()->set_code("command_expired");
  row.result = expired.SerializeAsString();
  return row;
}

std::string joined_by(const v1::Command& command) {
  auto terms = command_from_bytes(bytes_of(command.body()));
  return terms && terms->join ? terms->join->group : "";
}

HostCommands::Open open_of_row(CommandRow& row) {
  v1::Command command;
  std::string joins = command.ParseFromString(row.command) ? joined_by(command) : "";
  return {std::move(row.id), std::make_shared<const std::string>(std::move(row.command)),
          row.expires_s, std::move(joins)};
}

}  // namespace

HostCommands::HostCommands(FleetStore& store, std::int64_t now_s) : store_(store) {
  for (CommandRow& row : store.open_commands(now_s)) open_[row.host].push_back(open_of_row(row));
}

Reply<CommandRow> HostCommands::send(const HostToCommand& host, const v1::Command& command,
                                     const std::string& by, std::int64_t now_s,
                                     const RequestRow* decided) {
  auto terms = command_from_bytes(bytes_of(command.body()));
  if (!terms) return refuse(Kind::invalid, "the host would refuse it: " + terms.error().words);
  if (text_of_command_id(terms->id) != command.id())
    return refuse(Kind::invalid, "the command is signed under another id");
  if (terms->host_id != host.id) return refuse(Kind::invalid, "the command is for another host");
  if (command.signatures_size() > static_cast<int>(kMaxPolicySignatures))
    return refuse(Kind::invalid, fmt::format("more than {} signatures", kMaxPolicySignatures));
  const std::string bytes = command.SerializeAsString();
  if (std::optional<CommandRow> known = find(command.id(), now_s)) {
    if (known->host == host.number && known->command == bytes) return *known;
    return refuse(Kind::conflict, "another command has this id");
  }
  if (terms->expires_wall_s <= now_s) return refuse(Kind::invalid, "the command has expired");
  if (terms->expires_wall_s > now_s + kMaxCommandLifeS + kCommandSlackS)
    return refuse(Kind::invalid, "a command is valid for at most 7 days");
  const PolicyTrustRow trust = store_.policy_trust();
  const std::size_t signers =
      signers_of(trust, kCommandPurpose.data(), command.body(), command.signatures(), now_s);
  if (signers < trust.threshold)
    return refuse(Kind::denied,
                  fmt::format("signed by {} known keys, {} needed", signers, trust.threshold));
  CommandRow row{.id = command.id(),
                 .host = host.number,
                 .verb = terms->verb,
                 .command = bytes,
                 .asked_by = by,
                 .asked_s = now_s,
                 .expires_s = terms->expires_wall_s};
  {
    std::lock_guard lock(mutex_);
    std::vector<Open>& open = open_[host.number];
    std::erase_if(open, [&](const Open& one) { return one.expires_s <= now_s; });
    if (open.size() >= kMaxOpen)
      return refuse(Kind::full, fmt::format("{} commands wait for this host already", kMaxOpen));
    if (!store_.add_command(row, now_s, decided)) {
      const std::string sentence = store_.sentence();
      if (!sentence.empty()) return refuse(Kind::unavailable, sentence);
      return refuse(Kind::full, "there are as many commands as the store keeps");
    }
    open.push_back({row.id, std::make_shared<const std::string>(bytes), row.expires_s,
                    terms->join ? terms->join->group : ""});
  }
  sent(host.number);
  return row;
}

std::optional<CommandRow> HostCommands::find(const std::string& id, std::int64_t now_s) const {
  std::optional<CommandRow> row = store_.command(id);
  if (row) with_end(*row, now_s);
  return row;
}

std::vector<CommandRow> HostCommands::of_host(std::uint32_t host, std::int64_t now_s) const {
  std::vector<CommandRow> rows = store_.commands(host, kMaxOpen);
  for (CommandRow& row : rows) with_end(row, now_s);
  return rows;
}

std::vector<std::uint32_t> HostCommands::joining(const std::string& group,
                                                 std::int64_t now_s) const {
  std::lock_guard lock(mutex_);
  std::vector<std::uint32_t> hosts;
  for (const auto& [host, open] : open_) {
    auto newest = std::find_if(open.rbegin(), open.rend(), [&](const Open& one) {
      return !one.joins.empty() && one.expires_s > now_s;
    });
    if (newest != open.rend() && newest->joins == group) hosts.push_back(host);
  }
  return hosts;
}

bool HostCommands::any_open() const {
  std::lock_guard lock(mutex_);
  return !open_.empty();
}

std::vector<HostCommands::Open> HostCommands::open_of(std::uint32_t host, std::int64_t now_s) {
  std::lock_guard lock(mutex_);
  auto found = open_.find(host);
  if (found == open_.end()) return {};
  std::erase_if(found->second, [&](const Open& one) { return one.expires_s <= now_s; });
  std::vector<Open> open = found->second;
  if (open.empty()) open_.erase(found);
  return open;
}

void HostCommands::answered(std::uint32_t host, const v1::CommandResult& answer,
                            std::int64_t now_s) {
  const std::string& id = answer.id();
  const std::string result = answer.SerializeAsString();
  {
    std::lock_guard lock(mutex_);
    auto found = open_.find(host);
    if (found == open_.end() || result.size() > kMaxResult) return;
    auto is_it = [&](const Open& one) { return one.id == id; };
    if (std::ranges::none_of(found->second, is_it)) return;
    // Not on the disk: it stays open, and the host is asked again.
    if (!store_.set_command_result(id, result, now_s)) return;
    std::erase_if(found->second, is_it);
    if (found->second.empty()) open_.erase(found);
  }
  changed();
}

std::vector<HostCommands::Open> AskedOnStream::due(const std::vector<HostCommands::Open>& open,
                                                   std::int64_t now_ms) {
  std::map<std::string, std::int64_t> sent;
  std::vector<HostCommands::Open> due;
  for (const HostCommands::Open& one : open) {
    auto before = sent_.find(one.id);
    const bool now = before == sent_.end() || now_ms - before->second >= kAskAgainMs;
    sent[one.id] = now ? now_ms : before->second;
    if (now) due.push_back(one);
  }
  sent_ = std::move(sent);
  return due;
}

}  // namespace weir
