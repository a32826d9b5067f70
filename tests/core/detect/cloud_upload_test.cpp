// cloud_upload: what is an upload to a service, and what is only using it.
#include "core/detect/cloud_upload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/detect/uplink_desk.h"

namespace weir {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kKiB = 1024;
constexpr std::int64_t kSecond = 1'000'000'000;

const Catalogue& catalogue() {
  static const Catalogue parsed = *Catalogue::parse(
      "service drop A cloud_storage -\ntitle Drop\nupload content.drop.example\n"
      "domain drop.example\n"
      "service chatter A messaging -\ntitle Chatter\ndomain chatter.example\n"
      "range 198.51.100.0/24\n"
      "service remote A remote_access -\ntitle Remote\ndomain remote.example\n"
      "service front A object_storage -\ntitle Front\ndomain store.front.example\n"
      "flag shared_host\n");
  return parsed;
}

UplinkDesk desk_of() {
  return UplinkDesk(make_cloud_upload(catalogue()));
}

std::string why(const Signal& s) {
  return s.finding.because.front().code;
}

TEST(cloud_upload, sixty_four_kibibytes_in_one_burst_are_an_upload) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open({"content.drop.example", ""});
  desk.exchange(flow, 60 * kKiB, 700);
  EXPECT_THAT(desk.signals, IsEmpty());
  desk.exchange(flow, 8 * kKiB, 100);
  ASSERT_EQ(desk.signals.size(), 1u);
  const Signal& s = desk.signals.front();
  EXPECT_EQ(why(s), "upload_burst");
  EXPECT_EQ(s.destination.service, "drop");
  EXPECT_EQ(s.destination.category, "cloud_storage");
  EXPECT_EQ(s.destination.name, "content.drop.example");
  EXPECT_EQ(s.key, "drop");
  EXPECT_GE(s.burst, 64 * kKiB);
  EXPECT_THAT(s.finding.attack, ElementsAre("T1567.002"));
}

TEST(cloud_upload, a_download_from_the_service_is_none) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open({"www.drop.example", ""});
  desk.exchange(flow, 300 * kKiB, 200 * 1024 * kKiB);  // acknowledgements of a large one
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(cloud_upload, browsing_the_service_all_day_is_none) {
  UplinkDesk desk = desk_of();
  for (int i = 0; i < 400; ++i) {
    const auto flow = desk.open({"www.drop.example", ""});
    for (int request = 0; request < 10; ++request) desk.exchange(flow, 900, 30 * kKiB);
    desk.close(flow);
    desk.wait(60 * kSecond);
  }
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(cloud_upload, a_burst_is_found_inside_a_flow_that_downloads_as_well) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open({"www.drop.example", ""});
  desk.exchange(flow, 20 * kKiB, 5000 * kKiB);
  desk.exchange(flow, 90 * kKiB, 900);
  ASSERT_EQ(desk.signals.size(), 1u);
  EXPECT_EQ(why(desk.signals.front()), "upload_burst");
}

TEST(cloud_upload, many_small_flows_add_up) {
  UplinkDesk desk = desk_of();
  for (int i = 0; i < 60; ++i) {
    const auto flow = desk.open({"content.drop.example", ""});
    desk.exchange(flow, 0, 4 * kKiB);  // certificates
    desk.exchange(flow, 6 * kKiB, 300);
    desk.close(flow);
    desk.wait(kSecond);
  }
  ASSERT_FALSE(desk.signals.empty());
  EXPECT_EQ(why(desk.signals.front()), "upload_pieces");
}

TEST(cloud_upload, pieces_cut_by_downloads_add_up) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open({"content.drop.example", ""});
  for (int i = 0; i < 10; ++i) {
    desk.exchange(flow, 50 * kKiB, 300);
    desk.exchange(flow, 300, 60 * kKiB);
  }
  ASSERT_FALSE(desk.signals.empty());
  EXPECT_EQ(why(desk.signals.front()), "upload_pieces");
}

TEST(cloud_upload, a_chat_is_none_and_its_picture_is_one) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open({"web.chatter.example", ""});
  for (int i = 0; i < 500; ++i) {
    desk.exchange(flow, 900, 1100);
    desk.wait(10 * kSecond);
  }
  EXPECT_THAT(desk.signals, IsEmpty());
  desk.exchange(flow, 190 * kKiB, 3000);
  ASSERT_EQ(desk.signals.size(), 1u);
  EXPECT_THAT(desk.signals.front().finding.attack, ElementsAre("T1567"));
}

