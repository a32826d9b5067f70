// What a tree loses, and how promptly a socket ends.
#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kRoomy = std::uint64_t{1} << 40;

class Block : public KernelTest {
 protected:
  std::uint64_t tree_of(pid_t pid) {
    std::uint64_t tree = 0;
    await(
        [&] {
          auto t = k->part->task(static_cast<std::uint32_t>(pid));
          if (t) tree = t->tree;
          return tree != 0;
        },
        within(2000));
    return tree;
  }
  std::vector<std::string> query(int wait_ms) {
    return {"--udp", "--to",    kPeer4, "--port",  "53",     "--size",
            "60",    "--bytes", "60",   "--reply", "--wait", std::to_string(wait_ms * scale())};
  }
};

TEST_F(Block, of_dns_takes_port_53_from_one_tree_only) {
  k->load({limit_row(kRoomy, 0, WEIR_PER_PERSON)});
  pid_t tunnel = k->desk.start(query(500), "a");
  pid_t other = k->desk.start(query(500), "b");
  pid_t web = k->desk.start({"--to", kPeer4, "--bytes", "1000", "--wait", "500"}, "a");
  std::uint64_t before = k->desk.received(53);
  ASSERT_TRUE(k->part->put_block(tree_of(tunnel), WEIR_TARGET_DNS, boot_now() + 60 * kSecond));
  ASSERT_TRUE(k->part->put_block(tree_of(web), WEIR_TARGET_DNS, boot_now() + 60 * kSecond));
  Outcome blocked = k->desk.finish(tunnel);
  EXPECT_EQ(blocked.status, 3);
  EXPECT_NE(blocked.output.find("Operation not permitted"), std::string::npos) << blocked.output;
  EXPECT_EQ(k->desk.finish(other).status, 0);
  EXPECT_EQ(k->desk.finish(web).status, 0);
  EXPECT_TRUE(await([&] { return k->desk.received() == 1000; }, within(1000)));
  EXPECT_TRUE(await([&] { return k->desk.received(53) == before + 60; }, within(1000)));
  // The query and its answer are in the ring, with their process.
  int out = 0, in = 0;
  for (const auto& h : k->records<weir_head>(WEIR_REC_HEAD))
    if (h.record.pid == static_cast<std::uint32_t>(other)) (h.incoming ? in : out)++;
  EXPECT_EQ(out, 1);
  EXPECT_EQ(in, 1);
}

TEST_F(Block, of_dns_holds_on_loopback_and_for_sockets_that_are_open) {
  k->load({limit_row(kRoomy, 0, WEIR_PER_PERSON)});
  pid_t pid = k->desk.start({"--shape", "socket_first", "--udp", "--to", kPeer4, "--port", "53",
                             "--size", "60", "--ms", "300"});
  pid_t local = k->desk.start({"--udp", "--to", "127.0.0.1", "--port", "53", "--size", "60",
                               "--wait", std::to_string(400 * scale()), "--bytes", "60"});
  k->desk.await_line(pid, "ready");
  std::uint64_t before = k->desk.received(53);
  ASSERT_TRUE(k->part->put_block(tree_of(pid), WEIR_TARGET_DNS, boot_now() + 60 * kSecond));
  ASSERT_TRUE(k->part->put_block(tree_of(local), WEIR_TARGET_DNS, boot_now() + 60 * kSecond));
  k->desk.write_line(pid);
  k->desk.finish(pid);
  EXPECT_EQ(k->desk.received(53), before);
  EXPECT_EQ(k->desk.finish(local).status, 3);
  EXPECT_GT(k->count(WEIR_COUNT_BLOCKED), 0u);
}

