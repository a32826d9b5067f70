// A client of the Connect protocol: see client.h.
#include "proto/connect/client.h"

#include <fmt/format.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/json/src.hpp>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>

#include "proto/connect/envelope.h"
#include "proto/connect/tls_stream.h"

namespace weir {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using std::chrono::seconds;

constexpr seconds kConnect{5}, kHandshake{5}, kSend{10};
constexpr seconds kAnswer{45};   // `policy status --wait` answers after 30 s at the latest
constexpr seconds kSilence{45};  // a stream gives a sign of life every 15 s
constexpr std::uint32_t kMaxHeader = 16u << 10;
constexpr std::size_t kPiece = 16u << 10;  // a TLS record

tl::unexpected<ConnectError> failed(ConnectError::Kind kind, std::string sentence) {
  return tl::unexpected(ConnectError{kind, "", std::move(sentence)});
}

// host:port, [host]:port
std::optional<std::pair<std::string, std::string>> split(const std::string& address) {
  std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == address.size()) return std::nullopt;
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  return std::pair(host, address.substr(colon + 1));
}

// {"code": …, "message": …}, or {"error": {…}} at the end of a stream; an empty code: no error.
ConnectError error_in(std::string_view text) {
  ConnectError error{ConnectError::Kind::refused, "", ""};
  error_code damage;
  boost::json::value value = boost::json::parse({text.data(), text.size()}, damage);
  const boost::json::object* object = damage ? nullptr : value.if_object();
  if (object == nullptr) return {ConnectError::Kind::nonsense, "", "the answer is no JSON object"};
  if (const auto* inner = object->if_contains("error")) object = inner->if_object();
  if (object == nullptr) return {ConnectError::Kind::nonsense, "", "the error is no JSON object"};
  if (const auto* code = object->if_contains("code"); code != nullptr && code->is_string())
    error.code = code->get_string();
  if (const auto* message = object->if_contains("message");
      message != nullptr && message->is_string())
    error.sentence = message->get_string();
  return error;
}

// One HTTPS connection. Every step ends in time: what doesn't closes the socket.
class Line {
 public:
  using Parser = http::basic_parser<false>;

  Line() : tls_(net::ssl::context::tls_client), stream_(io_, tls_) {
    SSL_CTX_set_min_proto_version(tls_.native_handle(), TLS1_3_VERSION);
  }

  ConnectResult<void> open(const Door& door);
  error_code send(const std::string& request) {
    return within(deadline(kSend), [&](Done done) { stream_.write(request, std::move(done)); });
  }
  error_code read_header(Parser& parser, seconds limit);
  error_code read(Parser& parser, seconds limit);
  error_code read_some(Parser& parser, seconds limit) { return read_some(parser, deadline(limit)); }

 private:
  using Done = TlsStream::Done;
  using Time = std::chrono::steady_clock::time_point;
  static Time deadline(seconds limit) { return std::chrono::steady_clock::now() + limit; }

  error_code within(Time end, const std::function<void(Done)>& start);
  error_code read_some(Parser& parser, Time end);
  bool has_key(const std::array<std::uint8_t, 32>& key_sha256);

  net::io_context io_;
  net::ssl::context tls_;
  TlsStream stream_;
  boost::beast::flat_buffer buffer_;
};

error_code Line::within(Time end, const std::function<void(Done)>& start) {
  error_code result = net::error::timed_out;
  start([&result](error_code code, std::size_t) { result = code; });
  io_.restart();
  io_.run_until(end);
  if (io_.stopped()) return result;
  stream_.close();
  io_.run();
  return net::error::timed_out;
}

// As much as the parser makes of one piece.
error_code Line::read_some(Parser& parser, Time end) {
  for (;;) {
    error_code code = http::error::need_more;
    if (buffer_.size() != 0) buffer_.consume(parser.put(buffer_.data(), code));
    if (code != http::error::need_more) return code;
    code = within(end, [&](Done done) {
      stream_.read_some(buffer_.prepare(kPiece).data(), kPiece,
                        [this, done](error_code e, std::size_t size) {
                          buffer_.commit(size);
                          done(e, size);
                        });
    });
    if (code == net::error::eof) {
      if (!parser.got_some()) return http::error::end_of_stream;
      code = {};
      parser.put_eof(code);
      return code;
    }
    if (code) return code;
  }
}

error_code Line::read_header(Parser& parser, seconds limit) {
  parser.eager(false);
  for (Time end = deadline(limit); !parser.is_header_done();)
    if (error_code code = read_some(parser, end)) return code;
  return {};
}

error_code Line::read(Parser& parser, seconds limit) {
  parser.eager(true);
  for (Time end = deadline(limit); !parser.is_done();)
    if (error_code code = read_some(parser, end)) return code;
  return {};
}

bool Line::has_key(const std::array<std::uint8_t, 32>& key_sha256) {
  std::unique_ptr<X509, void (*)(X509*)> certificate(
      SSL_get1_peer_certificate(stream_.native_handle()), X509_free);
  if (!certificate) return false;
  std::uint8_t* der = nullptr;
  int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.get()), &der);
  if (size <= 0) return false;
  std::array<std::uint8_t, 32> digest{};
  SHA256(der, static_cast<std::size_t>(size), digest.data());
  OPENSSL_free(der);
  return digest == key_sha256;
}

