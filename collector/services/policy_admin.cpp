// PolicyAdminService: draft, publish, see what became of it, go back.
#include <fmt/format.h>
#include <grpcpp/support/server_callback.h>

#include <charconv>
#include <list>
#include <map>
#include <mutex>

#include "collector/api/principal.h"
#include "collector/rollout/draft_trial.h"
#include "collector/rollout/used_names.h"
#include "collector/services/awaited.h"
#include "collector/services/call.h"
#include "collector/services/messages.h"
#include "collector/services/pulse.h"
#include "collector/services/services.h"
#include "collector/store/telemetry_reader.h"
#include "core/policy/evaluate.h"
#include "core/policy/surface/surface.h"
#include "proto/map/command_proto.h"
#include "proto/map/policy_proto.h"
#include "weir/v1/admin.grpc.pb.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

constexpr std::int64_t kLongestWait_s = 30;
constexpr std::size_t kMaxWaiting = 256;  // calls that wait for hosts
constexpr char kDraft[] = "draft";        // stands for the file's name
constexpr char kGroupNames[] = "a group is named by 1 to 63 of a-z 0-9 - _ .";
constexpr std::int64_t kTriedByDefault_s = 7 * 86'400;
constexpr std::int64_t kUsedByDefault_s = 14 * 86'400;
constexpr std::uint32_t kPersonsByDefault = 3;
constexpr std::uint32_t kFewestPersons = 2;  // what one person uses is that person's affair
constexpr std::int64_t kNsInSecond = 1'000'000'000;
constexpr std::uint32_t kTrialPage = 500;  // reports in memory at once, at most 256 KiB each

// "draft:12:5: rules[2].then.limit: what is wrong" into its parts.
void add_problem(std::string_view line, v1::LintPolicyResponse& response) {
  v1::PolicyProblem& problem = *response.add_problems();
  auto number = [&line]() {
    std::uint32_t value = 0;
    auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
    if (error == std::errc() && end != line.data() + line.size() && *end == ':')
      line.remove_prefix(static_cast<std::size_t>(end - line.data()) + 1);
    return value;
  };
  if (line.starts_with(std::string(kDraft) + ":")) {
    line.remove_prefix(sizeof kDraft);
    problem.set_line(number());
    problem.set_column(number());
  }
  if (line.starts_with(" ")) line.remove_prefix(1);
  if (std::size_t colon = line.find(": ");
      colon != std::string_view::npos &&
      line.substr(0, colon).find(' ') == std::string_view::npos) {
    problem.set_field(std::string(line.substr(0, colon)));
    line.remove_prefix(colon + 2);
  }
  problem.set_sentence(std::string(line));
}

class PolicyAdmin final : public v1::PolicyAdminService::CallbackService {
 public:
  PolicyAdmin(ServiceParts parts, Pulse& pulse) : parts_(std::move(parts)), awaited_(pulse) {
    pulse.add([this](bool ending) { answer_waiting(ending); });
  }

  grpc::ServerUnaryReactor* LintPolicy(grpc::CallbackServerContext* context,
                                       const v1::LintPolicyRequest* request,
                                       v1::LintPolicyResponse* response) override {
    return answer(context, *request, [&]() -> Reply<void> {
      if (request->yaml().size() > kMaxPolicyBytes)
        return refuse(Refusal::Kind::invalid,
                      fmt::format("a policy has at most {} bytes", kMaxPolicyBytes));
      ListTexts lists;
      for (const auto& [name, text] : request->lists()) lists.emplace(name, text);
      Result<Policy> policy = parse_policy(request->yaml(), kDraft, lists);
      if (!policy) {
        std::string_view text = policy.error().sentence;
        while (!text.empty()) {
          std::string_view line = text.substr(0, text.find('\n'));
          if (!line.empty()) add_problem(line, *response);
          text.remove_prefix(std::min(text.size(), line.size() + 1));
        }
        return {};
      }
      to_proto(*policy, *response->mutable_policy());
      for (std::string& part : unenforceable(*policy)) response->add_unenforceable(std::move(part));
      return {};
    });
  }

  grpc::ServerUnaryReactor* ReplayPolicy(grpc::CallbackServerContext* context,
                                         const v1::ReplayPolicyRequest* request,
                                         v1::ReplayPolicyResponse* response) override {
    return answer(context, *request, [&] { return try_draft(*context, *request, *response); });
  }

