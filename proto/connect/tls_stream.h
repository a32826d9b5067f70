// A TLS connection as both ends of the Connect protocol use it. What Asio and Beast make of it is
// many times larger than what they are asked for, so it is compiled here, once for every operation,
// whoever asks. Thread: the io_context's.
#pragma once

#include <boost/system/error_code.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

struct ssl_st;
namespace boost::asio {
class io_context;
namespace ssl {
class context;
}
}  // namespace boost::asio

namespace weir {

class TlsStream {
 public:
  // Called once, by the loop, when the operation has ended; the stream must live until then. The
  // number of bytes that went through; 0 where none do.
  using Done = std::function<void(boost::system::error_code, std::size_t)>;

  TlsStream(boost::asio::io_context& loop, boost::asio::ssl::context& tls);
  ~TlsStream();

  void adopt(int accepted);  // a connected TCP socket, ours from here on
  void connect(const std::string& host, const std::string& port, Done done);
  void handshake_as_client(Done done);
  void handshake_as_server(Done done);
  void read_some(void* into, std::size_t size, Done done);
  void write(std::string_view all, Done done);  // its bytes stay until then
  void shutdown(Done done);
  void close();  // whatever is under way ends

  // For what is started after it; a connection that needs longer is closed.
  void expires_after(std::chrono::seconds limit);
  void expires_never();

  std::string peer() const;  // its address, "" if it is gone already
  ssl_st* native_handle();

 private:
  struct Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace weir