TEST(cloud_upload, an_address_of_the_service_needs_no_name) {
  UplinkDesk desk = desk_of();
  UplinkDesk::To to;
  to.address = "198.51.100.9";
  to.protocol = "tcp";
  const auto flow = desk.open(to);
  desk.exchange(flow, 100 * kKiB, 900);
  ASSERT_EQ(desk.signals.size(), 1u);
  EXPECT_EQ(desk.signals.front().destination.service, "chatter");
  EXPECT_EQ(desk.signals.front().finding.because[1].code, "upload_by_address");
}

TEST(cloud_upload, the_resolvers_name_stands_in_for_a_missing_one) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open({"", "content.drop.example"});
  desk.exchange(flow, 100 * kKiB, 900);
  ASSERT_EQ(desk.signals.size(), 1u);
  EXPECT_EQ(desk.signals.front().finding.because[1].code, "upload_by_resolved_name");
}

TEST(cloud_upload, another_name_on_a_shared_front_is_not_the_service) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open({"mail.front.example", "store.front.example"});
  desk.exchange(flow, 100 * kKiB, 900);
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(cloud_upload, a_nameless_flow_goes_where_an_earlier_one_to_its_address_said) {
  UplinkDesk desk = desk_of();
  desk.open({"content.drop.example", ""});
  UplinkDesk::To nameless;
  nameless.protocol = "quic";
  const auto flow = desk.open(nameless);
  desk.exchange(flow, 100 * kKiB, 900);
  ASSERT_EQ(desk.signals.size(), 1u);
  EXPECT_EQ(desk.signals.front().destination.service, "drop");
  EXPECT_EQ(desk.signals.front().finding.because[1].code, "upload_by_earlier_flow");
}

TEST(cloud_upload, clear_text_says_its_method) {
  UplinkDesk desk = desk_of();
  UplinkDesk::To to;
  to.protocol = "http";
  to.method = "PUT";
  to.host = "content.drop.example";
  const auto flow = desk.open(to);
  desk.exchange(flow, 100 * kKiB, 900);
  ASSERT_EQ(desk.signals.size(), 1u);
  EXPECT_EQ(desk.signals.front().finding.because[2].args, std::vector<std::string>{"PUT"});
}

TEST(cloud_upload, other_categories_are_none_of_its_business) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open({"eu.remote.example", ""});
  desk.exchange(flow, 5000 * kKiB, 900);
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(cloud_upload, what_stays_on_the_host_is_none) {
  UplinkDesk desk = desk_of();
  UplinkDesk::To to{"content.drop.example", ""};
  to.address = "127.0.0.1";
  const auto flow = desk.open(to);
  desk.exchange(flow, 500 * kKiB, 900);
  EXPECT_THAT(desk.signals, IsEmpty());
}

TEST(cloud_upload, the_kernels_ledger_is_counted_like_packets) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open({"content.drop.example", ""});
  desk.ledger(flow, 64 * kKiB, 5200);
  desk.ledger(flow, 128 * kKiB, 6000);
  ASSERT_FALSE(desk.signals.empty());
  EXPECT_EQ(desk.signals.front().bytes_out, 64 * kKiB);
}

TEST(cloud_upload, signals_double_and_end_with_the_final_bytes) {
  UplinkDesk desk = desk_of();
  const auto flow = desk.open({"content.drop.example", ""});
  desk.exchange(flow, 10000 * kKiB, 20 * kKiB);
  const auto revisions = desk.signals.size();
  EXPECT_GE(revisions, 7u);
  EXPECT_LE(revisions, 9u);
  desk.close(flow);
  desk.wait(60 * kSecond);
  ASSERT_EQ(desk.signals.size(), revisions + 1);
  EXPECT_EQ(desk.signals.back().bytes_out, 10000 * kKiB + 517);
  desk.finish();
  EXPECT_EQ(desk.signals.size(), revisions + 1);
}

TEST(cloud_upload, trees_do_not_share_an_account) {
  UplinkDesk desk = desk_of();
  for (int i = 0; i < 60; ++i) {
    desk.tree(static_cast<TreeId>(1 + i));
    const auto flow = desk.open({"content.drop.example", ""});
    desk.exchange(flow, 6 * kKiB, 300);
    desk.close(flow);
  }
  EXPECT_THAT(desk.signals, IsEmpty());
}

}  // namespace
}  // namespace weir