  grpc::ServerUnaryReactor* ListUsedNames(grpc::CallbackServerContext* context,
                                          const v1::ListUsedNamesRequest* request,
                                          v1::ListUsedNamesResponse* response) override {
    return answer(context, *request, [&] { return used_names(*context, *request, *response); });
  }

  grpc::ServerUnaryReactor* PublishPolicy(grpc::CallbackServerContext* context,
                                          const v1::PublishPolicyRequest* request,
                                          v1::PublishPolicyResponse* response) override {
    return answer(context, *request, [&]() -> Reply<void> {
      Reply<std::uint32_t> number =
          publish(*context, request->group(), request->policy(), std::nullopt);
      if (!number) return tl::unexpected(number.error());
      response->set_number(*number);
      response->set_hosts(static_cast<std::uint32_t>(parts_.hosts.count(request->group())));
      return {};
    });
  }

  grpc::ServerUnaryReactor* RollbackPolicy(grpc::CallbackServerContext* context,
                                           const v1::RollbackPolicyRequest* request,
                                           v1::RollbackPolicyResponse* response) override {
    return answer(context, *request, [&]() -> Reply<void> {
      Reply<std::uint32_t> number =
          publish(*context, request->group(), request->policy(), Rollout::Back{request->source()});
      if (!number) return tl::unexpected(number.error());
      response->set_number(*number);
      return {};
    });
  }

  grpc::ServerUnaryReactor* AssignPolicy(grpc::CallbackServerContext* context,
                                         const v1::AssignPolicyRequest* request,
                                         v1::AssignPolicyResponse* response) override {
    Reply<CommandRow> sent =
        has_unknown_fields(*request)
            ? refuse(Refusal::Kind::invalid,
                     "the request has a field that this collector does not know")
            : assign(*request, principal_of(*context).name);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (!sent) {
      reactor->Finish(status_of(tl::unexpected(sent.error())));
      return reactor;
    }
    awaited_.finish_when(reactor, [this, id = sent->id, host = sent->host, response] {
      if (std::optional<HostView> view = parts_.hosts.find(host, wall_now_s()))
        to_proto(*view, *response->mutable_host());
      std::optional<CommandRow> row = parts_.commands.find(id, wall_now_s());
      if (!row || row->result.empty()) return false;
      v1::CommandInfo info;
      to_proto(*row, info);
      *response->mutable_result() = info.result();
      return true;
    });
    return reactor;
  }

  grpc::ServerUnaryReactor* GetPolicy(grpc::CallbackServerContext* context,
                                      const v1::GetPolicyRequest* request,
                                      v1::GetPolicyResponse* response) override {
    return answer(context, *request, [&]() -> Reply<void> {
      Reply<PolicyRow> row = wanted_policy(*request);
      if (!row) return tl::unexpected(row.error());
      (void)response->mutable_policy()->ParseFromString(row->signed_policy);
      response->set_number(row->number);
      response->set_published_by(row->published_by);
      response->mutable_published()->set_seconds(row->published_s);
      return {};
    });
  }

  grpc::ServerUnaryReactor* GetPolicyKeys(grpc::CallbackServerContext* context,
                                          const v1::GetPolicyKeysRequest* request,
                                          v1::GetPolicyKeysResponse* response) override {
    return answer(context, *request, [&]() -> Reply<void> {
      const PolicyTrustRow trust = parts_.store.policy_trust();
      response->mutable_trust()->set_number(trust.number);
      response->mutable_trust()->set_threshold(trust.threshold);
      for (const PolicyKeyRow& key : trust.keys) {
        v1::PolicyKey& out = *response->mutable_trust()->add_keys();
        out.set_key_id(key.key_id);
        out.set_public_key(key.public_key);
        out.set_expires_wall_s(key.expires_s);
      }
      for (std::string& group : parts_.rollout.groups()) response->add_groups(std::move(group));
      return {};
    });
  }

