// `weir status`: what is tight, why, until when; from the pinned tables, read only.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>

#include "agent/cli/commands.h"
#include "agent/cli/policy_file.h"
#include "agent/run/process.h"
#include "agent/run/state_dir.h"
#include "agent/wire/report_proto.h"
#include "core/policy/default_policy.h"
#include "core/policy/explain.h"
#include "platform/linux/pinned_tables.h"
#include "weir/v1/report.pb.h"

namespace weir {
namespace {

constexpr std::size_t kShown = 64;  // Status.accounts in report.proto

struct Account {
  weir_account_key key;
  weir_limit row;
  std::uint64_t charged = 0, spent = 0, refused = 0;
  double fill = 0;
  std::int64_t refilled_wall_ns = 0;  // 0: never by itself
};

std::vector<Account> fullest(const PinnedTables& tables) {
  std::vector<Account> accounts;
  std::uint64_t now = boot_now_ns();
  for (const KernelAccount& each : tables.accounts) {
    if (each.key.limit >= WEIR_LIMITS) continue;  // a lease
    Account account{each.key, tables.limits[each.key.limit], each.value.charged, 0,
                    each.value.refused};
    account.spent = spent_now(account.row, each.value, now);
    if (account.row.bytes > 0)
      account.fill = static_cast<double>(account.spent) / static_cast<double>(account.row.bytes);
    if (account.row.ns_per_byte_q4 > 0)
      account.refilled_wall_ns =
          wall_now_ns() +
          static_cast<std::int64_t>(account.spent * account.row.ns_per_byte_q4 / 16);
    accounts.push_back(account);
  }
  std::sort(accounts.begin(), accounts.end(),
            [](const Account& a, const Account& b) { return a.fill > b.fill; });
  if (accounts.size() > kShown) accounts.resize(kShown);
  return accounts;
}

std::string rule_of(const Policy& policy, std::uint32_t row) {
  if (row < policy.limits.size()) return policy.limits[row].rule;
  return row == policy.limits.size() ? "acknowledgements" : fmt::format("row {}", row);
}

std::string who(const Account& account) {
  switch (account.key.per) {
    case WEIR_PER_PERSON:
    case WEIR_PER_PERSON_DEST:
      return fmt::format("uid {}", account.key.who);
    case WEIR_PER_TREE:
    case WEIR_PER_TREE_DEST:
      return fmt::format("tree {}", account.key.who);
    default:
      return "host";
  }
}

void print_text(const RunningAgent& agent, bool alive, const PinnedTables& tables,
                const Policy& policy) {
  fmt::print("{}{}, policy {}{}\n", alive ? "running, pid " : "not running",
             alive ? fmt::to_string(agent.pid) : "", policy.name.empty() ? "built in" : policy.name,
             tables.attached ? "; the bound holds" : "; nothing is attached");
  for (const Account& account : fullest(tables)) {
    std::int64_t left_s = account.refilled_wall_ns == 0
                              ? 0
                              : (account.refilled_wall_ns - wall_now_ns()) / 1'000'000'000;
    fmt::print("{:4.0f} %  {:<24} {:<16} {} of {} spent, {} refused{}\n", account.fill * 100,
               rule_of(policy, account.key.limit), who(account), human_bytes(account.spent),
               human_bytes(account.row.bytes), human_bytes(account.refused),
               left_s > 0 ? fmt::format(", all of it back in {} min", left_s / 60 + 1) : "");
  }
}

void fill(v1::Account& out, const Account& account, const Policy& policy) {
  out.set_limit(account.key.limit);
  out.set_rule(rule_of(policy, account.key.limit));
  out.set_per(static_cast<v1::Per::Value>(account.key.per));
  bool person = account.key.per == WEIR_PER_PERSON || account.key.per == WEIR_PER_PERSON_DEST;
  if (person)
    out.mutable_person()->mutable_user()->set_uid(static_cast<std::uint32_t>(account.key.who));
  else
    out.set_tree(account.key.who);
  out.set_bytes(account.row.bytes);
  out.set_bytes_spent(account.spent);
  out.set_bytes_refused(account.refused);
  out.set_refilled_wall_ns(account.refilled_wall_ns);
}

v1::Status message_of(const RunningAgent& agent, bool alive, const PinnedTables& tables,
                      const Policy& policy) {
  v1::Status status;
  status.set_tier(tables.attached ? 1 : 4);
  status.set_policy(policy.name);
  status.set_policy_number(policy.number);
  status.set_mode(policy.mode == Mode::enforce ? v1::Mode::enforce : v1::Mode::observe);
  for (const Account& account : fullest(tables)) fill(*status.add_accounts(), account, policy);
  if (alive) {
    v1::Status::Program* program = status.add_programs();
    program->set_name("run");
    program->set_pid(agent.pid);
  }
  return status;
}

}  // namespace

int cmd_status(int argc, char** argv) {
  CLI::App app("Say what is tight on this host, why, and until when.", "weir status");
  std::string state_dir = kStateDir, format = "text";
  app.add_option("--state", state_dir, "folder of the agent")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--format", format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->type_name("");
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  if (::geteuid() != 0) {
    fmt::print(stderr, "weir status: only root can read the accounts\n");
    return kExitNotAllowed;
  }
  Result<RunningAgent> agent = read_running(state_dir);
  Result<PinnedTables> tables = agent ? read_pinned(agent->pin_dir) : tl::unexpected(agent.error());
  if (!tables) {
    fmt::print(stderr, "weir status: {}\n", tables.error().sentence);
    return kExitFailed;
  }
  // Only for the names of the rules: the numbers are the kernel's.
  std::shared_ptr<const Policy> policy = default_policy();
  if (!agent->policy_file.empty())
    if (auto read = read_policy_file(agent->policy_file)) policy = *read;
  bool alive = ::kill(static_cast<pid_t>(agent->pid), 0) == 0;
  if (format == "json")
    fmt::print("{}\n", json_line(message_of(*agent, alive, *tables, *policy)));
  else
    print_text(*agent, alive, *tables, *policy);
  return kExitDone;
}

}  // namespace weir