TEST_F(Block, ends_by_itself) {
  k->load({limit_row(kRoomy, 0, WEIR_PER_PERSON)});
  pid_t pid = k->desk.start(udp({"--ms", "3000", "--wait", "300"}));
  std::uint64_t end = boot_now() + kSecond * static_cast<unsigned>(scale());
  ASSERT_TRUE(k->part->put_block(tree_of(pid), WEIR_TARGET_EVERYTHING, end));
  EXPECT_EQ(k->part->state().blocks, 1u);
  while (boot_now() < end - kSecond / 10) {
    EXPECT_EQ(k->desk.received(), 0u);
    usleep(20'000);
  }
  k->desk.finish(pid);  // its connect() was refused
  usleep(200'000);
  EXPECT_EQ(k->part->expire_blocks(boot_now()), 1u);
  EXPECT_EQ(k->part->state().blocks, 0u);
  EXPECT_EQ(k->desk.finish(k->desk.start(udp({"--bytes", "1000"}))).status, 0);
  EXPECT_TRUE(await([&] { return k->desk.received() == 1000; }, within(1000)));
}

TEST_F(Block, of_a_destination_leaves_the_others) {
  k->load({limit_row(kRoomy, 0, WEIR_PER_PERSON)});
  pid_t pid = k->desk.start(
      {"--shape", "socket_first", "--udp", "--to", kPeer4, "--size", "100", "--ms", "300"});
  k->desk.await_line(pid, "ready");
  ASSERT_TRUE(k->part->put_block(tree_of(pid), default_destination(*IpAddress::parse(kPeer4)),
                                 boot_now() + 60 * kSecond));
  k->desk.write_line(pid);
  k->desk.finish(pid);
  EXPECT_EQ(k->desk.received(), 0u);
  pid_t other = k->desk.start({"--to", kOther4, "--bytes", "1000"});
  k->desk.finish(other);
  EXPECT_TRUE(await([&] { return k->desk.received() == 1000; }, within(1000)));
}

TEST_F(Block, a_destroyed_socket_fails_at_once_and_its_queue_is_gone) {
  k->load({limit_row(100'000, 0, WEIR_PER_TREE)});
  pid_t pid = k->desk.start(tcp({"--ms", "20000"}));
  std::vector<weir_refused> told;
  EXPECT_TRUE(await(
      [&] {
        k->part->poll_told([&](const weir_refused& r) { told.push_back(r); });
        return !told.empty();
      },
      within(3000)));
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told[0].record.pid, static_cast<std::uint32_t>(pid));
  EXPECT_EQ(told[0].account.per, WEIR_PER_TREE + 0u);
  auto begin = boot_now();
  auto destroyed = destroy_socket(told[0].tuple, told[0].record.cookie);
  ASSERT_TRUE(destroyed) << destroyed.error().sentence;
  Outcome outcome = k->desk.finish(pid);
  auto took_ms = (boot_now() - begin) / 1'000'000;
  fmt::print("socket destroyed, client ended after {} ms\n", took_ms);
  EXPECT_LT(took_ms, 200u * static_cast<unsigned>(scale()));
  EXPECT_NE(outcome.output.find("send: "), std::string::npos) << outcome.output;
  EXPECT_FALSE(destroy_socket(told[0].tuple, told[0].record.cookie)) << "it is gone";
  k->part.reset();  // nothing bounds it any more, and nothing comes
  usleep(300'000);
  EXPECT_LE(k->desk.received(), 100'000u);
}

TEST_F(Block, an_ipv6_socket_is_destroyed_as_well) {
  k->load({limit_row(100'000, 0, WEIR_PER_TREE)});
  pid_t pid = k->desk.start({"--to", kPeer6, "--ms", std::to_string(20'000)});
  std::vector<weir_refused> told;
  ASSERT_TRUE(await(
      [&] {
        k->part->poll_told([&](const weir_refused& r) { told.push_back(r); });
        return !told.empty();
      },
      within(3000)));
  auto destroyed = destroy_socket(told[0].tuple, told[0].record.cookie);
  ASSERT_TRUE(destroyed) << destroyed.error().sentence;
  EXPECT_EQ(k->desk.finish(pid).status, 3);
  EXPECT_LE(k->desk.received(), 100'000u);
}

TEST_F(Block, every_socket_that_is_refused_is_told) {
  k->load({limit_row(10'000, 0, WEIR_PER_TREE)});
  k->desk.start(tcp({"--count", "20", "--ms", "20000"}));
  std::vector<std::uint64_t> cookies;
  await(
      [&] {
        k->part->poll_told([&](const weir_refused& r) { cookies.push_back(r.record.cookie); });
        return cookies.size() >= 20;
      },
      within(3000));
  std::sort(cookies.begin(), cookies.end());
  cookies.erase(std::unique(cookies.begin(), cookies.end()), cookies.end());
  EXPECT_EQ(cookies.size(), 20u);
}

}  // namespace
}  // namespace weir::test
