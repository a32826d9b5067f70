// utmp records become logins and logouts.
#include "agent/engine/logins.h"

#include <gtest/gtest.h>
#include <utmp.h>

#include <cstring>

namespace weir {
namespace {

std::vector<std::uint8_t> record(short type, const char* user, const char* line, const char* host) {
  ::utmp entry{};
  entry.ut_type = type;
  std::strncpy(entry.ut_user, user, sizeof entry.ut_user);
  std::strncpy(entry.ut_line, line, sizeof entry.ut_line);
  std::strncpy(entry.ut_host, host, sizeof entry.ut_host);
  std::vector<std::uint8_t> bytes(sizeof entry);
  std::memcpy(bytes.data(), &entry, sizeof entry);
  return bytes;
}

TEST(logins, a_new_record_is_a_login_and_its_end_a_logout) {
  std::vector<Login> one = logins_in(record(USER_PROCESS, "lin", "tty1", ""));
  ASSERT_EQ(one.size(), 1u);
  std::vector<LoginChange> in = changes({}, one), out = changes(one, {});
  ASSERT_EQ(in.size(), 1u);
  EXPECT_EQ(in[0].kind, Session::Kind::login);
  EXPECT_EQ(in[0].login.user, "lin");
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].kind, Session::Kind::logout);
  EXPECT_TRUE(changes(one, one).empty());
}

TEST(logins, a_login_with_a_host_is_remote_and_one_at_a_display_is_not) {
  auto remote = changes({}, logins_in(record(USER_PROCESS, "lin", "pts/0", "192.0.2.7")));
  auto display = changes({}, logins_in(record(USER_PROCESS, "lin", "tty2", ":0")));
  EXPECT_EQ(remote.at(0).kind, Session::Kind::remote_login);
  EXPECT_EQ(display.at(0).kind, Session::Kind::login);
}

TEST(logins, a_field_without_an_end_and_a_cut_record_are_taken_for_what_they_hold) {
  std::string longest(UT_NAMESIZE, 'x');
  std::vector<std::uint8_t> bytes = record(USER_PROCESS, longest.c_str(), "tty1", "");
  EXPECT_EQ(logins_in(bytes).at(0).user.size(), static_cast<std::size_t>(UT_NAMESIZE));
  bytes.pop_back();
  EXPECT_TRUE(logins_in(bytes).empty());
}

}  // namespace
}  // namespace weir