  grpc::ServerUnaryReactor* RotatePolicyKeys(grpc::CallbackServerContext* context,
                                             const v1::RotatePolicyKeysRequest* request,
                                             v1::RotatePolicyKeysResponse* response) override {
    return answer(context, *request, [&]() -> Reply<void> {
      Reply<std::uint32_t> number = parts_.rollout.rotate(
          request->trust().SerializeAsString(), principal_of(*context).name, wall_now_s());
      if (!number) return tl::unexpected(number.error());
      response->set_number(*number);
      return {};
    });
  }

  grpc::ServerUnaryReactor* GetPolicyStatus(grpc::CallbackServerContext* context,
                                            const v1::GetPolicyStatusRequest* request,
                                            v1::GetPolicyStatusResponse* response) override {
    if (!request->wait() || has_unknown_fields(*request))
      return answer(context, *request, [&]() -> Reply<void> {
        (void)fill(request->group(), *response);
        return {};
      });
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (!fill(request->group(), *response)) {
      reactor->Finish(grpc::Status::OK);
      return reactor;
    }
    std::lock_guard lock(mutex_);
    if (ended_ || waiting_.size() >= kMaxWaiting) {
      reactor->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many calls wait"});
      return reactor;
    }
    waiting_.push_back({reactor, request->group(), response, wall_now_s() + kLongestWait_s});
    return reactor;
  }

 private:
  struct Waiting {
    grpc::ServerUnaryReactor* reactor;
    std::string group;
    v1::GetPolicyStatusResponse* response;  // the call's, alive until it is finished
    std::int64_t until_s;
  };

  Reply<std::uint32_t> publish(const grpc::CallbackServerContext& context, const std::string& group,
                               const v1::SignedPolicy& policy, std::optional<Rollout::Back> back) {
    return parts_.rollout.publish(group, policy.SerializeAsString(), principal_of(context).name,
                                  wall_now_s(), back);
  }

  Reply<PolicyRow> wanted_policy(const v1::GetPolicyRequest& request) {
    if (request.earlier()) {
      if (request.number() != 0) return refuse(Refusal::Kind::invalid, "a number, or the earlier");
      return parts_.rollout.earlier(request.group());
    }
    std::optional<PolicyRow> row = parts_.store.policy(request.group(), request.number());
    if (row) return *row;
    return refuse(
        Refusal::Kind::not_found,
        fmt::format("the group {} has no policy{}", request.group(),
                    request.number() == 0 ? "" : fmt::format(" number {}", request.number())));
  }

  // The host moves, by a command that it verifies: what is said here alone would leave it where it
  // is, refusing every policy that it gets from then on.
  Reply<CommandRow> assign(const v1::AssignPolicyRequest& request, const std::string& by) {
    if (!is_group_name(request.group())) return refuse(Refusal::Kind::invalid, kGroupNames);
    std::optional<HostView> host = parts_.hosts.find(request.host_id(), wall_now_s());
    if (!host)
      return refuse(Refusal::Kind::not_found,
                    fmt::format("there is no host {}", request.host_id()));
    if (host->row.revoked) return refuse(Refusal::Kind::conflict, "the host is revoked");
    if (!request.has_command())
      return refuse(Refusal::Kind::invalid,
                    "a host changes its group by a signed command: take the weirctl of this "
                    "collector's version");
    auto terms = command_from_bytes(bytes_of(request.command().body()));
    if (terms && (!terms->join || terms->join->group != request.group()))
      return refuse(Refusal::Kind::invalid, "the command is for something else than this group");
    return parts_.commands.send({host->row.number, host->row.id}, request.command(), by,
                                wall_now_s());
  }

  Reply<void> try_draft(const grpc::CallbackServerContext& context,
                        const v1::ReplayPolicyRequest& request,
                        v1::ReplayPolicyResponse& response) {
    Result<Policy> draft = from_proto(request.policy());
    if (!draft) return refuse(Refusal::Kind::invalid, draft.error().sentence);
    if (!is_group_name(request.group())) return refuse(Refusal::Kind::invalid, kGroupNames);
    ReportQuery query;
    query.from_ns = request.has_from() ? ns_of(request.from())
                                       : (wall_now_s() - kTriedByDefault_s) * kNsInSecond;
    if (request.has_to()) query.to_ns = ns_of(request.to());
    DraftTrial trial(std::move(*draft));
    std::map<std::uint32_t, bool> seen;  // by host
    RecordPosition at;
    for (bool more = true; more;) {
      if (context.IsCancelled()) return refuse(Refusal::Kind::unavailable, "nobody waits for it");
      Result<std::vector<StoredReport>> page = parts_.reports.after(query, at, kTrialPage);
      if (!page) return refuse(Refusal::Kind::unavailable, page.error().sentence);
      more = ReportReader::is_full(*page, kTrialPage);
      for (const StoredReport& stored : *page) {
        at = stored.at;
        v1::Report report;
        if (is_of_group(stored.host, request.group(), seen) &&
            to_proto(stored, parts_.hosts, report))
          (void)trial.on(report, stored.host);
      }
    }
    trial.result(response);
    for (v1::Report& example : *response.mutable_examples()) add_texts(example);
    return {};
  }

