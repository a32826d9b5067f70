// What the kernel part tells of sockets that no limit counts, as reports.
#include "core/policy/exceptions.h"
#include "core/policy/explain.h"
#include "tests/core/line/host.h"

namespace weir {
namespace {

constexpr std::uint64_t kVsock = 40, kBluetooth = 31;

class Families : public testing::Test {
 protected:
  void tell(std::uint32_t what, std::uint64_t family, std::uint64_t bytes = 0) {
    host.line.on({host.stamp(), AccountSpent{{0, 7, 1000, 11}, {}, what, family, bytes}});
    host.pass(1);
  }
  std::vector<Report> reports() {
    host.pass(60);
    return host.out.last();
  }

  Host host{Policy{}, 2};
};

TEST_F(Families, that_were_refused_are_a_report_that_names_family_key_and_person) {
  host.start(11, 7, "/usr/bin/socat");
  tell(kFamilyRefused, kVsock);
  const auto all = reports();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].finding.detector, "other_family");
  EXPECT_EQ(all[0].decision.action, Action::block);
  EXPECT_TRUE(all[0].decision.enforced);
  EXPECT_EQ(all[0].decision.rule, "defaults.other_families");
  EXPECT_EQ(all[0].actor.person, 1000u);
  const std::string english = explain(all[0], Language::english);
  EXPECT_TRUE(english.starts_with(
      "A socket that no limit counts: AF_VSOCK, by socat (person 1000).\nA socket of AF_VSOCK was "
      "asked for"))
      << english;
  EXPECT_NE(english.find("It was stopped"), std::string::npos) << english;
  EXPECT_NE(explain(all[0], Language::chinese).find("AF_VSOCK"), std::string::npos);
}

TEST_F(Families, that_send_are_one_report_for_each_family_with_the_newest_number) {
  tell(kFamilyMade, kVsock);
  tell(kFamilySent, kVsock, 1000);
  tell(kFamilySent, kBluetooth, 500);
  tell(kFamilySent, kVsock, 4096);
  const auto all = reports();
  ASSERT_EQ(all.size(), 2u);
  const std::string first = explain(all[0], Language::english);
  EXPECT_NE(first.find("have sent 4 KiB"), std::string::npos) << first;
  EXPECT_EQ(all[0].bytes_out, 4096u);
  EXPECT_EQ(all[0].decision.action, Action::log);
  EXPECT_FALSE(all[0].decision.enforced);
  EXPECT_NE(explain(all[1], Language::english).find("AF_BLUETOOTH"), std::string::npos);
}

TEST_F(Families, of_a_later_kernel_have_their_number) {
  tell(kFamilyRefused, 63);
  const auto all = reports();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].destination.name, "AF_63");
}

}  // namespace
}  // namespace weir
