// Who is logged in, from the host's utmp: see logins.h.
#include "agent/engine/logins.h"

#include <utmp.h>

#include <algorithm>
#include <cstring>

namespace weir {
namespace {

template <std::size_t N>
std::string text_in(const char (&field)[N]) {
  return {field, ::strnlen(field, N)};
}

}  // namespace

std::vector<Login> logins_in(Bytes bytes) {
  std::vector<Login> logins;
  for (std::size_t at = 0; at + sizeof(::utmp) <= bytes.size() && logins.size() < kMaxUtmpRecords;
       at += sizeof(::utmp)) {
    ::utmp record;
    std::memcpy(&record, bytes.data() + at, sizeof record);
    if (record.ut_type != USER_PROCESS) continue;
    logins.push_back({text_in(record.ut_user), text_in(record.ut_line), text_in(record.ut_host),
                      record.ut_session});
  }
  std::sort(logins.begin(), logins.end());
  return logins;
}

std::vector<LoginChange> changes(const std::vector<Login>& before, const std::vector<Login>& now) {
  std::vector<LoginChange> found;
  for (const Login& login : before)
    if (!std::binary_search(now.begin(), now.end(), login))
      found.push_back({Session::Kind::logout, login});
  for (const Login& login : now) {
    if (std::binary_search(before.begin(), before.end(), login)) continue;
    bool remote = !login.remote.empty() && !login.remote.starts_with(":");  // ":0" is a display
    found.push_back({remote ? Session::Kind::remote_login : Session::Kind::login, login});
  }
  return found;
}

}  // namespace weir
