// A client of the Connect protocol: see client.h.
#include "proto/connect/client.h"

#include <fmt/format.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <boost/json/src.hpp>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>

#include "proto/connect/envelope.h"

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
  Line() : tls_(net::ssl::context::tls_client), stream_(io_, tls_) {
    SSL_CTX_set_min_proto_version(tls_.native_handle(), TLS1_3_VERSION);
  }

  ConnectResult<void> open(const Door& door);
  error_code send(const http::request<http::string_body>& request) {
    return within(kSend, [&](auto done) { http::async_write(stream_, request, done); });
  }
  template <class Parser>
  error_code read_header(Parser& parser, seconds limit) {
    return within(limit,
                  [&](auto done) { http::async_read_header(stream_, buffer_, parser, done); });
  }
  template <class Parser>
  error_code read(Parser& parser, seconds limit) {
    return within(limit, [&](auto done) { http::async_read(stream_, buffer_, parser, done); });
  }
  template <class Parser>
  error_code read_some(Parser& parser, seconds limit) {
    return within(limit, [&](auto done) { http::async_read_some(stream_, buffer_, parser, done); });
  }

 private:
  template <class Start>
  error_code within(seconds limit, Start start) {
    error_code result = net::error::timed_out;
    start([&result](error_code code, auto&&...) { result = code; });
    io_.restart();
    io_.run_for(limit);
    if (io_.stopped()) return result;
    boost::beast::get_lowest_layer(stream_).close();
    io_.run();
    return net::error::timed_out;
  }
  bool has_key(const std::array<std::uint8_t, 32>& key_sha256);

  net::io_context io_;
  net::ssl::context tls_;
  boost::beast::ssl_stream<boost::beast::tcp_stream> stream_;
  boost::beast::flat_buffer buffer_;
};

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
  net::ip::tcp::resolver resolver(io_);
  net::ip::tcp::resolver::results_type found;
  error_code code = within(kConnect, [&](auto done) {
    resolver.async_resolve(parts->first, parts->second, [&found, done](error_code e, auto all) {
      found = std::move(all);
      done(e);
    });
  });
  if (code) return failed(Kind::unreachable, fmt::format("{}: {}", door.address, code.message()));
  code = within(kConnect, [&](auto done) {
    boost::beast::get_lowest_layer(stream_).async_connect(found, done);
  });
  if (code) return failed(Kind::unreachable, fmt::format("{}: {}", door.address, code.message()));
  SSL_set_tlsext_host_name(stream_.native_handle(), parts->first.c_str());
  code = within(kHandshake,
                [&](auto done) { stream_.async_handshake(net::ssl::stream_base::client, done); });
  if (code)
    return failed(Kind::unreachable, fmt::format("{}: TLS: {}", door.address, code.message()));
  // Nothing was said yet but a hello. TLS proved that the other end holds the certificate's key.
  if (!has_key(door.key_sha256))
    return failed(Kind::impostor, fmt::format("{} answers with another key than the one that is "
                                              "expected: nothing was sent to it",
                                              door.address));
  return {};
}

http::request<http::string_body> request_to(const Door& door, std::string_view method,
                                            std::string_view type, std::string body) {
  http::request<http::string_body> request(http::verb::post, fmt::format("/{}", method), 11);
  request.set(http::field::host, door.address);
  request.set(http::field::content_type, {type.data(), type.size()});
  request.set("Connect-Protocol-Version", "1");
  if (!door.session.empty()) request.set(http::field::authorization, "Bearer " + door.session);
  request.body() = std::move(body);
  request.prepare_payload();
  return request;
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
