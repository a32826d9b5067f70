// What the kernel itself sends to keep a link alive is not a desk's to spend: with an account that
// is spent, IPv6 neighbours are still found, and find us. A program that sends the same pays.
#include <cstdio>
#include <string>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

class Upkeep : public KernelTest {
 protected:
  // Two namespaces that are made in the desk's cgroup, as the machine's own is made in the root's:
  // the kernel's sockets of both are bounded. Asks for the neighbour without sending it anything.
  std::string finds_a_neighbour() {
    static const std::string kScript = R"sh(
unshare -n sleep 60 & other=$!
n=0
while [ $((n += 1)) -lt 100 ]; do [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/$$/ns/net)" ] && break; sleep 0.1; done
exec unshare -n sh -c '
  ip link add here type veth peer name there netns '$other' || exit 9
  ip addr add fd79::1/64 dev here nodad; ip link set here up
  nsenter --net=/proc/'$other'/ns/net sh -c "ip addr add fd79::2/64 dev there nodad; ip link set there up"
  n=0
  while [ $((n += 1)) -lt 40 ]; do
    ip -6 neigh replace fd79::2 dev here use
    sleep 0.3
    ip -6 neigh show fd79::2 dev here | grep -q lladdr && { echo found; kill '$other'; exit 0; }
  done
  ip -6 neigh show; kill '$other'; exit 1')sh";
    const std::string procs = k->desk.place("a") + "/cgroup.procs";
    FILE* shell = ::popen(("echo $$ > " + procs + " && " + kScript).c_str(), "r");
    std::string said;
    char line[256];
    while (shell != nullptr && std::fgets(line, sizeof line, shell) != nullptr) said += line;
    if (shell != nullptr) ::pclose(shell);
    return said;
  }
};

TEST_F(Upkeep, of_ipv6_goes_on_when_every_account_is_spent) {
  k->load({limit_row(1, 0, WEIR_PER_HOST), limit_row(1, 0, WEIR_PER_PERSON)});
  EXPECT_EQ(finds_a_neighbour(), "found\n");
  EXPECT_GT(k->count(WEIR_COUNT_UPKEEP), 1u);
  EXPECT_EQ(k->charged(0) + k->charged(1), 0u);
}

TEST_F(Upkeep, sent_by_a_program_costs_what_it_is) {
  constexpr std::uint64_t kLimit = 10'000;
  k->load({limit_row(kLimit, 0, WEIR_PER_HOST)});
  const std::uint64_t before = k->count(WEIR_COUNT_UPKEEP);
  Outcome sent = k->desk.finish(k->desk.start(
      {"--shape", "neighbour", "--to", kPeer6, "--size", "200", "--count", "200", "--ms", "4000"}));
  EXPECT_EQ(sent.status, 0) << sent.output;
  EXPECT_LE(k->charged(0), kLimit);
  EXPECT_GT(k->charged(0), kLimit - 400);
  EXPECT_EQ(k->count(WEIR_COUNT_UPKEEP), before);
}

}  // namespace
}  // namespace weir::test
