// bulk_egress: how much is much, and towards whom.
#include "core/detect/bulk_egress.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/detect/uplink_desk.h"

namespace weir {
namespace {

using testing::IsEmpty;

constexpr std::uint64_t kKiB = 1024, kMiB = 1024 * kKiB;
constexpr std::int64_t kSecond = 1'000'000'000;

const Catalogue& catalogue() {
  static const Catalogue parsed = *Catalogue::parse(
      "service drop A cloud_storage -\ntitle Drop\nupload content.drop.example\n"
      "service remote A remote_access -\ntitle Remote\ndomain remote.example\n");
  return parsed;
}

UplinkDesk desk_of() {
  return UplinkDesk(make_bulk_egress(catalogue()));
}

UplinkDesk::To address(const char* text) {
  UplinkDesk::To to;
  to.address = text;
  to.protocol = "tcp";
  return to;
}

TEST(bulk_egress, a_mebibyte_to_an_unknown_place_is_told) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open({"files.somewhere.org", "files.somewhere.org"});
  desk.exchange(flow, 1000 * kKiB, 5000);
  EXPECT_THAT(desk.signals, IsEmpty());
  desk.exchange(flow, 40 * kKiB, 100);
  ASSERT_EQ(desk.signals.size(), 1u);
  const Signal& s = desk.signals.front();
  EXPECT_EQ(s.destination.name, "files.somewhere.org");
  EXPECT_EQ(s.key, "somewhere.org");
  EXPECT_GE(s.bytes_out, kMiB);
  EXPECT_EQ(s.finding.because.front().code, "bulk_bytes");
}

TEST(bulk_egress, flows_to_one_place_add_up_and_places_do_not) {
  UplinkDesk desk = desk_of();
  for (int i = 0; i < 90; ++i) {
    UplinkDesk::To to;
    const std::string place = fmt::format("203.0.{}.10", i);
    to.address = place.c_str();
    const auto flow = desk.open(to);
    desk.exchange(flow, 12 * kKiB, 900);
    desk.close(flow);
  }
  EXPECT_THAT(desk.signals, IsEmpty());
  for (int i = 0; i < 90; ++i) {
    const auto flow = desk.open(address("203.0.113.77"));
    desk.exchange(flow, 12 * kKiB, 900);
    desk.close(flow);
  }
  EXPECT_EQ(desk.signals.size(), 1u);
}

TEST(bulk_egress, a_new_server_name_for_each_flow_is_no_new_account) {
  UplinkDesk desk = desk_of();
  for (int i = 0; i < 90; ++i) {
    const auto flow = desk.open({fmt::format("a{}.claim{}.com", i, i), ""});
    desk.exchange(flow, 12 * kKiB, 900);
    desk.close(flow);
  }
  EXPECT_EQ(desk.signals.size(), 1u);
}

TEST(bulk_egress, downloads_calls_and_pages_are_none) {
  UplinkDesk desk = desk_of();
  desk.exchange(desk.open({"dl.somewhere.org", ""}), 3 * kMiB, 400 * kMiB);
  desk.exchange(desk.open({"call.somewhere.org", "call.other.org"}), 30 * kMiB, 28 * kMiB);
  for (int i = 0; i < 300; ++i) {
    const auto flow = desk.open({"www.pages.org", "www.pages.org"});
    desk.exchange(flow, 9 * kKiB, 300 * kKiB);
    desk.close(flow);
  }
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(bulk_egress, telemetry_below_a_mebibyte_an_hour_is_none) {
  UplinkDesk desk = desk_of();
  for (int hour = 0; hour < 24; ++hour) {
    const auto flow = desk.open({"telemetry.vendor.com", "telemetry.vendor.com"});
    desk.exchange(flow, 700 * kKiB, 9000);
    desk.close(flow);
    desk.wait(3900 * kSecond);
  }
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(bulk_egress, what_cloud_upload_counts_is_not_told_twice) {
  UplinkDesk desk = desk_of();
  desk.exchange(desk.open({"content.drop.example", ""}), 20 * kMiB, 9000);
  EXPECT_THAT(desk.signals, IsEmpty());
  desk.exchange(desk.open({"eu.remote.example", ""}), 20 * kMiB, 9000);
  EXPECT_FALSE(desk.signals.empty());
}

TEST(bulk_egress, a_backup_inside_the_site_has_more_room) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open(address("10.0.0.9"));
  desk.exchange(flow, 200 * kMiB, 9000);
  EXPECT_THAT(desk.signals, IsEmpty());
  desk.exchange(flow, 80 * kMiB, 9000);
  ASSERT_FALSE(desk.signals.empty());
  EXPECT_EQ(desk.signals.front().finding.severity, Severity::low);
}

TEST(bulk_egress, a_public_name_at_a_private_address_has_not) {
  UplinkDesk desk = desk_of();
  UplinkDesk::To to = address("10.0.0.9");
  to.name = "files.somewhere.org";
  desk.exchange(desk.open(to), 2 * kMiB, 900);
  EXPECT_FALSE(desk.signals.empty());
}

TEST(bulk_egress, neither_loopback_nor_multicast_leaves) {
  UplinkDesk desk = desk_of();
  desk.exchange(desk.open(address("127.0.0.1")), 900 * kMiB, 900);
  desk.exchange(desk.open(address("239.1.2.3")), 90 * kMiB, 900);
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(bulk_egress, a_late_segment_does_not_count_a_flow_again) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open(address("203.0.113.77"));
  desk.exchange(flow, 600 * kKiB, 900);
  for (int i = 0; i < 5; ++i) desk.close(flow);
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(bulk_egress, the_kernels_ledger_is_counted_like_packets) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open(address("203.0.113.77"));
  for (std::uint64_t i = 1; i <= 17; ++i) desk.ledger(flow, i * 64 * kKiB, 5000);
  desk.wait(60 * kSecond);
  ASSERT_EQ(desk.signals.size(), 2u);
  EXPECT_EQ(desk.signals.back().bytes_out, 17 * 64 * kKiB);
}

}  // namespace
}  // namespace weir
