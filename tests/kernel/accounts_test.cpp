// Accounts: all rows or none, windows, rows that only observe, a full table, prefixes,
// acknowledgements.
#include <bpf/bpf.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kRoomy = std::uint64_t{1} << 40;

class Accounts : public KernelTest {
 protected:
  static int shell(const std::string& command) {
    return WEXITSTATUS(std::system((command + " 2>/dev/null").c_str()));
  }
  static std::uint64_t retransmitted() {  // segments, of this network namespace
    std::ifstream snmp("/proc/self/net/snmp");
    std::string line, field;
    for (int tcp = 0; std::getline(snmp, line);) {
      if (!line.starts_with("Tcp:") || ++tcp != 2) continue;
      std::istringstream fields(line);
      for (int i = 0; i < 13; i++) fields >> field;  // RetransSegs
    }
    return std::stoull(field);
  }
};

TEST_F(Accounts, a_refused_packet_is_charged_to_no_row) {
  k->load({limit_row(kRoomy, 0, WEIR_PER_TREE), limit_row(kRoomy, 10 * kSecond, WEIR_PER_PERSON),
           limit_row(300'001, 0, WEIR_PER_HOST)});
  k->desk.start(udp({"--shape", "forks", "--count", "8"}), "a");
  k->desk.start(udp({"--shape", "forks", "--count", "8"}), "b");
  await([&] { return k->accounts_of(0).size() == 2; }, within(3000));
  k->desk.settled(milliseconds(500), milliseconds(3000));
  k->desk.end_all();
  std::uint64_t words = 0;
  EXPECT_EQ(k->accounts_of(0).size(), 2u);
  for (const auto& a : k->accounts_of(0)) words += a.value.word;
  EXPECT_EQ(k->charged(0), k->charged(2));
  EXPECT_EQ(k->charged(1), k->charged(2));
  EXPECT_EQ(words, k->charged(2)) << "the undo is exact";
  EXPECT_LE(k->charged(2), 300'001u);
  EXPECT_GT(k->charged(2), 300'001u - 1028);
  EXPECT_GT(k->accounts_of(2)[0].value.refused, 0u);
  EXPECT_EQ(k->charged(2) % 1028, 0u) << "1000 bytes and 28 of header each";
  EXPECT_LE(k->desk.received(), k->charged(2));
}

TEST_F(Accounts, a_refused_packet_gives_a_window_back_what_it_took) {
  // Row 0 is full again after each undo: its word never runs ahead of what was charged.
  k->load(
      {limit_row(2'000'000, 4000 * kSecond, WEIR_PER_TREE), limit_row(50'000, 0, WEIR_PER_HOST)});
  k->desk.start(udp({"--shape", "forks", "--count", "4"}));
  k->desk.settled(milliseconds(800), milliseconds(3000));
  k->desk.end_all();
  ASSERT_EQ(k->accounts_of(0).size(), 1u);
  weir_limit row = limit_row(2'000'000, 4000 * kSecond, WEIR_PER_TREE);
  KernelAccount a = k->accounts_of(0)[0];
  EXPECT_EQ(a.value.charged, k->charged(1));
  // In units of the word: charged so far, less at most what refilled since the first packet.
  std::uint64_t most = boot_now() * 16 + a.value.charged * row.ns_per_byte_q4;
  EXPECT_LE(a.value.word, most);
  EXPECT_GE(a.value.word, most - 20ull * kSecond * 16 * static_cast<unsigned>(scale()));
}

TEST_F(Accounts, eight_rows_may_count_for_a_packet_and_nine_refuse_it) {
  std::vector<weir_limit> rows(8, limit_row(kRoomy, 0, WEIR_PER_HOST));
  k->load(rows);
  k->desk.finish(k->desk.start(tcp({"--bytes", "5000"})));
  EXPECT_TRUE(await([&] { return k->desk.received() == 5000; }, within(2000)));
  for (std::uint32_t row = 0; row < 8; row++) EXPECT_EQ(k->charged(row), 5000u);
  rows.push_back(limit_row(kRoomy, 0, WEIR_PER_HOST));
  ASSERT_TRUE(k->part->set_limits(rows));
  weir_state state = k->part->state();
  state.unclassified = 0x1ff;
  state.generation++;
  ASSERT_TRUE(k->part->set_state(state));
  k->desk.finish(k->desk.start(udp({"--bytes", "5000", "--ms", "300"})));
  EXPECT_EQ(k->desk.received(), 5000u);
  EXPECT_GT(k->count(WEIR_COUNT_TOO_MANY_LIMITS), 0u);
  for (std::uint32_t row = 0; row < 8; row++) EXPECT_EQ(k->charged(row), 5000u) << "undone";
}

TEST_F(Accounts, no_window_passes_more_than_its_number) {
  constexpr std::uint64_t kBytes = 256 << 10;
  constexpr std::uint64_t kWindow = 2 * kSecond;
  k->load({limit_row(kBytes, kWindow, WEIR_PER_TREE)});
  k->desk.start(udp({"--ms", "7000"}));
  struct Sample {
    std::uint64_t before, after, charged;
  };
  std::vector<Sample> samples;
  std::uint64_t end = boot_now() + 6 * kSecond;
  while (boot_now() < end) {
    Sample s{boot_now(), 0, k->charged(0)};
    s.after = boot_now();
    samples.push_back(s);
    usleep(5000);
  }
  std::uint64_t most = 0;
  for (std::size_t i = 0; i < samples.size(); i++)
    for (std::size_t j = i; j < samples.size() && samples[j].after - samples[i].before <= kWindow;
         j++)
      most = std::max(most, samples[j].charged - samples[i].charged);
  std::uint64_t total = samples.back().charged;
  fmt::print("window of 2 s: number {} most in any window {} in 6 s {}\n", kBytes, most, total);
  EXPECT_LE(most, kBytes);
  EXPECT_GE(most, kBytes * 3 / 4) << "the burst and what refills in one window";
  EXPECT_GE(total, kBytes / 2 + kBytes / 2 * 2) << "it refills: burst and at least 2 of 3 windows";
  EXPECT_LE(k->desk.received(), k->charged(0));
}

// Nobody waits for a week: its word is put back by the time that is to have passed.
TEST_F(Accounts, a_window_of_an_hour_a_day_and_a_week_gives_back_what_its_time_says) {
  constexpr std::uint64_t kBurst = 200'000;
  KernelOptions options;
  options.pin_dir = k->desk.pin_dir();
  k->load({}, options);
  const std::string pin =
      options.pin_dir + "/weir/" + std::to_string(WEIR_LAYOUT) + "/maps/accounts";
  const int table = bpf_obj_get(pin.c_str());
  ASSERT_GE(table, 0);
  weir_state state{};
  for (const std::int64_t hours : {1, 24, 7 * 24}) {
    SCOPED_TRACE(hours);
    const std::int64_t window = hours * 3600 * kSecond;
    const weir_limit row = limit_row(2 * kBurst, window, WEIR_PER_HOST);
    EXPECT_EQ(row.bytes, kBurst);
    EXPECT_GE(row.ns_per_byte_q4 * kBurst, static_cast<std::uint64_t>(window) * 16);
    EXPECT_LT(row.ns_per_byte_q4 * kBurst, static_cast<std::uint64_t>(window) * 16 + kBurst);
    ASSERT_TRUE(k->part->forget_accounts_of_row(0));
    ASSERT_TRUE(k->part->set_limits(std::vector<weir_limit>{row}));
    state.unclassified = 1;
    state.generation++;
    ASSERT_TRUE(k->part->set_state(state));
    const std::uint64_t begin = boot_now();
    // What refills by itself while the test runs.
    const auto slack = [&] { return (boot_now() - begin) * 16 / row.ns_per_byte_q4 + 1; };
    k->desk.start(udp({"--ms", "600000", "--pace", "2000"}));
    k->desk.start({"--to", kPeer6, "--udp", "--size", "1000", "--ms", "600000", "--pace", "2000"});
    EXPECT_TRUE(await([&] { return k->charged(0) > kBurst - 1048; }, within(5000)));
    EXPECT_LE(k->charged(0), kBurst + slack());
    // A quarter of the window later there is a quarter of the burst, and nothing more.
    std::vector<KernelAccount> accounts = k->accounts_of(0);
    ASSERT_EQ(accounts.size(), 1u);
    accounts[0].value.word -= static_cast<std::uint64_t>(window) / 4 * 16;
    ASSERT_EQ(bpf_map_update_elem(table, &accounts[0].key, &accounts[0].value, BPF_EXIST), 0);
    EXPECT_TRUE(await([&] { return k->charged(0) > kBurst * 5 / 4 - 1048; }, within(5000)));
    k->desk.settled(milliseconds(300), milliseconds(1500));
    EXPECT_LE(k->charged(0), kBurst * 5 / 4 + slack());
    k->desk.end_all();
    fmt::print("{} h: {} at once, then {} after a quarter of it\n", hours, kBurst,
               k->charged(0) - kBurst);
  }
  close(table);
  k->events.reset();
  k->part.reset();
  EXPECT_TRUE(KernelPart::release(options.pin_dir));
}

// By /24 and /48, where nothing names them.
TEST_F(Accounts, addresses_of_one_network_are_one_destination) {
  constexpr std::uint64_t kNamed = 30'000;
  const struct {
    const char *first, *same, *other;
    int length;
  } networks[] = {{kPeer4, "10.77.0.3", kOther4, 24}, {kPeer6, "fd77:0:0:5::2", "fd77:0:1::2", 64}};
  const auto set_up = [&](const std::string& address, int length) {
    std::string here = address;
    here.back() = '1';
    const std::string words = "/" + std::to_string(length) + " dev ";
    const std::string quickly = address.find(':') != std::string::npos ? " nodad" : "";
    return shell("ip addr replace " + here + words + "desk0" + quickly) == 0 &&
           shell(k->desk.at_peer() + "ip addr replace " + address + words + "peer0" + quickly) ==
               0 &&
           shell("ip neigh replace " + address +
                 " lladdr 02:00:00:00:77:02 dev desk0 nud permanent") == 0 &&
           shell(k->desk.at_peer() + "ip neigh replace " + here +
                 " lladdr 02:00:00:00:77:01 dev peer0 nud permanent") == 0;
  };
  k->load({limit_row(kNamed / 3 * 4, 0, WEIR_PER_PERSON_DEST)});
  for (const auto& [first, same, other, length] : networks) {
    SCOPED_TRACE(first);
    ASSERT_TRUE(set_up(same, length) && set_up(other, length));
    const auto flood = [&](const char* to) {
      const std::uint64_t before = k->charged(0);
      k->desk.finish(k->desk.start({"--to", to, "--udp", "--size", "1000", "--bytes", "60000",
                                    "--ms", std::to_string(1000 * scale())}));
      return k->charged(0) - before;
    };
    const std::size_t before = k->accounts_of(0).size();
    const std::uint64_t sent = flood(first);
    EXPECT_LE(sent, kNamed);
    ASSERT_GT(sent, kNamed - 1048);
    EXPECT_EQ(flood(same), 0u) << "it is spent for all of the network";
    EXPECT_EQ(k->accounts_of(0).size(), before + 1);
    const std::uint64_t elsewhere = flood(other);
    EXPECT_GT(elsewhere, 0u) << "another network has its own";
    EXPECT_LE(elsewhere, kNamed);
    EXPECT_EQ(k->accounts_of(0).size(), before + 2);
    EXPECT_EQ(default_destination(*IpAddress::parse(first)),
              default_destination(*IpAddress::parse(same)));
    EXPECT_NE(default_destination(*IpAddress::parse(first)),
              default_destination(*IpAddress::parse(other)));
  }
}

TEST_F(Accounts, a_row_that_observes_never_refuses_and_tells) {
  k->load({limit_row(64 << 10, 0, WEIR_PER_TREE, WEIR_LIMIT_OBSERVE)});
  pid_t pid = k->desk.start(tcp({"--bytes", "500000"}));
  EXPECT_EQ(k->desk.finish(pid).status, 0);
  EXPECT_TRUE(await([&] { return k->desk.received() == 500'000; }, within(3000)))
      << k->desk.received();
  EXPECT_EQ(k->charged(0), 500'000u);
  std::vector<weir_refused> told;
  k->part->poll_told([&](const weir_refused& r) { told.push_back(r); });
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told[0].account.limit, 0u);
  EXPECT_EQ(told[0].tuple.remote_port, k->desk.port());
  EXPECT_EQ(k->count(WEIR_COUNT_REFUSED_PACKETS), 0u);
}

TEST_F(Accounts, a_full_table_gives_all_others_one_account_and_lets_approved_pass) {
  KernelOptions options;
  options.max_accounts = 2;  // one, and the one for all others
  k->load({limit_row(20'000, 0, WEIR_PER_TREE)}, options);
  weir_prefix approved{};
  approved.final = 1;
  ASSERT_TRUE(k->part->put_prefix(*Prefix::parse("10.78.0.0/24"), approved));
  k->desk.finish(k->desk.start(tcp({"--bytes", "1000"}), "a"));
  EXPECT_TRUE(await([&] { return k->desk.received() == 1000; }, within(2000)));
  std::uint64_t before = k->desk.received();
  for (int tree = 0; tree < 3; tree++)  // each would have 20,000 of its own
    k->desk.finish(k->desk.start(udp({"--bytes", "15000", "--ms", "300"}), "b"));
  EXPECT_LE(k->desk.received() - before, 20'000u) << "they share one number";
  EXPECT_GT(k->desk.received() - before, 17'000u);
  EXPECT_EQ(k->overflow(0, WEIR_PER_TREE).charged, 19u * 1028);
  EXPECT_GT(k->overflow(0, WEIR_PER_TREE).refused, 0u);
  EXPECT_GE(k->count(WEIR_COUNT_ACCOUNTS_FULL), 19u);
  before = k->desk.received();
  k->desk.finish(k->desk.start({"--to", kOther4, "--bytes", "70000"}, "b"));
  EXPECT_TRUE(await([&] { return k->desk.received() == before + 70'000; }, within(2000)))
      << k->desk.received();
}

TEST_F(Accounts, a_full_table_undoes_exactly_and_gives_a_window_back_no_more_than_it_took) {
  KernelOptions options;
  options.max_accounts = 3;  // an account for all others of each row, and one
  k->load(
      {limit_row(2'000'000, 4000 * kSecond, WEIR_PER_TREE), limit_row(50'000, 0, WEIR_PER_TREE)},
      options);
  k->desk.start(udp({"--shape", "forks", "--count", "4"}), "a");
  k->desk.start(udp({"--shape", "forks", "--count", "4"}), "b");
  k->desk.settled(milliseconds(800), milliseconds(3000));
  k->desk.end_all();
  const weir_account shared = k->overflow(1, WEIR_PER_TREE);
  EXPECT_EQ(shared.word, shared.charged);
  EXPECT_LE(k->desk.received(), k->charged(0) + k->overflow(0, WEIR_PER_TREE).charged);
  EXPECT_EQ(k->charged(0) + k->overflow(0, WEIR_PER_TREE).charged, k->charged(1) + shared.charged);
  EXPECT_LE(k->charged(1) + shared.charged, 100'000u);
  EXPECT_GT(shared.refused, 0u);
}

TEST_F(Accounts, a_prefix_chooses_the_rows_and_the_destination) {
  k->load({limit_row(kRoomy, 0, WEIR_PER_PERSON), limit_row(100'000, 0, WEIR_PER_PERSON_DEST)});
  weir_prefix known{};
  known.final = 1;
  known.limits = 2;
  known.dest = 777;
  ASSERT_TRUE(k->part->put_prefix(*Prefix::parse("10.78.0.0/24"), known));
  k->desk.start({"--to", kOther4, "--udp", "--size", "1000", "--ms", "1000"});
  k->desk.settled(milliseconds(300), milliseconds(2000));
  EXPECT_EQ(k->charged(0), 0u);
  auto accounts = k->accounts_of(1);
  ASSERT_EQ(accounts.size(), 1u);
  EXPECT_EQ(accounts[0].key.dest, 777u);
  EXPECT_EQ(accounts[0].value.charged, 75'000u / 1028 * 1028) << "the rest is for unnamed flows";
  // Elsewhere the destination is the /24.
  k->desk.finish(k->desk.start(tcp({"--bytes", "5000"})));
  EXPECT_TRUE(await([&] { return k->charged(0) == 5000; }, within(2000)));
  bool found = false;
  for (const auto& a : k->accounts_of(1))
    found = found || a.key.dest == default_destination(*IpAddress::parse(kPeer4));
  EXPECT_TRUE(found);
}

TEST_F(Accounts, a_retransmission_is_free) {
  k->load({limit_row(kRoomy, 0, WEIR_PER_TREE)});
  std::uint64_t before = k->desk.received(kLossyPort), sent_again = retransmitted(), sent = 0;
  // Which packets are lost is chance: flow after flow, until some were.
  for (int flow = 0; flow < 40 && retransmitted() < sent_again + 3; flow++) {
    k->desk.start(tcp({"--shape", "stay", "--bytes", "200000", "--ms", "20000", "--port",
                       std::to_string(kLossyPort)}));
    sent += 200'000;
    ASSERT_TRUE(await([&] { return k->desk.received(kLossyPort) == before + sent; }, within(10000)))
        << k->desk.received(kLossyPort) - before;
  }
  EXPECT_GE(retransmitted(), sent_again + 3);
  EXPECT_EQ(k->charged(0), sent);
}

TEST_F(Accounts, data_in_a_fast_open_syn_is_charged_once) {
  k->load({limit_row(kRoomy, 0, WEIR_PER_TREE)});
  ASSERT_EQ(shell("echo 1543 > /proc/sys/net/ipv4/tcp_fastopen"), 0);  // no cookie asked for
  pid_t pid = k->desk.start(tcp({"--fast-open", "--size", "1000", "--bytes", "50000"}));
  EXPECT_TRUE(await([&] { return k->desk.received() == 50'000; }, within(4000)));
  Outcome o = k->desk.finish(pid);
  EXPECT_NE(o.output.find("fast open took 1000"), std::string::npos) << o.output;
  EXPECT_EQ(k->charged(0), 50'000u);
}

TEST_F(Accounts, that_equal_fresh_ones_or_that_nobody_can_reach_are_forgotten_when_idle) {
  k->load({limit_row(100'000, 0, WEIR_PER_PERSON), limit_row(kRoomy, kSecond, WEIR_PER_PERSON_DEST),
           limit_row(kRoomy, 0, WEIR_PER_TREE), limit_row(100'000, 4000 * kSecond, WEIR_PER_HOST)});
  pid_t stays = k->desk.start(tcp({"--shape", "stay", "--bytes", "1000", "--ms", "20000"}), "a");
  k->desk.finish(k->desk.start(tcp({"--bytes", "1000"}), "b"));
  EXPECT_TRUE(await([&] { return k->desk.received() == 2000; }, within(3000)));
  EXPECT_EQ(k->part->forget_idle_accounts(boot_now(), 1), 0u) << "seen for the first time";
  EXPECT_EQ(k->accounts_of(2).size(), 2u);
  std::uint64_t later = boot_now() + 10 * kSecond;
  EXPECT_EQ(k->part->forget_idle_accounts(later, kSecond), 2u);
  EXPECT_EQ(k->accounts_of(0).size(), 1u) << "a total stays";
  EXPECT_EQ(k->accounts_of(1).size(), 0u) << "a window that is full again";
  ASSERT_EQ(k->accounts_of(2).size(), 1u) << "the tree that ended";
  EXPECT_EQ(k->accounts_of(2)[0].key.who, k->part->task(static_cast<std::uint32_t>(stays))->tree);
  EXPECT_EQ(k->accounts_of(3).size(), 1u) << "a window that is not full yet";
}

TEST_F(Accounts, a_verdict_is_taken_also_after_more_verdicts_than_the_table_holds) {
  k->load({limit_row(kRoomy, 0, WEIR_PER_PERSON), limit_row(kRoomy, 0, WEIR_PER_HOST)});
  for (std::uint64_t n = 0; n < 70'000; n++)
    ASSERT_TRUE(k->part->put_verdict(1'000'000'000 + n, 1, 0));
  k->desk.start(udp({"--ms", "5000"}));
  std::vector<weir_head> heads;
  EXPECT_TRUE(await(
      [&] {
        heads = k->records<weir_head>(WEIR_REC_HEAD);
        return !heads.empty();
      },
      within(3000)));
  ASSERT_TRUE(k->part->put_verdict(heads.at(0).record.cookie, 1, 0));
  EXPECT_TRUE(await([&] { return k->charged(1) == 0 && k->charged(0) > 0; }, within(2000)));
}

TEST_F(Accounts, loopback_is_not_charged) {
  k->load({limit_row(1000, 0, WEIR_PER_HOST)});
  k->desk.finish(k->desk.start({"--to", "127.0.0.1", "--udp", "--bytes", "100000", "--ms", "300"}));
  EXPECT_EQ(k->charged(0), 0u);
}

TEST_F(Accounts, answers_to_datagrams_go_to_the_class_of_acknowledgements) {
  weir_state state{};
  state.unclassified = 1;
  state.acknowledgements = 2;
  k->load({limit_row(kRoomy, 0, WEIR_PER_TREE), limit_row(500, 0, WEIR_PER_TREE)}, {}, state);
  // 40 bytes and 28 of header; each is answered three times before the next one is sent.
  k->desk.start({"--shape", "ping", "--udp", "--to", kPeer4, "--port", std::to_string(kChattyPort),
                 "--size", "40", "--count", "20", "--ms", "3000"});
  EXPECT_TRUE(await([&] { return k->charged(0) + k->charged(1) == 20 * 68; }, within(3000)));
  EXPECT_EQ(k->charged(1), 7 * 68u) << "as long as that class has room";
  EXPECT_EQ(k->count(WEIR_COUNT_ACKNOWLEDGEMENTS), 7u);
}

}  // namespace
}  // namespace weir::test
