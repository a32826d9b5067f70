// Who may call what: one table with a row for each method of every service; what has no row, or no
// leave, is denied. The build fails while a method has no row (authorize_check.cpp). Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace weir {

enum class Role : std::uint8_t {
  nobody,         // has no session: enrolment and renewal, which carry their own proof
  host,           // a certificate of the agents' CA
  administrator,  // a session of the console door
};

struct MethodRow {
  std::string_view method;  // "weir.v1.EnrolService/Enrol"
  Role role;                // the one that may call it; nobody: anyone may
};

std::span<const MethodRow> method_rows();

struct Caller {
  Role role = Role::nobody;
  std::string_view name;  // of the principal, or the host's id
};

// `object`: what the call is about: a host's id where a host calls, else "".
bool authorize(const Caller& caller, std::string_view method, std::string_view object);

}  // namespace weir
