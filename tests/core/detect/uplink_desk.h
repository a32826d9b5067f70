// A desk that sends: feeds a detector with the growth of flows, without packets.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/detect/detector.h"

namespace weir {

class UplinkDesk {
 public:
  explicit UplinkDesk(std::unique_ptr<Detector> detector) : detector_(std::move(detector)) {}

  struct To {
    std::string name;      // server name, "" none
    std::string resolved;  // what the resolver said of the address
    const char* address = "203.0.113.10";
    std::string protocol = "tls";
    std::string method = {};
    std::string host = {};
  };

  std::uint64_t open(const To& to) {
    Flow& flow = flows_[++serial_];
    flow.serial = serial_;
    flow.record.key.client = {*IpAddress::parse(client_), static_cast<std::uint16_t>(serial_)};
    flow.record.key.server = {*IpAddress::parse(to.address), 443};
    flow.record.key.transport = Transport::tcp;
    flow.socket.tree = tree_;
    flow.resolved_name = to.resolved;
    flow.record.protocol = "tcp";
    Observation seen = seen_of(flow);
    seen.opened = true;
    tell(seen);
    flow.record.bytes_out = 517;  // a hello
    flow.record.protocol = to.protocol;
    flow.record.server_name = to.name;
    flow.http_host = to.host;
    flow.http_method = to.method;
    flow.named = true;
    seen = seen_of(flow);
    seen.named_now = true;
    tell(seen);
    return serial_;
  }
  // Packets of 1,400 bytes up, answered by `down` bytes in all, spread evenly.
  void exchange(std::uint64_t serial, std::uint64_t up, std::uint64_t down) {
    Flow& flow = flows_.at(serial);
    const std::uint64_t steps = std::max<std::uint64_t>(1, std::max(up, down) / 1400);
    const std::uint64_t out0 = flow.record.bytes_out, in0 = flow.record.bytes_in;
    for (std::uint64_t i = 1; i <= steps; ++i) {
      flow.record.bytes_out = out0 + up * i / steps;
      tell(seen_of(flow));
      flow.record.bytes_in = in0 + down * i / steps;
      tell(seen_of(flow));
    }
  }
  void ledger(std::uint64_t serial, std::uint64_t out, std::uint64_t in) {  // new totals at once
    Flow& flow = flows_.at(serial);
    flow.has_ledger = true;
    flow.record.bytes_out = out;
    flow.record.bytes_in = in;
    tell(seen_of(flow));
  }
  void close(std::uint64_t serial) {
    Observation seen = seen_of(flows_.at(serial));
    seen.closed = true;
    tell(seen);
    tell(seen_of(flows_.at(serial)));  // a late segment
  }
  void wait(std::int64_t ns) {
    now_ += ns;
    detector_->tick({now_, now_}, signals);
  }
  void tree(TreeId tree) { tree_ = tree; }
  void client(const char* address) { client_ = address; }
  void finish() { detector_->finish(signals); }

  std::vector<Signal> signals;

 private:
  Observation seen_of(const Flow& flow) {
    Observation seen;
    seen.flow = &flow;
    return seen;
  }
  void tell(const Observation& seen) { detector_->on(seen, {now_, now_}, signals); }

  std::unique_ptr<Detector> detector_;
  std::map<std::uint64_t, Flow> flows_;
  std::uint64_t serial_ = 0;
  TreeId tree_ = 0;
  const char* client_ = "192.0.2.7";
  std::int64_t now_ = 1'700'000'000ll * 1'000'000'000;
};

}  // namespace weir
