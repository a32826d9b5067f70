// One TLS connection: see tls_stream.h.
#include "proto/connect/tls_stream.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

namespace weir {

namespace net = boost::asio;
using boost::system::error_code;

struct TlsStream::Stream : net::ssl::stream<boost::beast::tcp_stream> {
  Stream(net::io_context& loop, net::ssl::context& tls) : stream(loop, tls), resolver(loop) {}
  net::ip::tcp::resolver resolver;
};

TlsStream::TlsStream(net::io_context& loop, net::ssl::context& tls)
    : stream_(std::make_unique<Stream>(loop, tls)) {}
TlsStream::~TlsStream() = default;

void TlsStream::adopt(int accepted) {
  error_code code;  // of a dead socket, which its first use finds as well; v6: not looked at again
  stream_->next_layer().socket().assign(net::ip::tcp::v6(), accepted, code);
}

void TlsStream::connect(const std::string& host, const std::string& port, Done done) {
  stream_->resolver.async_resolve(
      host, port, [this, done = std::move(done)](error_code code, const auto& found) {
        if (code) return done(code, 0);
        stream_->next_layer().async_connect(found,
                                            [done](error_code e, const auto&) { done(e, 0); });
      });
}

void TlsStream::handshake_as_client(Done done) {
  stream_->async_handshake(net::ssl::stream_base::client,
                           [done = std::move(done)](error_code code) { done(code, 0); });
}

void TlsStream::handshake_as_server(Done done) {
  stream_->async_handshake(net::ssl::stream_base::server,
                           [done = std::move(done)](error_code code) { done(code, 0); });
}

void TlsStream::read_some(void* into, std::size_t size, Done done) {
  stream_->async_read_some(net::buffer(into, size), std::move(done));
}

void TlsStream::write(std::string_view all, Done done) {
  net::async_write(*stream_, net::buffer(all.data(), all.size()), std::move(done));
}

void TlsStream::shutdown(Done done) {
  stream_->async_shutdown([done = std::move(done)](error_code code) { done(code, 0); });
}

void TlsStream::close() {
  stream_->next_layer().close();
}

void TlsStream::expires_after(std::chrono::seconds limit) {
  stream_->next_layer().expires_after(limit);
}

void TlsStream::expires_never() {
  stream_->next_layer().expires_never();
}

std::string TlsStream::peer() const {
  error_code gone;
  auto end = stream_->next_layer().socket().remote_endpoint(gone);
  return gone ? "" : end.address().to_string();
}

ssl_st* TlsStream::native_handle() {
  return stream_->native_handle();
}

}  // namespace weir
