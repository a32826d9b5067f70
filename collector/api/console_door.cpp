// The console door: see console_door.h. One thread runs every connection; the services answer on
// threads of their own and their answers are posted back.
#include "collector/api/console_door.h"

#include <fmt/format.h>
#include <openssl/ssl.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <map>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

#include "collector/api/answer_head.h"
#include "collector/api/calls.h"
#include "collector/api/holdings.h"
#include "collector/api/route.h"
#include "collector/api/transcode.h"
#include "collector/api/turns.h"
#include "proto/connect/envelope.h"
#include "proto/connect/tls_stream.h"

namespace weir {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using std::chrono::seconds;

constexpr seconds kHandshake{5}, kRequest{10};
constexpr seconds kBody{60};    // of who has a session: 70 KB/s bring the largest
constexpr seconds kIdle{60};    // between two requests of one connection
constexpr seconds kAnswer{40};  // `policy status --wait` answers after 30 s
constexpr std::uint32_t kMaxHeader = 8u << 10;
constexpr std::size_t kPiece = 16u << 10;  // a TLS record
// What is read and not yet understood: a head, or the head of a chunk; and a piece.
constexpr std::size_t kMaxUnread = kMaxHeader + kPiece;
constexpr std::string_view kLastChunk = "0\r\n\r\n";
constexpr std::string_view kRenew = "weir.v1.EnrolService/Renew";
constexpr int kInvalidArgument = 3, kResourceExhausted = 8, kInternal = 13;
constexpr int kPermissionDenied = 7, kUnauthenticated = 16;

const Turned kWait{429, kResourceExhausted, "too many failures: wait a minute"};

struct Shared {
  explicit Shared(ConsoleDoorOptions given, grpc::Server& services)
      : options(std::move(given)), calls(services), tls(net::ssl::context::tls_server) {}

  // Small numbers for the doorman, who keeps one apart from the other.
  std::uint32_t number_of(const std::string& principal) {
    return principals.try_emplace(principal, static_cast<std::uint32_t>(principals.size()))
        .first->second;
  }

