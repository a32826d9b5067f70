// A client of the Connect protocol over HTTPS: how `weir enroll`, the uplink's renewal and weirctl
// speak to a collector's console door. The door is known by its key, whatever names its certificate
// holds and whoever signed it: a token or admin.json carries the key's SHA-256. Nothing redirects
// it. Messages are serialized protobuf and opaque here. Blocking, with a time-out on every step.
// Thread: one a client.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace weir {

struct Door {
  std::string address;                        // host:port, [host]:port
  std::array<std::uint8_t, 32> key_sha256{};  // of its SubjectPublicKeyInfo
  std::string session;                        // bearer secret, "": none
};

struct ConnectError {
  enum class Kind : std::uint8_t {
    unreachable,  // nobody answered, or not in time
    impostor,     // TLS answered with another key than the pinned one
    refused,      // the door answered with an error: `code` is Connect's word for it
    nonsense,     // an answer that is no Connect answer
  };
  Kind kind = Kind::unreachable;
  std::string code;      // "permission_denied", "not_found" …; "" unless refused
  std::string sentence;  // for people
};

template <class T>
using ConnectResult = tl::expected<T, ConnectError>;

class ConnectClient {
 public:
  explicit ConnectClient(Door door) : door_(std::move(door)) {}

  // `method`: "weir.v1.EnrolService/Enrol". The answer's serialized message.
  ConnectResult<std::string> unary(std::string_view method, const std::string& request);
  // Each message of a server stream until it ends or `on` says false. A stream that is silent for
  // longer than kSilence is unreachable.
  ConnectResult<void> stream(std::string_view method, const std::string& request,
                             const std::function<bool(const std::string&)>& on);

 private:
  Door door_;
};

}  // namespace weir
