// What a request's head asks for: see route.h.
#include "collector/api/route.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "collector/api/authorize.h"

namespace weir {
namespace {

constexpr int kInvalidArgument = 3, kPermissionDenied = 7, kUnauthenticated = 16;
constexpr std::size_t kMaxBody = 4u << 20;        // of who has a session: a policy is at most 1 MiB
constexpr std::size_t kMaxFirstBody = 16u << 10;  // of who has none: a CSR and a token
constexpr std::string_view kBearer = "Bearer ";

struct Type {
  std::string_view name;
  Encoding encoding;
  bool streams;
};
constexpr std::array<Type, 4> kTypes{{
    {"application/proto", Encoding::proto, false},
    {"application/json", Encoding::json, false},
    {"application/connect+proto", Encoding::proto, true},
    {"application/connect+json", Encoding::json, true},
}};

Turned turned(int grpc_code, std::string sentence) {
  return {http_status(grpc_code), grpc_code, std::move(sentence)};
}

}  // namespace

std::variant<Route, Turned> route_of(const RequestHead& head, const PrincipalBySecret& by_secret) {
  if (head.target.empty() || head.target.front() != '/') return Turned{400, 0, "no such target"};
  std::string_view method = head.target.substr(1);
  std::optional<MethodShape> shape = console_method(method);
  if (!shape) return Turned{404, 0, "there is nothing here"};
  if (head.verb != "POST") return Turned{405, 0, "calls are POSTed"};
  // A type with parameters (charset) is the type without them.
  std::string_view type = head.content_type.substr(0, head.content_type.find(';'));
  const auto* found = std::ranges::find(kTypes, type, &Type::name);
  if (found == kTypes.end() || found->streams != shape->streams)
    return Turned{415, 0, "this method takes another Content-Type"};
  if (!head.content_encoding.empty() && head.content_encoding != "identity")
    return turned(kInvalidArgument, "no compression is taken");

  Route route{std::string(method), "", found->encoding, shape->streams, kMaxFirstBody};
  if (!head.authorization.empty()) {
    if (!head.authorization.starts_with(kBearer))
      return turned(kUnauthenticated, "sign in with a bearer secret");
    auto principal = by_secret(std::string(head.authorization.substr(kBearer.size())));
    if (!principal) return turned(kUnauthenticated, "nobody has this secret");
    route.principal = *principal;
    route.max_body = kMaxBody;
  }
  Role role = route.principal.empty() ? Role::nobody : Role::administrator;
  if (authorize({role, route.principal}, method, "")) return route;
  return role == Role::nobody ? turned(kUnauthenticated, "sign in first")
                              : turned(kPermissionDenied,
                                       fmt::format("{} may not call {}", route.principal, method));
}

bool Failures::too_many(const std::string& address, std::int64_t now_s) {
  auto row = rows_.find(address);
  return row != rows_.end() && row->second.minute == now_s / 60 && row->second.failures >= kAMinute;
}

void Failures::add(const std::string& address, std::int64_t now_s) {
  if (rows_.size() >= kAddresses) rows_.clear();
  Row& row = rows_[address];
  if (row.minute != now_s / 60) row = {now_s / 60, 0};
  ++row.failures;
}

}  // namespace weir