  ConsoleDoorOptions options;
  ServiceCalls calls;
  net::ssl::context tls;
  Doorman* doorman = nullptr;
  // Held by whoever posts from another thread: the door may be gone before that thread is back.
  std::shared_ptr<net::io_context> loop = std::make_shared<net::io_context>(1);
  net::io_context& io = *loop;
  Failures failures;
  Holdings holdings;
  Turns turns;
  std::unordered_map<std::uint64_t, class Session*> sessions;
  std::uint64_t next_session = 1;
  std::map<std::string, std::uint32_t> principals;  // as many as the store has
};

std::int64_t now_s() {
  return std::chrono::duration_cast<seconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// One connection: requests one after the other until either end has enough.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(int accepted, std::shared_ptr<Visitor> visitor, Shared& shared)
      : stream_(shared.io, shared.tls),
        shared_(shared),
        visitor_(std::move(visitor)),
        number_(shared.next_session++) {
    stream_.adopt(accepted);
    shared_.sessions.emplace(number_, this);
  }
  ~Session() {
    hold(0);
    shared_.sessions.erase(number_);
    shared_.doorman->leave(*visitor_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void begin() {
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
    // The parser bounds a head and a body, but not what stands between two chunks.
    if (buffer_.size() > kMaxHeader) return (this->*then)(http::error::buffer_overflow);
    stream_.read_some(buffer_.prepare(kPiece).data(), kPiece,
                      [self = shared_from_this(), enough, then](error_code code, std::size_t size) {
                        if (code) return ((*self).*then)(code);
                        self->buffer_.commit(size);
                        self->visitor_->brought(size);
                        self->hold(self->parser_->get().body().size());
                        self->read(enough, then);
                      });
  }

  // May end this session, or another one.
  void hold(std::size_t bytes) {
    shared_.holdings.set(number_, bytes);
    while (std::optional<std::uint64_t> most = shared_.holdings.too_much()) {
      shared_.holdings.set(*most, 0);
      shared_.sessions.at(*most)->end();
    }
  }

  void on_head(error_code code) {
    if (code) return;
    const auto& head = parser_->get();
    keep_alive_ = head.keep_alive();
    auto view = [](auto text) { return std::string_view(text.data(), text.size()); };
    auto routed = route_of(
        {view(head.method_string()), view(head.target()), view(head[http::field::content_type]),
         view(head[http::field::authorization]), view(head[http::field::content_encoding])},
        shared_.options.principal_by_secret);
    if (auto* turned = std::get_if<Turned>(&routed))
      return turn_away(turned->grpc_code == kUnauthenticated && guesses() ? kWait : *turned);
    route_ = std::move(std::get<Route>(routed));
    if (route_.principal.empty() ? may_be_guess() && guesses() : !prove()) return turn_away(kWait);
    // Without a length that we understand, where the next request begins is anybody's guess.
    if (!parser_->chunked() && !parser_->content_length())
      return turn_away({411, kInvalidArgument, "the request has no Content-Length"});
    if (parser_->content_length().value_or(0) > route_.max_body)
      return turn_away({413, kInvalidArgument, "the request is too large"});
    parser_->body_limit(route_.max_body);
    stream_.expires_after(route_.principal.empty() ? kRequest : kBody);
    parser_->eager(true);
    read(&Parser::is_done, &Session::on_request);
  }

  // Who has a session is not kept from it by others of its address who guess; neither is a host
  // that renews, whose proof can't be guessed and is none of theirs.
  bool may_be_guess() const { return route_.method != kRenew; }
  bool guesses() const { return shared_.failures.too_many(visitor_->group(), now_s()); }
  bool prove() {
    if (!proven_) proven_ = shared_.doorman->prove(*visitor_, shared_.number_of(route_.principal));
    return proven_;
  }

  // Its body was not read: the connection can't go on.
  void turn_away(const Turned& turned) {
    keep_alive_ = false;
    if (turned.grpc_code == kUnauthenticated) shared_.failures.add(visitor_->group(), now_s());
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
    hold(call.request.size());
    if (route_.streams) return start_stream(std::move(call));
    shared_.turns.begin(route_.method,
                        [self = shared_from_this(), call = std::move(call)] { self->ask(call); });
  }

  void ask(const Call& call) {
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
    const std::string method = route_.method;
    answer_with(outcome);
    shared_.turns.end(method);
  }

  void answer_with(const CallOutcome& outcome) {
    if (outcome.code != 0) {
      // A wrong token counts as a wrong secret does; the next try costs a connection.
      if (route_.principal.empty()) keep_alive_ = false;
      if (route_.principal.empty() && may_be_guess() &&
          (outcome.code == kPermissionDenied || outcome.code == kUnauthenticated))
        shared_.failures.add(visitor_->group(), now_s());
      return answer_error(outcome.code, outcome.sentence);
    }
    if (route_.principal.empty()) shared_.doorman->give_back(*visitor_);
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
    out_ = answer_head(status, type, length) + body;
    stream_.expires_after(shared_.options.write_within);
    stream_.write(out_, [self = shared_from_this()](error_code code, std::size_t) {
      if (code) return;
      std::string().swap(self->out_);
      self->hold(0);
      if (self->keep_alive_) return self->read_head(kIdle);
      self->stream_.expires_after(kHandshake);
      self->stream_.shutdown([self](error_code, std::size_t) {});
    });
    hold(out_.size());
  }

  // ---- server streams ---------------------------------------------------------------------------

  void start_stream(Call call) {
    keep_alive_ = false;
    std::string_view type = route_.encoding == Encoding::json ? "application/connect+json"
                                                              : "application/connect+proto";
    out_ = answer_head(200, type, "Transfer-Encoding: chunked\r\n");
    stream_.expires_after(shared_.options.write_within);
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
    stream_.expires_after(shared_.options.write_within);
    stream_.write(out_, [self = shared_from_this(), then](error_code code, std::size_t) {
      self->writing_ = false;
      if (code) return self->end();
      std::string().swap(self->out_);
      self->hold(0);
      self->stream_.expires_never();
      if (!self->ended_) return then(*self);
      self->write_end(*std::exchange(self->ended_, std::nullopt));
    });
    hold(out_.size());
  }

  TlsStream stream_;
  Shared& shared_;
  const std::shared_ptr<Visitor> visitor_;
  const std::uint64_t number_;
  boost::beast::flat_buffer buffer_{kMaxUnread};
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
  bool proven_ = false;  // who has a session sent something over it
};

class Door final : public ConsoleDoor {
 public:
  Door(ConsoleDoorOptions options, grpc::Server& services)
      : shared_(std::move(options), services) {}
  ~Door() override { stop(); }

  Result<void> open();
  std::uint16_t port() const override { return doorman_->port(); }
  void stop() override;
  DoormanCounters counters() const override { return doorman_->counters(); }

 private:
  Result<void> prepare_tls();
  void let_in(int fd, const std::shared_ptr<Visitor>& visitor);

  std::unique_ptr<Doorman> doorman_;  // outlives the sessions
  Shared shared_;
  std::optional<net::executor_work_guard<net::io_context::executor_type>> open_;
  std::thread thread_;
};

Result<void> Door::prepare_tls() {
  auto failed = [this](const char* what, const error_code& code) {
    return fail(
        fmt::format("console door {}: {}: {}", shared_.options.address, what, code.message()));
  };
  error_code code;
  auto pem = [](const std::string& text) { return net::buffer(text.data(), text.size()); };
  SSL_CTX* tls = shared_.tls.native_handle();
  SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
  SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);  // 34 KiB of each that is idle
  SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
  // Nobody resumes. One is sent nevertheless: it carries the acknowledgement of the handshake's
  // end, which a client may wait for (Nagle) until a delayed one comes, 40 ms later.
  SSL_CTX_set_num_tickets(tls, 1);
  shared_.tls.use_certificate_chain(pem(shared_.options.certificate), code);
  if (code) return failed("its certificate", code);
  shared_.tls.use_private_key(pem(shared_.options.key), net::ssl::context::pem, code);
  if (code) return failed("its key", code);
  return {};
}

Result<void> Door::open() {
  if (Result<void> prepared = prepare_tls(); !prepared) return prepared;
  const std::string& address = shared_.options.address;
  if (address.find_last_of(':') == std::string::npos || address.starts_with(":"))
    return fail(fmt::format("--console {}: not HOST:PORT of this machine", address));
  Result<std::unique_ptr<Doorman>> doorman =
      Doorman::open({.address = address,
                     .door = "the console's door",
                     .who = "session",
                     .let_in = [this](int fd, const auto& visitor) { let_in(fd, visitor); },
                     .say = shared_.options.say,
                     .limits = shared_.options.doorman});
  if (!doorman) return tl::unexpected(doorman.error());
  doorman_ = std::move(*doorman);
  shared_.doorman = doorman_.get();
  open_.emplace(shared_.io.get_executor());
  thread_ = std::thread([this] { shared_.io.run(); });
  doorman_->start();
  return {};
}

void Door::let_in(int fd, const std::shared_ptr<Visitor>& visitor) {
  net::post(shared_.io,
            [this, fd, visitor] { std::make_shared<Session>(fd, visitor, shared_)->begin(); });
}

void Door::stop() {
  if (!thread_.joinable()) return;
  doorman_->stop();  // who was let in is on the loop before what follows
  net::post(shared_.io, [this] {
    open_.reset();
    for (const auto& [number, session] : std::unordered_map(shared_.sessions)) session->end();
    shared_.turns.forget();
  });
  thread_.join();
}

}  // namespace

DoormanLimits console_limits() {
  return {
      .unproven = 256,  // 60 KiB each: TLS and a head
      .unproven_of_address = 64,
      .waiting = 2'048,
      .waiting_of_address = 1'024,
      .of_host = 256,             // connections of a session: the watches that the services take
      .spoke_within_ms = 0,       // who watches is silent
      .prove_within_ms = 20'000,  // a handshake and a request; all that an enrolment needs
      .pressed_within_ms = 3'000,
      // Bytes are counted as they come out of TLS, so nothing is on its way but a record.
      .slack = 256 << 10,
      .flooder_waits_ms = 10'000,  // it may be a program of the administrator's
      // Who enrols, renews or has a session gets them back.
      .handshakes = 512,
      .handshakes_per_s = 200,
      .handshakes_of_address = 128,
      .handshakes_of_address_per_s = 50,
  };
}

Result<std::unique_ptr<ConsoleDoor>> start_console_door(ConsoleDoorOptions options,
                                                        grpc::Server& services) {
  auto door = std::make_unique<Door>(std::move(options), services);
  if (auto opened = door->open(); !opened) return tl::unexpected(opened.error());
  return door;
}

}  // namespace weir
