// The console door: see console_door.h. One thread runs every connection; the services answer on
// threads of their own and their answers are posted back.
#include "collector/api/console_door.h"

#include <fmt/format.h>
#include <openssl/ssl.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <map>
#include <optional>
#include <thread>
#include <unordered_set>
#include <utility>

#include "collector/api/calls.h"
#include "collector/api/route.h"
#include "collector/api/transcode.h"
#include "proto/connect/envelope.h"
#include "proto/connect/tls_stream.h"

namespace weir {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using net::ip::tcp;
using std::chrono::seconds;

constexpr seconds kHandshake{5}, kRequest{15}, kWrite{30};
constexpr std::chrono::milliseconds kPause{100};
constexpr seconds kIdle{60};    // between two requests of one connection
constexpr seconds kAnswer{40};  // `policy status --wait` answers after 30 s
constexpr std::uint32_t kMaxHeader = 16u << 10;
constexpr std::size_t kPiece = 16u << 10;      // a TLS record
constexpr std::size_t kMaxConnections = 1024;  // 30 KiB of TLS state each
constexpr std::string_view kLastChunk = "0\r\n\r\n";
constexpr std::uint32_t kMaxOfAddress = 128;  // an office behind one address
constexpr int kInvalidArgument = 3, kResourceExhausted = 8, kInternal = 13;
constexpr int kPermissionDenied = 7, kUnauthenticated = 16;

struct Shared {
  explicit Shared(ConsoleDoorOptions given, grpc::Server& services)
      : options(std::move(given)), calls(services), tls(net::ssl::context::tls_server) {}