  // `seen`: what was found of hosts before.
  bool is_of_group(std::uint32_t number, const std::string& group,
                   std::map<std::uint32_t, bool>& seen) {
    auto [known, is_new] = seen.try_emplace(number, false);
    if (is_new) {
      std::optional<HostView> host = parts_.hosts.find(number, 0);
      known->second = host && host->row.group == group;
    }
    return known->second;
  }

  Reply<void> used_names(const grpc::CallbackServerContext& context,
                         const v1::ListUsedNamesRequest& request,
                         v1::ListUsedNamesResponse& response) {
    if (!is_group_name(request.group())) return refuse(Refusal::Kind::invalid, kGroupNames);
    const std::uint32_t persons = request.persons() == 0 ? kPersonsByDefault : request.persons();
    if (persons < kFewestPersons || persons > kMaxCountedUsers)
      return refuse(Refusal::Kind::invalid,
                    fmt::format("persons: {} to {}", kFewestPersons, kMaxCountedUsers));
    const std::int64_t from_ms = request.has_from() ? ns_of(request.from()) / 1'000'000
                                                    : (wall_now_s() - kUsedByDefault_s) * 1'000;
    UsedNames names(request.by_host());
    std::map<std::uint32_t, bool> seen;
    v1::Record record;
    Result<void> walked =
        walk_telemetry(parts_.store, parts_.folder, from_ms, [&](std::uint32_t host, Bytes bytes) {
          if (is_of_group(host, request.group(), seen) &&
              record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) &&
              record.has_usage())
            names.on(record.usage(), host);
          return !context.IsCancelled();
        });
    if (context.IsCancelled()) return refuse(Refusal::Kind::unavailable, "nobody waits for it");
    if (!walked) return refuse(Refusal::Kind::unavailable, walked.error().sentence);
    names.result(persons, response);
    return {};
  }

  // True: somebody who is online has not answered.
  bool fill(const std::string& group, v1::GetPolicyStatusResponse& response) {
    RolloutStatus status = parts_.rollout.status(group, wall_now_s());
    response.Clear();
    response.set_desired(status.desired);
    response.set_highest(status.highest);
    response.set_effective(status.effective);
    response.set_refused(status.refused);
    response.set_pending(status.pending);
    for (const HostView& host : status.differing) to_proto(host, *response.add_differing());
    const std::int64_t now_s = wall_now_s();
    for (std::uint32_t number : parts_.commands.joining(group, now_s))
      if (std::optional<HostView> host = parts_.hosts.find(number, now_s);
          host && !host->row.revoked && host->row.group != group &&
          response.joining_size() < static_cast<int>(kMaxDiffering))
        to_proto(*host, *response.add_joining());
    return status.online_pending;
  }

  void answer_waiting(bool ending) {
    std::lock_guard lock(mutex_);
    ended_ = ended_ || ending;
    for (auto at = waiting_.begin(); at != waiting_.end();) {
      if (fill(at->group, *at->response) && !ending && wall_now_s() < at->until_s) {
        ++at;
        continue;
      }
      at->reactor->Finish(grpc::Status::OK);
      at = waiting_.erase(at);
    }
  }

  const ServiceParts parts_;
  std::mutex mutex_;
  std::list<Waiting> waiting_;
  bool ended_ = false;
  Awaited awaited_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_policy_admin(const ServiceParts& parts, Pulse& pulse) {
  return std::make_unique<PolicyAdmin>(parts, pulse);
}

}  // namespace weir
