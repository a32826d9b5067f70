// `weir status`: what is tight, why, until when; from the pinned tables, read only.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>

#include "agent/cli/commands.h"
#include "agent/cli/policy_file.h"
#include "agent/cli/printer.h"
#include "agent/cli/tight_accounts.h"
#include "agent/guard/keeping.h"
#include "agent/run/asked.h"
#include "agent/run/exec_served.h"
#include "agent/run/process.h"
#include "agent/run/state_dir.h"
#include "agent/wire/report_proto.h"
#include "core/base/command_id.h"
#include "core/policy/default_policy.h"
#include "core/policy/explain.h"
#include "core/policy/limit_table.h"
#include "platform/linux/boot_clock.h"
#include "platform/linux/pinned_tables.h"
#include "weir/v1/report.pb.h"

namespace weir {
namespace {

std::string rule_of(const Policy& policy, std::uint32_t row) {
  if (row < policy.limits.size()) return policy.limits[row].rule;
  if (row == answers_row(policy)) return kAnswersRule;
  return row == acknowledgements_row(policy) ? "acknowledgements" : fmt::format("row {}", row);
}

std::string who(const TightAccount& account) {
  if ((account.key.per & WEIR_PER_OVERFLOW) != 0) return "all for whom the table had no room";
  switch (account.key.per) {
    case WEIR_PER_PERSON:
    case WEIR_PER_PERSON_DEST:
    case WEIR_PER_FLOW:  // only what no socket sends stands in the table
      return account.key.who == kForwarded ? "forwarded" : fmt::format("uid {}", account.key.who);
    case WEIR_PER_TREE:
    case WEIR_PER_TREE_DEST:
      return fmt::format("tree {}", account.key.who);
    default:
      return "host";
  }
}

// "256 KiB", or "128 KiB at once (256 KiB in 24 hours)".
std::string allowed(const TightAccount& account, Language language) {
  std::string at_once = human_bytes(account.row.bytes, language);
  if (account.window_ns == 0) return at_once;
  return fmt::format(
      fmt::runtime(either(language, "{} at once ({} in {})", "{}（可一次发出；{} / {}）")), at_once,
      human_bytes(account.bytes, language),
      human_seconds(static_cast<std::uint64_t>(account.window_ns / 1'000'000'000), language));
}

// ", all of it back in 22 hours": rounded up, to hours where minutes say no more.
std::string back_in(const TightAccount& account, Language language) {
  std::int64_t left_s = (account.refilled_wall_ns - wall_now_ns()) / 1'000'000'000;
  if (account.refilled_wall_ns == 0 || left_s <= 0) return "";
  const std::int64_t unit = left_s > 2 * 3600 ? 3600 : 60;
  const auto rounded = static_cast<std::uint64_t>((left_s / unit + 1) * unit);
  return fmt::format(fmt::runtime(either(language, ", all of it back in {}", "，{}后全部恢复")),
                     human_seconds(rounded, language));
}

struct HeldException {
  HeldLease lease;
  std::uint64_t left = 0;
};

Result<ExceptionTable> table_of(const std::string& state_dir) {
  std::ifstream file(state_dir + "/" + kKeptFileNames[3], std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  return ExceptionTable::read(bytes_of(text));
}

struct HeldIsolation {
  HostIsolation lease;  // all zero: STATE/exceptions does not know it
  std::uint64_t left_s = 0;
};

// The kernel says whether, the table why.
std::optional<HeldIsolation> isolation_of(const PinnedTables& tables,
                                          const Result<ExceptionTable>& table) {
  const std::uint64_t now = boot_now_ns(), until = tables.isolated_until_boot_ns;
  if (until <= now) return std::nullopt;
  return HeldIsolation{table ? table->isolation : HostIsolation{}, (until - now) / 1'000'000'000};
}

void print_isolation(const std::optional<HeldIsolation>& held, Language language) {
  if (!held) return;
  fmt::print(fmt::runtime(either(language,
                                 "ISOLATED: nothing leaves this host but to its resolvers and "
                                 "what the policy names under never_block; ends in {} ({}; {})\n",
                                 "已隔离：除解析器和策略 never_block 所列地址外，本机不发出任何"
                                 "数据；{}后结束（{}；{}）\n")),
             human_seconds(held->left_s, language), held->lease.asked.data(),
             text_of_command_id(held->lease.id));
}

// The kernel says whether, the table what and why.
std::vector<HeldBlock> blocks_of(const PinnedTables& tables, const Result<ExceptionTable>& table) {
  std::vector<HeldBlock> all;
  for (HeldBlock block : table ? table->blocks.in_force() : std::span<const HeldBlock>()) {
    block.until_boot_ns = tables.shut_until_boot_ns[block.slot];
    if (block.until_boot_ns > boot_now_ns()) all.push_back(block);
  }
  return all;
}

std::uint64_t left_s_of(const HeldBlock& held) {
  return (held.until_boot_ns - std::min(held.until_boot_ns, boot_now_ns())) / 1'000'000'000;
}

void print_blocks(const std::vector<HeldBlock>& blocks, Language language) {
  for (const HeldBlock& held : blocks) {
    const std::string who =
        held.what.everybody != 0
            ? std::string(either(language, "nobody", "任何人"))
            : fmt::format(fmt::runtime(either(language, "not user {}", "用户 {}")),
                          held.what.person);
    fmt::print(
        fmt::runtime(either(language,
                            "BLOCKED by an administrator: {} ({} may send there); ends in "
                            "{} ({}; {})\n",
                            "管理员已封锁：{}（{}不得向该处发送数据）；{}后结束（{}；{}）\n")),
        text_of_place(held.what), who, human_seconds(left_s_of(held), language), held.asked.data(),
        text_of_command_id(held.id));
  }
}

struct HeldRelease {
  HostRelease lease;  // all zero: STATE/exceptions does not know it
  std::uint64_t left_s = 0;
};

// The kernel says whether, the table why.
std::optional<HeldRelease> release_of(const PinnedTables& tables,
                                      const Result<ExceptionTable>& table) {
  const std::uint64_t now = boot_now_ns(), until = tables.observed_until_boot_ns;
  if (until <= now) return std::nullopt;
  return HeldRelease{table ? table->release.now : HostRelease{}, (until - now) / 1'000'000'000};
}

void print_release(const std::optional<HeldRelease>& held, Language language) {
  if (!held) return;
  if (held->lease.holds == 0) {
    fmt::print(
        "{}\n",
        either(language,
               "CRASHED: the agent crashed three times within a minute; it only observes and "
               "stops nothing until a new policy comes or it is started again",
               "已崩溃：代理一分钟内崩溃三次；仅观察，不阻止任何操作，直到收到新策略或重新启动"));
    return;
  }
  fmt::print(
      fmt::runtime(either(language,
                          "RELEASED: this host only observes and stops nothing; its policy is "
                          "enforced again in {} ({}; {})\n",
                          "已解除限制：本机仅观察，不阻止任何操作；{}后恢复策略执行（{}；{}）\n")),
      human_seconds(held->left_s, language), held->lease.asked.data(),
      text_of_command_id(held->lease.id));
}

// Those of STATE/exceptions that the kernel holds an account for, and still charges.
std::vector<HeldException> exceptions_of(const PinnedTables& tables,
                                         const Result<ExceptionTable>& table) {
  std::vector<HeldException> all;
  for (const HeldLease& lease : table ? table->in_force() : std::span<const HeldLease>())
    for (const KernelAccount& account : tables.accounts)
      if (account.key.limit == WEIR_EXCEPTIONS && account.key.dest == lease.number &&
          account.key.who == lease.what.person && account.value.until_ns > boot_now_ns() &&
          !is_used_up(account.value))
        all.push_back({lease, left_of(account.value)});
  return all;
}

void print_exceptions(const std::vector<HeldException>& all, Language language) {
  for (const HeldException& one : all)
    fmt::print(
        fmt::runtime(either(language,
                            "exception {}: uid {} to {} beside rule {}: {} left of {}, ends "
                            "in {}\n",
                            "例外 {}：用户 {}，去向 {}，规则 {} 之外：剩余 {} / {}，{}后结束\n")),
        text_of_command_id(one.lease.id), one.lease.what.person, place_of(one.lease.what),
        one.lease.what.rule[0].data(), human_bytes(one.left, language),
        human_bytes(one.lease.what.bytes, language),
        human_seconds((one.lease.until_boot_ns - boot_now_ns()) / 1'000'000'000, language));
}

struct Waiting {
  HeldGroup group;
  std::string rule;
  std::uint64_t left_s = 0;
};

// By the policy's rules; of one that was changed since, only that it waits.
std::vector<Waiting> waiting(const std::string& pin_dir, const PinnedTables& tables,
                             const Policy& policy) {
  std::vector<Waiting> all;
  const std::uint64_t now = boot_now_ns();
  for (const HeldGroup& group : grouped(read_holds(pin_dir))) {
    Waiting one{group, "", 0};
    const std::uint32_t row = row_of_account(tables.limits, group.place.account);
    if (row < policy.limits.size()) one.rule = policy.limits[row].rule;
    for (const Rule& rule : policy.rules)
      if (rule.id == one.rule && rule.hold) {
        const std::uint64_t end = group.since_ns + static_cast<std::uint64_t>(rule.hold->for_ns);
        one.left_s = end > now ? (end - now) / 1'000'000'000 : 0;
      }
    all.push_back(std::move(one));
  }
  return all;
}

void print_waiting(const std::vector<Waiting>& all, Language language) {
  for (const Waiting& one : all)
    fmt::print(
        fmt::runtime(either(language,
                            "waits {}: uid {}, pid {} to {} ({} connections), rule {}: ends "
                            "in {}\n",
                            "等待答复 {}：用户 {}，进程 {}，去向 {}（{} 个连接），规则 {}：{}"
                            "后结束\n")),
        one.group.id, one.group.person, one.group.pid, one.group.to.text(), one.group.flows,
        one.rule, human_seconds(one.left_s, language));
}

void print_text(const RunningAgent& agent, bool alive, const PinnedTables& tables,
                std::span<const TightAccount> accounts, const Policy& policy, Language language) {
  std::string running =
      alive ? fmt::format(fmt::runtime(either(language, "running, pid {}", "运行中，进程 {}")),
                          agent.pid)
            : std::string(either(language, "not running", "未运行"));
  fmt::print(fmt::runtime(either(language, "{}, policy {}; {}\n", "{}，策略 {}；{}\n")), running,
             policy.name.empty() ? either(language, "built in", "内置") : policy.name,
             tables.attached ? either(language, "the bound holds", "限额有效")
                             : either(language, "nothing is attached", "未挂载"));
  for (const TightAccount& account : accounts)
    fmt::print(
        fmt::runtime(either(language, "{:4.0f} %  {:<24} {:<16} {} of {} spent, {} refused{}\n",
                            "{:4.0f} %  {:<24} {:<16} 已用 {}，额度 {}，已拒绝 {}{}\n")),
        account.fill * 100, rule_of(policy, account.key.limit), who(account),
        human_bytes(account.spent, language), allowed(account, language),
        human_bytes(account.refused, language), back_in(account, language));
  if (const WireBytes& wire = tables.wire; wire.devices > 0)
    fmt::print(fmt::runtime(either(language, "the devices sent {}, Weir saw {}; unattributed: {}\n",
                                   "网络设备发出 {}，Weir 看到 {}；未归属：{}\n")),
               human_bytes(wire.sent, language), human_bytes(wire.seen, language),
               human_bytes(wire.unattributed, language));
}

void fill(v1::Account& out, const TightAccount& account, const Policy& policy) {
  out.set_limit(account.key.limit);
  out.set_rule(rule_of(policy, account.key.limit));
  out.set_per(static_cast<v1::Per::Value>(account.key.per));
  if (is_a_persons(account.key))
    out.mutable_person()->mutable_user()->set_uid(static_cast<std::uint32_t>(account.key.who));
  else
    out.set_tree(account.key.who);
  out.set_bytes(account.bytes);
  out.set_window_s(static_cast<std::uint64_t>(account.window_ns / 1'000'000'000));
  out.set_bytes_spent(account.spent);
  out.set_bytes_refused(account.refused);
  out.set_refilled_wall_ns(account.refilled_wall_ns);
}

void fill(v1::Lease& out, const HeldException& held) {
  const HeldLease& lease = held.lease;
  out.set_id(text_of_command_id(lease.id));
  out.set_action(v1::Action::allow);
  out.mutable_person()->mutable_user()->set_uid(lease.what.person);
  if (lease.what.domain.front() != '\0')
    out.mutable_destination()->set_name(place_of(lease.what));
  else
    out.mutable_destination()->set_address(place_of(lease.what));
  out.mutable_until()->set_seconds(lease.until_wall_s);
  out.mutable_decision()->set_rule(lease.what.rule[0].data());
  out.set_bytes(lease.what.bytes);
  out.set_bytes_left(held.left);
}

void fill(v1::Lease& out, const HeldIsolation& held) {
  out.set_id(text_of_command_id(held.lease.id));
  out.set_action(v1::Action::isolate);
  out.mutable_until()->set_seconds(wall_now_ns() / 1'000'000'000 +
                                   static_cast<std::int64_t>(held.left_s));
  out.mutable_decision()->set_action(v1::Action::isolate);
  out.mutable_decision()->set_rule("isolate");
  v1::Reason& why = *out.mutable_decision()->add_because();
  why.set_code("isolated");
  why.add_args(held.lease.asked.data());
}

void fill(v1::Lease& out, const HeldBlock& held) {
  out.set_id(text_of_command_id(held.id));
  out.set_action(v1::Action::block);
  if (held.what.everybody == 0) out.mutable_person()->mutable_user()->set_uid(held.what.person);
  if (held.what.domain.front() != '\0')
    out.mutable_destination()->set_name(text_of_place(held.what));
  else
    out.mutable_destination()->set_address(text_of_place(held.what));
  out.mutable_until()->set_seconds(wall_now_ns() / 1'000'000'000 +
                                   static_cast<std::int64_t>(left_s_of(held)));
  out.mutable_decision()->set_action(v1::Action::block);
  out.mutable_decision()->set_rule("block_destination");
  v1::Reason& why = *out.mutable_decision()->add_because();
  why.set_code("blocked");
  why.add_args(held.asked.data());
}

void fill(v1::Lease& out, const HeldRelease& held) {
  out.set_id(text_of_command_id(held.lease.id));
  out.set_action(v1::Action::log);
  out.mutable_until()->set_seconds(wall_now_ns() / 1'000'000'000 +
                                   static_cast<std::int64_t>(held.left_s));
  out.mutable_decision()->set_action(v1::Action::log);
  const bool released = held.lease.holds != 0;
  out.mutable_decision()->set_rule(released ? "release" : "crashed");
  v1::Reason& why = *out.mutable_decision()->add_because();
  why.set_code(released ? "released" : "crashed_observes");
  if (released) why.add_args(held.lease.asked.data());
}

void fill(v1::Lease& out, const Waiting& one) {
  out.set_id(one.group.id);
  out.set_action(v1::Action::hold);
  out.set_tree(one.group.place.tree);
  out.mutable_person()->mutable_user()->set_uid(one.group.person);
  out.mutable_destination()->set_address(one.group.to.address.text());
  out.mutable_destination()->set_port(one.group.to.port);
  out.mutable_until()->set_seconds(wall_now_ns() / 1'000'000'000 +
                                   static_cast<std::int64_t>(one.left_s));
  out.mutable_decision()->set_action(v1::Action::hold);
  out.mutable_decision()->set_rule(one.rule);
}

v1::Status message_of(const RunningAgent& agent, bool alive, const PinnedTables& tables,
                      std::span<const TightAccount> accounts, const Policy& policy) {
  v1::Status status;
  status.set_tier(tables.attached ? (tables.lsm ? 2 : 1) : 4);
  status.set_policy(policy.name);
  status.set_policy_number(policy.number);
  status.set_mode(policy.mode == Mode::enforce ? v1::Mode::enforce : v1::Mode::observe);
  for (const TightAccount& account : accounts) fill(*status.add_accounts(), account, policy);
  if (const WireBytes& wire = tables.wire; wire.devices > 0) {
    status.mutable_wire()->set_devices(wire.devices);
    status.mutable_wire()->set_bytes_sent(wire.sent);
    status.mutable_wire()->set_bytes_seen(wire.seen);
    status.mutable_wire()->set_bytes_unattributed(wire.unattributed);
  }
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
  std::string state_dir = kStateDir, format = "text", socket = kExecSocket;
  add_state_and_format(app, state_dir, format);
  app.add_option("--socket", socket, "of the agent, where you are not root")->type_name("PATH");
  std::vector<std::uint32_t> persons;
  app.add_option("--person", persons, "the accounts of this user alone; may be repeated")
      ->type_name("UID");
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  if (::geteuid() != 0) {  // the accounts are root's to read; what waits for them is theirs
    AskMessage question;
    question.kind = AskKind::holds;
    question.flags = (language_of_caller() == Language::chinese ? kAskChinese : 0) |
                     (format == "json" ? kAskJson : 0);
    return ask_agent(question, socket);
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
  std::optional<PushedPolicy> pushed = read_pushed_policy(state_dir);
  if (pushed) policy = pushed->policy;
  const bool expired = pushed && pushed->expires_wall_s <= wall_now_ns() / 1'000'000'000;
  bool alive = ::kill(static_cast<pid_t>(agent->pid), 0) == 0;
  const std::vector<TightAccount> accounts = tight_accounts(*tables, *policy, persons);
  const Result<ExceptionTable> table = table_of(state_dir);
  const std::vector<HeldException> exceptions = exceptions_of(*tables, table);
  const std::optional<HeldRelease> release = release_of(*tables, table);
  const std::optional<HeldIsolation> isolation = isolation_of(*tables, table);
  const std::vector<HeldBlock> blocks = blocks_of(*tables, table);
  const std::vector<Waiting> waits = waiting(agent->pin_dir, *tables, *policy);
  if (format == "json") {
    v1::Status message = message_of(*agent, alive, *tables, accounts, *policy);
    if (release) fill(*message.add_leases(), *release);
    if (isolation) fill(*message.add_leases(), *isolation);
    for (const HeldBlock& one : blocks) fill(*message.add_leases(), one);
    for (const HeldException& one : exceptions) fill(*message.add_leases(), one);
    for (const Waiting& one : waits) fill(*message.add_leases(), one);
    if (pushed) {
      message.set_group(pushed->of_group);
      message.set_policy_group(pushed->group);
    }
    fmt::print("{}\n", json_line(message));
  } else {
    print_text(*agent, alive, *tables, accounts, *policy, language_of_caller());
    print_isolation(isolation, language_of_caller());
    print_blocks(blocks, language_of_caller());
    print_release(release, language_of_caller());
    print_exceptions(exceptions, language_of_caller());
    print_waiting(waits, language_of_caller());
  }
  if (pushed && !pushed->of_group.empty() && pushed->of_group != pushed->group && format != "json")
    fmt::print(
        fmt::runtime(either(language_of_caller(),
                            "this policy is of group {}; the host belongs to {} now and "
                            "keeps it until the first one of that group\n",
                            "该策略属于主机组 {}；本机现属于 {}，在收到该组的第一份策略之前仍"
                            "使用该策略\n")),
        pushed->group, pushed->of_group);
  if (expired && format != "json")
    fmt::print("{}\n", either(language_of_caller(),
                              "this policy has expired; it stays in force until the next one",
                              "该策略已过期，在收到下一份策略之前仍然有效"));
  return kExitDone;
}

}  // namespace weir