  ConsoleDoorOptions options;
  ServiceCalls calls;
  net::ssl::context tls;
  // Held by whoever posts from another thread: the door may be gone before that thread is back.
  std::shared_ptr<net::io_context> loop = std::make_shared<net::io_context>(1);
  net::io_context& io = *loop;
  Failures failures;
  std::unordered_set<class Session*> sessions;
  std::map<std::string, std::uint32_t> of_address;
};

std::int64_t now_s() {
  return std::chrono::duration_cast<seconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// One connection: requests one after the other until either end has enough.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, Shared& shared) : stream_(shared.io, shared.tls), shared_(shared) {
    error_code gone;
    if (int accepted = socket.release(gone); !gone) stream_.adopt(accepted);
    address_ = stream_.peer();
    shared_.sessions.insert(this);
    ++shared_.of_address[address_];
  }
  ~Session() {
    shared_.sessions.erase(this);
    if (--shared_.of_address[address_] == 0) shared_.of_address.erase(address_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void begin() {
    if (shared_.sessions.size() > kMaxConnections || shared_.of_address[address_] > kMaxOfAddress)
      return;
    stream_.expires_after(kHandshake);
    stream_.handshake_as_server([self = shared_from_this()](error_code code, std::size_t) {
      if (!code) self->read_head(kRequest);
    });
  }

  void end() {
    if (upstream_) upstream_->cancel();
    if (cancel_) cancel_();
    stream_.close();
  }

 private:
  using Parser = http::request_parser<http::string_body>;

  void read_head(seconds limit) {
    parser_.emplace();
    parser_->header_limit(kMaxHeader);
    parser_->body_limit(kMaxConnectMessage);
    stream_.expires_after(limit);
    read(&Parser::is_header_done, &Session::on_head);
  }

  // Until `enough`; `then` learns why it did not come to that.
  void read(bool (Parser::*enough)() const, void (Session::*then)(error_code)) {
    while (!((*parser_).*enough)()) {
      error_code code = http::error::need_more;
      if (buffer_.size() != 0) buffer_.consume(parser_->put(buffer_.data(), code));
      if (code == http::error::need_more) return read_piece(enough, then);
      if (code) return (this->*then)(code);
    }
    (this->*then)({});
  }

  void read_piece(bool (Parser::*enough)() const, void (Session::*then)(error_code)) {
    stream_.read_some(buffer_.prepare(kPiece).data(), kPiece,
                      [self = shared_from_this(), enough, then](error_code code, std::size_t size) {
                        if (code) return ((*self).*then)(code);
                        self->buffer_.commit(size);
                        self->read(enough, then);
                      });
  }

  void on_head(error_code code) {
    if (code) return;
    const auto& head = parser_->get();
    keep_alive_ = head.keep_alive();
    if (shared_.failures.too_many(address_, now_s()))
      return turn_away({429, kResourceExhausted, "too many failures: wait a minute"});
    auto view = [](auto text) { return std::string_view(text.data(), text.size()); };
    auto routed = route_of(
        {view(head.method_string()), view(head.target()), view(head[http::field::content_type]),
         view(head[http::field::authorization]), view(head[http::field::content_encoding])},
        shared_.options.principal_by_secret);
    if (auto* turned = std::get_if<Turned>(&routed)) return turn_away(*turned);
    route_ = std::move(std::get<Route>(routed));
    if (parser_->content_length().value_or(0) > route_.max_body)
      return turn_away({413, kInvalidArgument, "the request is too large"});
    parser_->body_limit(route_.max_body);
    stream_.expires_after(kRequest);
    parser_->eager(true);
    read(&Parser::is_done, &Session::on_request);
  }

  // Its body was not read: the connection can't go on.
  void turn_away(const Turned& turned) {
    keep_alive_ = false;
    if (turned.grpc_code == kUnauthenticated) shared_.failures.add(address_, now_s());
    answer(turned.status, turned.grpc_code == 0 ? "text/plain" : "application/json",
           turned.grpc_code == 0 ? turned.sentence + "\n"
                                 : error_body(turned.grpc_code, turned.sentence));
  }

  void on_request(error_code code) {
    if (code == http::error::body_limit)
      return turn_away({413, kInvalidArgument, "the request is too large"});
    if (code) return;
    std::string body = std::move(parser_->get().body());
    if (route_.streams) {
      Envelopes envelopes;
      envelopes.add(body);
      std::optional<ConnectEnvelope> whole = envelopes.take();
      if (!whole || whole->flags != 0 || !envelopes.empty())
        return answer_error(kInvalidArgument, "the request is not one uncompressed message");
      body = std::move(whole->message);
    }
    Result<std::string> request = request_message(route_.method, body, route_.encoding);
    if (!request) return answer_error(kInvalidArgument, request.error().sentence);
    stream_.expires_never();
    Call call{route_.method, route_.principal, std::move(*request)};
    if (route_.streams) return start_stream(std::move(call));
    calling_.emplace(shared_.io.get_executor());
    cancel_ = shared_.calls.unary(
        call, kAnswer, [self = shared_from_this()](CallOutcome outcome) mutable {
          hand_over(std::move(self), &Session::on_outcome, std::move(outcome));
        });
  }

  // From a thread of gRPC to ours. The session moves along: it ends on our thread.
  static void hand_over(std::shared_ptr<Session> self, void (Session::*then)(const CallOutcome&),
                        CallOutcome outcome) {
    std::shared_ptr<net::io_context> loop = self->shared_.loop;
    net::post(*loop, [self = std::move(self), then, outcome = std::move(outcome)] {
      self->calling_.reset();
      self->cancel_ = nullptr;
      ((*self).*then)(outcome);
    });
  }

  void on_outcome(const CallOutcome& outcome) {
    if (outcome.code != 0) {
      // A wrong token or proof counts as a wrong secret does.
      if (route_.principal.empty() &&
          (outcome.code == kPermissionDenied || outcome.code == kUnauthenticated))
        shared_.failures.add(address_, now_s());
      return answer_error(outcome.code, outcome.sentence);
    }
    Result<std::string> body = answer_body(route_.method, outcome.answer, route_.encoding);
    if (!body) return answer_error(kInternal, body.error().sentence);
    answer(200, route_.encoding == Encoding::json ? "application/json" : "application/proto",
           *body);
  }

  void answer_error(int code, const std::string& sentence) {
    answer(http_status(code), "application/json", error_body(code, sentence));
  }

  void answer(unsigned status, std::string_view type, const std::string& body) {
    std::string length = fmt::format("Content-Length: {}\r\n{}", body.size(),
                                     keep_alive_ ? "" : "Connection: close\r\n");
    out_ = head(status, type, length) + body;
    stream_.expires_after(kWrite);
    stream_.write(out_, [self = shared_from_this()](error_code code, std::size_t) {
      if (code) return;
      if (self->keep_alive_) return self->read_head(kIdle);
      self->stream_.expires_after(kHandshake);
      self->stream_.shutdown([self](error_code, std::size_t) {});
    });
  }

  static std::string head(unsigned status, std::string_view type, std::string_view lines) {
    auto reason = http::obsolete_reason(http::int_to_status(status));
    return fmt::format(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nCache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
        "Strict-Transport-Security: max-age=31536000\r\n{}\r\n",
        status, std::string_view(reason.data(), reason.size()), type, lines);
  }

  // ---- server streams ---------------------------------------------------------------------------

  void start_stream(Call call) {
    keep_alive_ = false;
    std::string_view type = route_.encoding == Encoding::json ? "application/connect+json"
                                                              : "application/connect+proto";
    out_ = head(200, type, "Transfer-Encoding: chunked\r\n");
    stream_.expires_after(kWrite);
    stream_.write(
        out_, [self = shared_from_this(), call = std::move(call)](error_code code, std::size_t) {
          if (!code) self->open_upstream(call);
        });
  }

  void open_upstream(const Call& call) {
    calling_.emplace(shared_.io.get_executor());
    upstream_ = shared_.calls.stream(
        call,
        [this](std::string message) {  // alive: on_end, the last call, holds the session
          std::shared_ptr<net::io_context> loop = shared_.loop;
          net::post(*loop, [self = shared_from_this(), message = std::move(message)] {
            self->on_message(message);
          });
        },
        [self = shared_from_this()](CallOutcome outcome) mutable {
          hand_over(std::move(self), &Session::on_end, std::move(outcome));
        });
    stream_.expires_never();
    upstream_->next();
    watch();
  }

  // A client says nothing more after its request: what comes is its end.
  void watch() {
    stream_.read_some(&nothing_, 1,
                      [self = shared_from_this()](error_code, std::size_t) { self->end(); });
  }

  void on_message(const std::string& message) {
    Result<std::string> body = answer_body(route_.method, message, route_.encoding);
    if (!body) return end();
    write_chunk(envelope(0, *body), [](Session& self) {
      if (self.upstream_) self.upstream_->next();
    });
  }

  // The service may end while a message is on its way to a client that reads slowly.
  void on_end(const CallOutcome& outcome) {
    upstream_.reset();
    if (writing_)
      ended_ = outcome;
    else
      write_end(outcome);
  }

  void write_end(const CallOutcome& outcome) {
    std::string last = "{}";
    if (outcome.code != 0)
      last = fmt::format(R"({{"error":{}}})", error_body(outcome.code, outcome.sentence));
    write_chunk(envelope(kConnectEndOfStream, last), [](Session& self) {
      self.stream_.write(
          kLastChunk, [self = self.shared_from_this()](error_code, std::size_t) { self->end(); });
    });
  }

  void write_chunk(const std::string& bytes, void (*then)(Session&)) {
    out_ = fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
    writing_ = true;
    stream_.expires_after(kWrite);
    stream_.write(out_, [self = shared_from_this(), then](error_code code, std::size_t) {
      self->writing_ = false;
      if (code) return self->end();
      self->stream_.expires_never();
      if (!self->ended_) return then(*self);
      self->write_end(*std::exchange(self->ended_, std::nullopt));
    });
  }

  TlsStream stream_;
  Shared& shared_;
  std::string address_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::shared_ptr<ServiceStream> upstream_;
  std::function<void()> cancel_;  // of a unary call
  // While a service works for us the thread stays, to hear its answer.
  std::optional<net::executor_work_guard<net::io_context::executor_type>> calling_;
  std::string out_;  // what is being written
  Route route_;
  std::optional<CallOutcome> ended_;  // of the service, while a message is being written
  bool writing_ = false;
  char nothing_ = 0;
  bool keep_alive_ = false;
};

class Door final : public ConsoleDoor {
 public:
  Door(ConsoleDoorOptions options, grpc::Server& services)
      : shared_(std::move(options), services), acceptor_(shared_.io), pause_(shared_.io) {}
  ~Door() override {
    try {
      stop();
    } catch (const std::exception& error) {  // its thread is still there: that ends the process
      std::fprintf(stderr, "weir-collector: the console's door: %s\n", error.what());
    }
  }

  Result<void> open();
  std::uint16_t port() const override { return acceptor_.local_endpoint().port(); }
  void stop() override;

 private:
  Result<tcp::endpoint> endpoint();
  void accept();

  Shared shared_;
  tcp::acceptor acceptor_;
  net::steady_timer pause_;
  std::thread thread_;
};

Result<tcp::endpoint> Door::endpoint() {
  const std::string& address = shared_.options.address;
  std::size_t colon = address.rfind(':');
  std::string host = colon == std::string::npos ? "" : address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  error_code code;
  tcp::resolver resolver(shared_.io);
  auto found = resolver.resolve(host, colon == std::string::npos ? "" : address.substr(colon + 1),
                                tcp::resolver::passive, code);
  if (host.empty() || code || found.empty())
    return fail(fmt::format("--console {}: not HOST:PORT of this machine", address));
  return found.begin()->endpoint();
}

Result<void> Door::open() {
  auto failed = [this](const char* what, const error_code& code) {
    return fail(
        fmt::format("console door {}: {}: {}", shared_.options.address, what, code.message()));
  };
  error_code code;
  auto pem = [](const std::string& text) { return net::buffer(text.data(), text.size()); };
  SSL_CTX_set_min_proto_version(shared_.tls.native_handle(), TLS1_3_VERSION);
  shared_.tls.use_certificate_chain(pem(shared_.options.certificate), code);
  if (code) return failed("its certificate", code);
  shared_.tls.use_private_key(pem(shared_.options.key), net::ssl::context::pem, code);
  if (code) return failed("its key", code);
  Result<tcp::endpoint> at = endpoint();
  if (!at) return tl::unexpected(at.error());
  acceptor_.open(at->protocol(), code);
  if (!code) acceptor_.set_option(tcp::acceptor::reuse_address(true), code);
  if (!code) acceptor_.bind(*at, code);
  if (!code) acceptor_.listen(net::socket_base::max_listen_connections, code);
  if (code) return failed("can't listen", code);
  accept();
  thread_ = std::thread([this] { shared_.io.run(); });
  return {};
}

void Door::accept() {
  acceptor_.async_accept([this](error_code code, tcp::socket socket) {
    if (code == net::error::operation_aborted) return;
    if (!code) {
      std::make_shared<Session>(std::move(socket), shared_)->begin();
      return accept();
    }
    pause_.expires_after(kPause);  // no descriptor is left: not in a busy loop
    pause_.async_wait([this](error_code stopped) {
      if (!stopped) accept();
    });
  });
}

void Door::stop() {
  if (!thread_.joinable()) return;
  net::post(shared_.io, [this] {
    error_code none;
    acceptor_.close(none);
    pause_.cancel();
    for (Session* session : std::unordered_set<Session*>(shared_.sessions)) session->end();
  });
  thread_.join();
}

}  // namespace

Result<std::unique_ptr<ConsoleDoor>> start_console_door(ConsoleDoorOptions options,
                                                        grpc::Server& services) {
  auto door = std::make_unique<Door>(std::move(options), services);
  if (auto opened = door->open(); !opened) return tl::unexpected(opened.error());
  return door;
}

}  // namespace weir
