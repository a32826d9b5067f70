// A destination that an administrator blocks, with a real collector: nothing goes there from then
// on, whoever is killed and whatever is restarted, until the lease ends or is undone; everything
// else goes on; and what the host must reach is never blocked.
#include <fmt/format.h>

#include "tests/e2e/fleet/commanded.h"

namespace weir {
namespace {

constexpr const char* kPlace = "192.0.2.7";
constexpr const char* kPlace6 = "2001:db8:7::7";

class Blocked : public Commanded {
 protected:
  // As after a reboot, with that much left of the only one.
  void as_after_a_reboot(std::int64_t left_s) const {
    auto table = leases();
    ASSERT_EQ(table->blocks.blocks, 1u);
    HeldBlock& one = table->blocks.block[0];
    be_of_another_boot(one);
    one.until_wall_s = std::time(nullptr) + left_s;
    write_leases(*table);
  }
  // What is left of the one that holds by the kernel's own word.
  double left_s() const {
    const auto tables = pinned();
    return tables ? Commanded::left_s(*std::ranges::max_element(tables->shut_until_boot_ns)) : -1;
  }
  std::pair<int, std::string> blocking(const std::string& where,
                                       std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"hosts", "block", host_id, "--destination", where};
    words.insert(words.end(), more.begin(), more.end());
    return ctl(words);
  }
  v1::Command block(char seed, std::uint32_t lease_s, const char* where = kPlace) {
    return block(std::string(32, seed), lease_s, where);
  }
  v1::Command block(const std::string& id, std::uint32_t lease_s, const std::string& where) {
    Body body;
    body.set_lease_s(lease_s);
    body.mutable_destination()->set_address(where);
    body.mutable_reason()->set_code("asked");
    body.mutable_reason()->add_args("admin");
    return signed_by_admin(Body::block_destination, id, body);
  }
  std::string refusal(const v1::Command& command) {
    const v1::CommandResult result = send(command);
    if (result.outcome() != v1::CommandResult::refused || result.why_size() != 1) return "";
    return result.why(0).code() + ": " + result.why(0).text();
  }
  std::string shown_health() { return ctl({"hosts", "health", host_id}).second; }
};

TEST_F(Blocked, by_weirctl_and_undone_by_it_and_everybody_is_told) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  ASSERT_EQ(connecting(), ENETUNREACH);
  auto start = Clock::now();
  ASSERT_EQ(blocking(kPlace, {"--for", "1h", "--reason", "a leak"}).first, 0) << said();
  std::printf("weirctl hosts block took %.0f ms\n", seconds_since(start) * 1'000);
  EXPECT_EQ(connecting(), EPERM);
  EXPECT_EQ(connecting("192.0.2.8"), ENETUNREACH);
  EXPECT_EQ(connecting(kPlace6), EADDRNOTAVAIL) << "there is none of IPv6 to send from";
  const std::string health = shown_health();
  EXPECT_NE(health.find("BLOCKED 192.0.2.7 for everybody until"), std::string::npos) << health;
  EXPECT_NE(health.find("a leak"), std::string::npos) << health;
  EXPECT_NE(weir_status().find("BLOCKED by an administrator: 192.0.2.7 (nobody may send there)"),
            std::string::npos)
      << weir_status() << said();
  EXPECT_NE(weir_status().find("a leak"), std::string::npos);
  auto reported = [&] { return content(state() / "reports.jsonl"); };
  EXPECT_TRUE(
      soon([&] { return reported().find("host.blocked") != std::string::npos; }, kPatience_s))
      << reported();

  const auto shown = ctl({"hosts", "health", host_id, "-o", "json"}).second;
  const std::size_t at = shown.find("\"leases\":[{\"id\":\"");
  ASSERT_NE(at, std::string::npos) << shown;
  start = Clock::now();
  EXPECT_EQ(ctl({"hosts", "undo", host_id, shown.substr(at + 17, 32)}).first, 0) << said();
  std::printf("weirctl hosts undo took %.0f ms\n", seconds_since(start) * 1'000);
  EXPECT_EQ(connecting(), ENETUNREACH);
  EXPECT_EQ(weir_status().find("BLOCKED"), std::string::npos);
  ASSERT_TRUE(soon(
      [&] {
        const auto records = audited();
        return std::ranges::any_of(records, [](const auto& one) {
          return one.verb() == Body::block_destination &&
                 one.outcome() == v1::CommandResult::done && one.asked() == "admin: a leak";
        });
      },
      kPatience_s))
      << said();
}

TEST_F(Blocked, as_a_prefix_for_somebody_and_where_two_overlap_each_ends_for_itself) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  ASSERT_EQ(send(block('a', 3'600, "2001:db8:7::/48")).outcome(), v1::CommandResult::done);
  EXPECT_EQ(connecting(kPlace6), EPERM);
  EXPECT_EQ(connecting("2001:db8:8::7"), EADDRNOTAVAIL);
  ASSERT_EQ(blocking("192.0.0.0/8", {"--person", "4242"}).first, 0) << said();
  EXPECT_EQ(connecting(), ENETUNREACH) << "another person's";
  EXPECT_NE(shown_health().find("BLOCKED 192.0.0.0/8 for "), std::string::npos) << shown_health();
  EXPECT_NE(weir_status().find("192.0.0.0/8 (not user 4242 may send there)"), std::string::npos)
      << weir_status();
  ASSERT_EQ(send(block('b', 3'600, "192.0.2.0/24")).outcome(), v1::CommandResult::done);
  ASSERT_EQ(send(block('c', 3'600)).outcome(), v1::CommandResult::done);
  EXPECT_EQ(connecting(), EPERM);
  ASSERT_EQ(undone('d', 'c').outcome(), v1::CommandResult::done) << said();
  EXPECT_EQ(connecting(), EPERM) << "the wider one holds";
  ASSERT_EQ(undone('e', 'b').outcome(), v1::CommandResult::done) << said();
  EXPECT_EQ(connecting(), ENETUNREACH);
  EXPECT_EQ(undone('f', 'b').why(0).code(), "command_no_lease");
  EXPECT_EQ(connecting(kPlace6), EPERM);
}

TEST_F(Blocked, outlives_guard_and_agent_and_the_pins) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  ASSERT_EQ(send(block('a', 3'600)).outcome(), v1::CommandResult::done) << said();
  int tries = 0;
  for (int n = 0; n < 3; ++n) {
    const pid_t pid = guard();
    ASSERT_GT(pid, 0);
    ::kill(pid, SIGKILL);
    while (guard() == pid || guard() == 0) {
      ++tries;
      ASSERT_EQ(connecting(), EPERM) << "after " << tries;
    }
  }
  std::printf("3 kills of the guard, %d connects meanwhile\n", tries);
  ASSERT_TRUE(soon([&] { return answers(); }, kPatience_s)) << said();
  EXPECT_EQ(connecting(), EPERM);

  // Stopped in order, under a policy that holds nothing on: a block does.
  agent.end(SIGTERM);
  EXPECT_EQ(connecting(), EPERM);
  // As after a reboot: no pin is left, and the file is of another boot.
  ASSERT_EQ(::umount2((base / "bpf").c_str(), MNT_DETACH), 0);
  ASSERT_TRUE(soon([&] { return connecting() == ENETUNREACH; }, kPatience_s));
  as_after_a_reboot(1'800);
  ASSERT_EQ(::mount("weir-fleet", (base / "bpf").c_str(), "bpf", 0, "mode=700"), 0);
  start_agent();
  ASSERT_TRUE(soon([&] { return connecting() == EPERM; }, kPatience_s)) << said();
  ASSERT_TRUE(soon([&] { return answers(); }, kPatience_s)) << said();
  EXPECT_GT(left_s(), 1'500);
  EXPECT_LE(left_s(), 1'801) << "the rest of it, not a lease anew";
  ASSERT_TRUE(
      soon([&] { return undone('b', 'a').outcome() == v1::CommandResult::done; }, kPatience_s))
      << said();
  EXPECT_EQ(connecting(), ENETUNREACH);
}

TEST_F(Blocked, all_that_can_be_in_force_at_once_is_told_and_ended_by_its_id) {
  std::ofstream(base / "policy.yaml")
      << "apiVersion: weir/v1\nname: bounded\nmode: enforce\non_exit: release\nrules:\n"
         "  - id: all\n    when: {trust: unknown}\n    then: {limit: {bytes: 1MiB, per: person}}\n";
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  ASSERT_EQ(ctl({"policy", "publish", base / "policy.yaml", "--group", "desks", "--wait"}).first, 0)
      << said();
  std::vector<std::string> ids;
  const auto next_id = [&] { return ids.emplace_back(fmt::format("{:032x}", ids.size() + 1)); };
  Body isolated;
  isolated.set_lease_s(3'600);
  ASSERT_EQ(send(signed_by_admin(Body::isolate, next_id(), isolated)).outcome(),
            v1::CommandResult::done);
  for (std::size_t n = 0; n < kMaxShuts; ++n)
    ASSERT_EQ(send(block(next_id(), 3'600, fmt::format("192.0.2.{}", n + 1))).outcome(),
              v1::CommandResult::done)
        << said();
  for (std::size_t n = 0; n < kMaxExceptions; ++n)
    ASSERT_EQ(send(excepted(next_id(), fmt::format("198.51.100.{}", n + 1))).outcome(),
              v1::CommandResult::done)
        << said();
  EXPECT_EQ(refusal(block(std::string(32, 'e'), 3'600, "192.0.2.99")).substr(0, 19),
            "command_blocks_full");
  EXPECT_EQ(send(excepted('f')).why(0).code(), "command_exceptions_full");
  const auto told = ctl({"hosts", "health", host_id, "-o", "json"}).second;
  for (const std::string& id : ids)
    EXPECT_NE(told.find("{\"id\":\"" + id + "\""), std::string::npos) << id << told;
  for (const std::string& id : {ids.back(), ids[kMaxShuts], ids.front()})
    EXPECT_EQ(ctl({"hosts", "undo", host_id, id}).first, 0) << id << said();
  const auto rest = ctl({"hosts", "health", host_id, "-o", "json"}).second;
  for (const std::string& id : {ids.back(), ids[kMaxShuts], ids.front()})
    EXPECT_EQ(rest.find(id), std::string::npos) << id << rest;
}

TEST_F(Blocked, ends_by_itself_and_is_not_brought_back_by_its_command) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  const v1::Command command = block('c', 6);
  ASSERT_EQ(send(command).outcome(), v1::CommandResult::done) << said();
  ASSERT_EQ(connecting(), EPERM);
  ASSERT_TRUE(soon([&] { return connecting() == ENETUNREACH; }, 60));
  collector->program.end(SIGKILL);
  {
    auto db = Database::open(collector->data / "store.db", Database::Mode::write);
    ASSERT_TRUE(db);
    ASSERT_TRUE(db->run("DELETE FROM commands"));
  }
  collector->start();
  v1::CommandResult again;
  ASSERT_TRUE(soon([&] { return (again = send(command)).outcome() == v1::CommandResult::done; },
                   kPatience_s))
      << said();
  ASSERT_EQ(again.why_size(), 1);
  EXPECT_EQ(again.why(0).code(), "command_done_before");
  EXPECT_EQ(connecting(), ENETUNREACH);
}

TEST_F(Blocked, never_the_loopback_by_which_this_host_has_its_collector_nor_for_too_long) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  EXPECT_EQ(refusal(block('a', 60, "127.0.0.1")),
            "command_never_blocked: This place is never blocked: 127.0.0.1 is within 127.0.0.0/8, "
            "which is this host itself. Nothing was done.");
  EXPECT_EQ(refusal(block('b', 60, "127.0.0.0/8")).substr(0, 21), "command_never_blocked");
  EXPECT_EQ(blocking("localhost").first, 1);
  EXPECT_EQ(refusal(block('d', 7 * 86'400 + 1)).substr(0, 20), "command_over_ceiling");
  EXPECT_EQ(blocking(kPlace, {"--for", "8d"}).first, 1);
  EXPECT_EQ(blocking("0.0.0.0/0").first, 2);
  EXPECT_EQ(blocking("co.uk").first, 2);
  EXPECT_EQ(connecting(), ENETUNREACH);
  EXPECT_EQ(shown_health().find("BLOCKED"), std::string::npos);
}

}  // namespace
}  // namespace weir
