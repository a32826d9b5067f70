// Who is logged in, from the host's utmp: records of fixed size, compared with what was there
// before. The file is the host's, its fields come from whoever logged in: pure, bounded, fuzzed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/event/event.h"

namespace weir {

inline constexpr std::size_t kMaxUtmpRecords = 1024;  // terminals of one host

struct Login {
  std::string user;    // account name as the login program wrote it
  std::string seat;    // tty
  std::string remote;  // host, "" if local
  std::int32_t session = 0;
  auto operator<=>(const Login&) const = default;
};

// Logins of a utmp file's bytes; a cut record at its end is passed over.
std::vector<Login> logins_in(Bytes utmp);

struct LoginChange {
  Session::Kind kind;  // login, remote_login or logout
  Login login;
};
std::vector<LoginChange> changes(const std::vector<Login>& before, const std::vector<Login>& now);

}  // namespace weir
