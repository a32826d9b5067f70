// What a request's head asks for, before its body is read: which call, in which encoding, for whom;
// or why it is not let in. Pure. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>

#include "collector/api/transcode.h"

namespace weir {

struct RequestHead {
  std::string_view verb, target, content_type, authorization, content_encoding;
};

struct Route {
  std::string method;     // "weir.v1.EnrolService/Enrol"
  std::string principal;  // "": nobody
  Encoding encoding = Encoding::proto;
  bool streams = false;
  std::size_t max_body = 0;
};

struct Turned {  // away
  unsigned status = 404;
  int grpc_code = 0;  // 0: no Connect error, only the status
  std::string sentence;
};

// Whose secret it is; nothing: nobody's.
using PrincipalBySecret = std::function<std::optional<std::string>(const std::string& secret)>;

std::variant<Route, Turned> route_of(const RequestHead& head, const PrincipalBySecret& by_secret);

// Those who failed to prove themselves too often wait: so many failures an address and minute.
class Failures {
 public:
  static constexpr std::uint32_t kAMinute = 20;
  static constexpr std::size_t kAddresses = 4096;  // beyond, the table starts afresh

  bool too_many(const std::string& address, std::int64_t now_s);
  void add(const std::string& address, std::int64_t now_s);

 private:
  struct Row {
    std::int64_t minute = 0;
    std::uint32_t failures = 0;
  };
  std::unordered_map<std::string, Row> rows_;
};

}  // namespace weir
