// A request's head is judged before its body is read.
#include "collector/api/route.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

std::optional<std::string> by_secret(const std::string& secret) {
  if (secret == "right") return "admin";
  return std::nullopt;
}

RequestHead head() {
  return {"POST", "/weir.v1.HostAdminService/ListHosts", "application/json", "Bearer right", ""};
}

unsigned status_of(const RequestHead& head) {
  auto routed = route_of(head, by_secret);
  const Turned* turned = std::get_if<Turned>(&routed);
  return turned != nullptr ? turned->status : 200;
}

TEST(route, of_a_good_head) {
  auto routed = route_of(head(), by_secret);
  const Route& route = std::get<Route>(routed);
  EXPECT_EQ(route.method, "weir.v1.HostAdminService/ListHosts");
  EXPECT_EQ(route.principal, "admin");
  EXPECT_EQ(route.encoding, Encoding::json);
  EXPECT_FALSE(route.streams);
}

TEST(route, only_what_a_console_may_know_of_is_there) {
  for (const char* target :
       {"/", "", "weir.v1.HostAdminService/ListHosts", "/weir.v1.AgentService/Connect",
        "/weir.v1.HostAdminService/Run", "/../etc/passwd", "//", "/weir.v1.HostAdminService/"}) {
    RequestHead wrong = head();
    wrong.target = target;
    EXPECT_GE(status_of(wrong), 400u) << target;
  }
}

TEST(route, another_verb_or_content_type_is_turned_away) {
  RequestHead wrong = head();
  wrong.verb = "GET";
  EXPECT_EQ(status_of(wrong), 405u);
  // What a form of another site can send (no preflight) is none of ours.
  for (const char* type : {"", "text/plain", "application/x-www-form-urlencoded",
                           "multipart/form-data", "application/connect+json"}) {
    wrong = head();
    wrong.content_type = type;
    EXPECT_EQ(status_of(wrong), 415u) << type;
  }
  wrong = head();
  wrong.content_type = "application/json; charset=utf-8";
  EXPECT_EQ(status_of(wrong), 200u);
}

TEST(route, a_stream_takes_the_streaming_types_only) {
  RequestHead watch = head();
  watch.target = "/weir.v1.ReportAdminService/WatchReports";
  EXPECT_EQ(status_of(watch), 415u);
  watch.content_type = "application/connect+proto";
  EXPECT_EQ(status_of(watch), 200u);
}

TEST(route, without_a_session_there_is_only_enrolment) {
  RequestHead nobody = head();
  nobody.authorization = "";
  EXPECT_EQ(status_of(nobody), 401u);
  nobody.target = "/weir.v1.EnrolService/Enrol";
  auto routed = route_of(nobody, by_secret);
  ASSERT_TRUE(std::holds_alternative<Route>(routed));
  EXPECT_EQ(std::get<Route>(routed).principal, "");
  EXPECT_LE(std::get<Route>(routed).max_body, 16u << 10);
}

TEST(route, a_wrong_secret_is_nobodys) {
  for (const char* wrong : {"Bearer wrong", "Basic right", "right", "Bearer ", "bearer right"}) {
    RequestHead stranger = head();
    stranger.authorization = wrong;
    EXPECT_EQ(status_of(stranger), 401u) << wrong;
    stranger.target = "/weir.v1.EnrolService/Enrol";  // who shows a secret must have a right one
    EXPECT_EQ(status_of(stranger), 401u) << wrong;
  }
}

TEST(route, who_fails_often_waits_a_minute) {
  Failures failures;
  for (std::uint32_t n = 0; n < Failures::kAMinute; ++n) {
    EXPECT_FALSE(failures.too_many("192.0.2.1", 60));
    failures.add("192.0.2.1", 60);
  }
  EXPECT_TRUE(failures.too_many("192.0.2.1", 119));
  EXPECT_FALSE(failures.too_many("192.0.2.2", 119));
  EXPECT_FALSE(failures.too_many("192.0.2.1", 120));
}

TEST(transcode, refuses_a_request_with_a_field_that_it_does_not_know) {
  auto known =
      request_message("weir.v1.HostAdminService/ListHosts", R"({"group": "a"})", Encoding::json);
  ASSERT_TRUE(known);
  EXPECT_TRUE(request_message("weir.v1.HostAdminService/ListHosts", *known, Encoding::proto));
  EXPECT_FALSE(
      request_message("weir.v1.HostAdminService/ListHosts", R"({"grup": "a"})", Encoding::json));
  EXPECT_FALSE(request_message("weir.v1.HostAdminService/ListHosts", *known + "\x92\x3f\x01x",
                               Encoding::proto));
  // Below, too.
  EXPECT_FALSE(request_message("weir.v1.ReportAdminService/ListReports",
                               R"({"filter": {"frm": "2026-01-01T00:00:00Z"}})", Encoding::json));
}

TEST(transcode, ignores_what_a_newer_host_says_when_it_enrols) {
  EXPECT_TRUE(
      request_message("weir.v1.EnrolService/Enrol", R"({"colour": "red"})", Encoding::json));
  EXPECT_TRUE(request_message("weir.v1.EnrolService/Enrol", "\x92\x3f\x01x", Encoding::proto));
}

TEST(transcode, survives_what_is_no_message) {
  for (const std::string& body :
       {std::string("\xff\xff\xff\xff\xff\xff"), std::string(100'000, '['), std::string("{\"a\":"),
        std::string("\0\0", 2)}) {
    EXPECT_FALSE(request_message("weir.v1.HostAdminService/ListHosts", body, Encoding::json));
    EXPECT_FALSE(request_message("weir.v1.HostAdminService/ListHosts", body, Encoding::proto));
  }
}

TEST(transcode, prints_defaults_and_the_short_words) {
  auto text = answer_body("weir.v1.TokenAdminService/RevokeToken", "", Encoding::json);
  ASSERT_TRUE(text);
  EXPECT_EQ(error_body(7, "no \"way\""), R"({"code":"permission_denied","message":"no \"way\""})");
  EXPECT_EQ(http_status(16), 401u);
  EXPECT_EQ(connect_code(99), "unknown");
}

}  // namespace
}  // namespace weir
