// One stream to the agents' door: mTLS (TLS 1.3), the collector verified by the agents' authority
// and its name, nothing else. At most one message waits in each direction, so that memory stays
// flat whatever the other end does. A dead peer is found within 30 s (keepalive 10 s + 10 s). The
// owner polls; `wake` (an eventfd) is bumped when something changed. Thread: one owner; gRPC's own
// behind it.
#pragma once

#include <memory>
#include <string>

namespace weir {

namespace v1 {
class ConnectRequest;
class ConnectResponse;
}  // namespace v1

struct StreamOptions {
  std::string address;      // host:port
  std::string server_name;  // that its certificate must hold
  std::string ca_pem, key_pem, certificate_pem;
};

class Stream {
 public:
  Stream(const StreamOptions& options, int wake);
  ~Stream();  // breaks it off and waits until gRPC has let go
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  bool may_write() const;
  void write(const v1::ConnectRequest& request);  // may_write() held
  bool take(v1::ConnectResponse& response);       // false: nothing came
  bool ended() const;
  std::string why();  // it ended: lets go of it and says why; for people

 private:
  class Call;
  std::unique_ptr<Call> call_;
};

// Once, before any stream: what the library reads from the environment.
void prepare_streams();

}  // namespace weir