ConnectResult<void> Line::open(const Door& door) {
  using Kind = ConnectError::Kind;
  auto parts = split(door.address);
  if (!parts) return failed(Kind::unreachable, fmt::format("{}: not HOST:PORT", door.address));
  error_code code = within(deadline(kConnect), [&](Done done) {
    stream_.connect(parts->first, parts->second, std::move(done));
  });
  if (code) return failed(Kind::unreachable, fmt::format("{}: {}", door.address, code.message()));
  // SSL_set_tlsext_host_name is a macro with a cast of C.
  SSL_ctrl(stream_.native_handle(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
           parts->first.data());
  code = within(deadline(kHandshake),
                [&](Done done) { stream_.handshake_as_client(std::move(done)); });
  if (code)
    return failed(Kind::unreachable, fmt::format("{}: TLS: {}", door.address, code.message()));
  // Nothing was said yet but a hello. TLS proved that the other end holds the certificate's key.
  if (!has_key(door.key_sha256))
    return failed(Kind::impostor, fmt::format("{} answers with another key than the one that is "
                                              "expected: nothing was sent to it",
                                              door.address));
  return {};
}

// Nothing in it comes from outside: the address and the secret are in a token or admin.json.
std::string request_to(const Door& door, std::string_view method, std::string_view type,
                       const std::string& body) {
  std::string session =
      door.session.empty() ? "" : fmt::format("Authorization: Bearer {}\r\n", door.session);
  return fmt::format(
      "POST /{} HTTP/1.1\r\nHost: {}\r\nContent-Type: {}\r\nConnect-Protocol-Version: 1\r\n"
      "{}Content-Length: {}\r\n\r\n{}",
      method, door.address, type, session, body.size(), body);
}

tl::unexpected<ConnectError> broken(const Door& door, error_code code) {
  return failed(ConnectError::Kind::unreachable,
                fmt::format("{}: the answer broke off: {}", door.address, code.message()));
}

}  // namespace

ConnectResult<std::string> ConnectClient::unary(std::string_view method,
                                                const std::string& request) {
  Line line;
  if (auto opened = line.open(door_); !opened) return tl::unexpected(opened.error());
  if (error_code code = line.send(request_to(door_, method, "application/proto", request)))
    return broken(door_, code);
  http::response_parser<http::string_body> answer;
  answer.header_limit(kMaxHeader);
  answer.body_limit(kMaxConnectMessage);
  if (error_code code = line.read(answer, kAnswer)) return broken(door_, code);
  const auto& message = answer.get();
  if (message.result() != http::status::ok) {
    ConnectError error = error_in(message.body());
    if (error.code.empty())
      error = {ConnectError::Kind::nonsense, "",
               fmt::format("{} answered {} without a reason", door_.address, message.result_int())};
    return tl::unexpected(std::move(error));
  }
  if (message[http::field::content_type] != "application/proto")
    return failed(ConnectError::Kind::nonsense,
                  fmt::format("{} does not speak the Connect protocol", door_.address));
  return message.body();
}

ConnectResult<void> ConnectClient::stream(std::string_view method, const std::string& request,
                                          const std::function<bool(const std::string&)>& on) {
  Line line;
  if (auto opened = line.open(door_); !opened) return tl::unexpected(opened.error());
  if (error_code code =
          line.send(request_to(door_, method, "application/connect+proto", envelope(0, request))))
    return broken(door_, code);
  http::response_parser<http::buffer_body> answer;
  answer.header_limit(kMaxHeader);
  answer.body_limit(boost::none);  // messages are bounded one by one
  if (error_code code = line.read_header(answer, kAnswer)) return broken(door_, code);
  bool streams = answer.get().result() == http::status::ok;
  Envelopes envelopes;
  std::string refusal;
  char piece[16384];
  while (!answer.is_done()) {
    answer.get().body().data = piece;
    answer.get().body().size = sizeof piece;
    error_code code = line.read_some(answer, kSilence);
    if (code && code != http::error::need_buffer) return broken(door_, code);
    std::string_view got(piece, sizeof piece - answer.get().body().size);
    if (!streams) {
      if (refusal.size() + got.size() > kMaxConnectMessage) break;
      refusal.append(got);
      continue;
    }
    envelopes.add(got);
    while (std::optional<ConnectEnvelope> whole = envelopes.take()) {
      if ((whole->flags & kConnectEndOfStream) != 0) {
        ConnectError error = error_in(whole->message);
        if (error.code.empty() && error.kind == ConnectError::Kind::refused) return {};
        return tl::unexpected(std::move(error));
      }
      if (!on(whole->message)) return {};
    }
    if (envelopes.too_large())
      return failed(ConnectError::Kind::nonsense,
                    fmt::format("{} sent a message larger than 4 MiB", door_.address));
  }
  if (!streams) return tl::unexpected(error_in(refusal));
  return broken(door_, http::error::end_of_stream);
}

}  // namespace weir
