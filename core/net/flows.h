// Flows: packets in, flows and their names out. One bounded table; the first packets of a flow are
// taken apart (reassembled TCP bytes → TLS, HTTP/1; UDP 53 → DNS), the rest only counted.
// Thread: the line's. Nothing here reads a clock.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/event/event.h"
#include "core/event/report.h"
#include "core/net/damage.h"
#include "core/net/dns.h"

namespace weir {

// The interface of a flow's packets in one direction: known while all of them had the same.
struct Via {
  std::uint32_t index = 0;  // 0: none seen, not known, or several
  bool seen = false;

  void see(std::uint32_t other) {
    index = !seen || index == other ? other : 0;
    seen = true;
  }
};

struct Flow {
  FlowRecord record;  // key, protocol, names, bytes, wall times: grows while the flow lives.
                      // In a capture the key's client opened the flow; live it is the local end
  SocketRef socket;   // all zero in a capture
  Stamp first, last;  // of its packets
  std::string http_host;
  std::string http_method;
  std::string resolved_name;  // newest DNS answer that led here from this client, "" if none
  Via out, in;                // client to server, and back
  bool named = false;         // protocol and name are settled: nothing more will be learnt
  bool has_ledger = false;    // bytes come from FlowUsage, not from packets
  std::uint64_t serial = 0;   // unique within one Flows; detectors key their state by it
};

// What one packet or ledger record told.
struct Observation {
  const Flow* flow = nullptr;                // null: not a flow (ARP, damaged, ICMP errors)
  bool opened = false;                       // the flow's first packet
  bool named_now = false;                    // server name or protocol was settled by this packet
  bool closed = false;                       // FIN both ways, RST, or the ledger's close
  Direction direction = Direction::unknown;  // outgoing: client to server
  std::uint32_t payload = 0;  // transport payload bytes of this packet, retransmissions excluded
  std::uint32_t via = 0;      // interface of this packet, 0: not known
  const DnsMessage* dns = nullptr;  // set when the packet carried a whole DNS message (UDP or TCP)
  std::size_t dns_count = 0;  // a TCP segment may complete several: dns[0] … dns[dns_count - 1]
};

struct NetCounters {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  std::uint64_t flows = 0;
  std::array<std::uint64_t, static_cast<std::size_t>(Damage::count_)> malformed{};
  std::uint64_t flows_dropped = 0;       // evicted because the table was full
  std::uint64_t reassembly_dropped = 0;  // bytes of first flights beyond the limits
  std::uint64_t fragments_dropped = 0;
  std::uint64_t names_dropped = 0;    // names of addresses forgotten before their time
  std::uint64_t ledgers_dropped = 0;  // sockets whose earlier totals were forgotten
};

class Flows {
 public:
  // A flow left the table: closed, idle, evicted. The callee may keep it.
  using Ended = std::function<void(Flow&&)>;

  explicit Flows(Ended ended);
  ~Flows();
  Observation on(const Packet& packet, const Stamp& at);  // pointers live until the next call
  Observation on(const FlowUsage& usage, const Stamp& at);
  void expire(const Stamp& now);  // idle flows: TCP 300 s, UDP 60 s
  void finish();                  // ends all flows in the order in which they were opened
  const NetCounters& counters() const;
  // Names that a DNS answer gave this address for this client, newest first ("" client: any).
  std::vector<std::string> names_of(const IpAddress& client, const IpAddress& server) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir
