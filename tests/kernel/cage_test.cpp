// The uplink's cage: what its table names passes, everything else does not leave its cgroup.
#include "platform/linux/uplink_cage.h"

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

class Cage : public KernelTest {
 protected:
  CagePlace peer(const char* address, CagePlace::Protocol protocol = CagePlace::Protocol::tcp) {
    return {{*IpAddress::parse(address), static_cast<std::uint16_t>(k->desk.port())}, protocol};
  }
  void load(const std::vector<CagePlace>& places) {
    auto loaded = UplinkCage::load(k->desk.place("a"));
    ASSERT_TRUE(loaded) << loaded.error().sentence;
    cage.emplace(std::move(*loaded));
    auto allowed = cage->allow(places);
    ASSERT_TRUE(allowed) << allowed.error().sentence;
  }
  // What arrived of a thousand bytes sent there, beside what arrived before.
  std::uint64_t arrives(const char* address, bool udp, const std::string& place = "a") {
    const std::uint64_t before = k->desk.received();
    std::vector<std::string> arguments{"--to", address, "--bytes",
                                       "1000", "--ms",  std::to_string(400 * scale())};
    if (udp) arguments.insert(arguments.end(), {"--udp", "--size", "500"});
    k->desk.finish(k->desk.start(arguments, place));
    return k->desk.settled(milliseconds(150), milliseconds(1000)) - before;
  }
  std::optional<UplinkCage> cage;
};

TEST_F(Cage, only_the_collectors_address_and_port_pass) {
  load({peer(kPeer4)});
  EXPECT_EQ(arrives(kPeer4, false), 1000u);
  EXPECT_EQ(arrives(kPeer4, true), 0u) << "its datagrams don't";
  EXPECT_EQ(arrives(kOther4, false), 0u);
  EXPECT_EQ(arrives(kOther4, true), 0u);
  EXPECT_EQ(arrives(kPeer6, false), 0u);
  EXPECT_EQ(arrives(kPeer6, true), 0u);
  EXPECT_GT(cage->counters().dropped, 0u);
  EXPECT_GT(cage->counters().passed, 0u);
}

TEST_F(Cage, the_same_address_at_another_port_does_not_pass) {
  CagePlace other = peer(kPeer4);
  ++other.to.port;
  load({other});
  EXPECT_EQ(arrives(kPeer4, false), 0u);
}

TEST_F(Cage, ipv6_and_datagrams_pass_where_they_are_named) {
  load({peer(kPeer6), peer(kOther4, CagePlace::Protocol::udp)});
  EXPECT_EQ(arrives(kPeer6, false), 1000u);
  EXPECT_GT(arrives(kOther4, true), 0u);
  EXPECT_EQ(arrives(kOther4, false), 0u);
  EXPECT_EQ(arrives(kPeer4, false), 0u);
}

TEST_F(Cage, addresses_that_changed_are_shut) {
  load({peer(kPeer4)});
  ASSERT_TRUE(cage->allow({peer(kOther4)}));
  EXPECT_EQ(arrives(kPeer4, false), 0u);
  EXPECT_EQ(arrives(kOther4, false), 1000u);
}

TEST_F(Cage, holds_one_cgroup_and_no_other) {
  load({});
  EXPECT_EQ(arrives(kPeer4, false), 0u);
  EXPECT_EQ(arrives(kPeer4, false, "b"), 1000u);
}

TEST_F(Cage, what_it_lets_through_is_charged_to_nobody) {
  k->load({limit_row(300, 0, WEIR_PER_HOST)});
  ASSERT_TRUE(k->part->set_home(k->desk.place("a"), 0));
  load({peer(kPeer4)});
  EXPECT_EQ(arrives(kPeer4, false), 1000u);
  EXPECT_EQ(k->charged(0), 0u);
  EXPECT_LE(arrives(kOther4, true, "b"), 300u) << "others are bounded";
}

}  // namespace
}  // namespace weir::test
