// A list of known domains as long as a policy may have, from weirctl to a real desk: it comes into
// force there, and is still in force after the agent was started anew.
#include "core/policy/known_names.h"
#include "tests/e2e/fleet/commanded.h"

namespace weir {
namespace {

class LongList : public Commanded {
 protected:
  void publish_list() {
    {
      std::ofstream list(base / "popular.txt");
      list << "# as long as it may be\n";
      for (std::size_t bytes = 0, n = 0; bytes + 17 <= kMaxKnownBytes; bytes += 17)
        list << fmt::format("place{:07}.com\n", n++);
    }
    std::ofstream(base / "policy.yaml")
        << "apiVersion: weir/v1\nname: bound\nmode: enforce\non_exit: release\n"
           "networks: {office: {interface: tun0}}\n"
           "resolvers: [{address: 10.0.0.53, via: office}]\n"
           "destinations: {known: [{list: popular.txt}]}\nrules:\n"
           "  - id: all\n    when: {trust: unknown}\n    then: {limit: {bytes: 1MiB, per: "
           "person}}\n";
    ASSERT_EQ(ctl({"policy", "publish", base / "policy.yaml", "--group", "desks"}).first, 0)
        << said();
  }
  bool is_in_force() {
    return soon(
        [&] {
          return ctl({"policy", "status", "--group", "desks"})
              .second.starts_with("policy 1 is desired: effective on 1, refused by 0");
        },
        kPatience_s);
  }
};

TEST_F(LongList, comes_into_force_on_a_desk_and_stays_over_a_restart) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  publish_list();
  ASSERT_TRUE(is_in_force()) << ctl({"policy", "status", "--group", "desks"}).second << said();
  EXPECT_GT(fs::file_size(state() / "policy"), kMaxKnownBytes - 100);
  agent.end(SIGTERM);
  start_agent();
  EXPECT_TRUE(soon(
      [&] {
        return content(base / "agent.log").find("policy 1 of the collector is in force again") !=
               std::string::npos;
      },
      kPatience_s))
      << said();
}

}  // namespace
}  // namespace weir
