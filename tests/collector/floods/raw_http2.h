// HTTP/2 by hand over TLS: what no library sends.
#pragma once

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>

namespace weir {

// From 127.0.0.FROM: strangers live elsewhere.
inline int tcp_connect(std::uint16_t port, unsigned from = 1) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience{5, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in source{};
  source.sin_family = AF_INET;
  source.sin_addr.s_addr = htonl((127u << 24) + from);
  (void)::bind(fd, reinterpret_cast<sockaddr*>(&source), sizeof source);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) return fd;
  ::close(fd);
  return -1;
}

class RawTls {
 public:
  // Without certificate and key none is shown.
  RawTls(std::uint16_t port, const std::string& certificate, const std::string& key,
         int version = TLS1_3_VERSION, unsigned from = 1)
      : context_(SSL_CTX_new(TLS_client_method())), fd_(tcp_connect(port, from)) {
    SSL_CTX_set_min_proto_version(context_, version);
    SSL_CTX_set_max_proto_version(context_, version);
    if (!certificate.empty()) {
      BIO* bio = BIO_new_mem_buf(certificate.data(), static_cast<int>(certificate.size()));
      X509* x509 = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
      SSL_CTX_use_certificate(context_, x509);
      X509_free(x509);
      BIO_free(bio);
      bio = BIO_new_mem_buf(key.data(), static_cast<int>(key.size()));
      EVP_PKEY* pkey = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
      SSL_CTX_use_PrivateKey(context_, pkey);
      EVP_PKEY_free(pkey);
      BIO_free(bio);
    }
    tls_ = SSL_new(context_);
    SSL_set_fd(tls_, fd_);
    const unsigned char protocols[] = {2, 'h', '2'};
    SSL_set_alpn_protos(tls_, protocols, sizeof protocols);
    open = fd_ >= 0 && SSL_connect(tls_) == 1;
  }
  ~RawTls() {
    SSL_free(tls_);
    SSL_CTX_free(context_);
    if (fd_ >= 0) ::close(fd_);
    ERR_clear_error();
  }
  RawTls(const RawTls&) = delete;
  RawTls& operator=(const RawTls&) = delete;

  bool send(const std::string& bytes) {
    if (!open) return false;
    open = SSL_write(tls_, bytes.data(), static_cast<int>(bytes.size())) > 0;
    if (open) sent += bytes.size();
    return open;
  }
  std::string read() {  // some; "": it ended, or nothing came for 5 s
    char bytes[4096];
    const int got = SSL_read(tls_, bytes, sizeof bytes);
    open = open && (SSL_get_shutdown(tls_) & SSL_RECEIVED_SHUTDOWN) == 0;
    return got > 0 ? std::string(bytes, static_cast<std::size_t>(got)) : "";
  }
  // Reads until the other end has ended it; false: it has not until then.
  bool ends(std::chrono::steady_clock::time_point until) {
    if (!open) return true;
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          until - std::chrono::steady_clock::now());
      pollfd ready{fd_, POLLIN, 0};
      if (SSL_pending(tls_) == 0 &&
          ::poll(&ready, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0))) != 1)
        return false;
      char bytes[16'384];
      if (SSL_read(tls_, bytes, sizeof bytes) <= 0) return true;
    }
  }
  void update_keys() {  // and the other end has to, too
    open =
        open && SSL_key_update(tls_, SSL_KEY_UPDATE_REQUESTED) == 1 && SSL_do_handshake(tls_) == 1;
  }
  bool open = false;
  std::size_t sent = 0;

 private:
  SSL_CTX* context_;
  SSL* tls_ = nullptr;
  int fd_;
};

// RFC 9113, 4.1
inline std::string frame(int type, int flags, std::uint32_t stream, const std::string& body) {
  std::string bytes;
  for (int shift : {16, 8, 0}) bytes += static_cast<char>(body.size() >> shift);
  bytes += static_cast<char>(type);
  bytes += static_cast<char>(flags);
  for (int shift : {24, 16, 8, 0}) bytes += static_cast<char>(stream >> shift);
  return bytes + body;
}
enum FrameType { kData, kHeaders, kPriority, kReset, kSettings, kPush, kPing, kGoAway, kWindow };
inline constexpr int kContinuation = 9, kEndHeaders = 4;
inline const std::string kPreface =
    std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + frame(kSettings, 0, 0, "");

// Literal, never indexed (RFC 7541, 6.2.3); lengths below 127.
inline std::string header(const std::string& name, const std::string& value) {
  return std::string("\x10", 1) + static_cast<char>(name.size()) + name +
         static_cast<char>(value.size()) + value;
}
inline std::string call_headers() {
  return "\x83\x87" + header(":path", "/weir.v1.AgentService/Connect") +
         header(":authority", "agents.weir") + header("content-type", "application/grpc") +
         header("te", "trailers");
}

}  // namespace weir
