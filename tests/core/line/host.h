// A live host made by hand: events in, and everything that leaves the line kept.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "core/line/counters.h"
#include "core/line/line.h"
#include "core/policy/policy.h"
#include "tests/scenarios/traffic.h"

namespace weir {

struct Kept final : Outlet {
  void enforce(const Order& order) override { orders.push_back(order); }
  void report(const Report& report) override { reports.push_back(report); }
  void flow(const FlowRecord& flow) override { flows.push_back(flow); }
  void usage(const UsageRow& row) override { rows.push_back(row); }

  template <class T>
  std::vector<T> all() const {
    std::vector<T> out;
    for (const Order& order : orders)
      if (const T* one = std::get_if<T>(&order)) out.push_back(*one);
    return out;
  }
  // Last revision of each report, in order of first appearance.
  std::vector<Report> last() const {
    std::vector<Report> out;
    for (const Report& report : reports) {
      const auto known =
          std::find_if(out.begin(), out.end(), [&](const Report& r) { return r.id == report.id; });
      if (known == out.end()) {
        out.push_back(report);
      } else {
        *known = report;
      }
    }
    return out;
  }

  std::vector<Order> orders;
  std::vector<Report> reports;
  std::vector<FlowRecord> flows;
  std::vector<UsageRow> rows;
};

inline Condition leaf(Condition::Field field, std::vector<std::string> values) {
  Condition out;
  out.kind = Condition::Kind::leaf;
  out.field = field;
  out.values = std::move(values);
  return out;
}

// Adds a rule with one limit of bytes.
inline void add_limit(Policy& policy, std::string id, Condition when, std::uint64_t bytes, Per per,
                      std::int64_t window_ns = 0) {
  Limit limit;
  limit.rule = id;
  limit.bytes = bytes;
  limit.per = per;
  limit.window_ns = window_ns;
  Rule rule;
  rule.id = std::move(id);
  rule.when = std::move(when);
  rule.action = Action::limit;
  rule.severity = Severity::high;
  rule.limits = {static_cast<std::uint32_t>(policy.limits.size())};
  policy.limits.push_back(std::move(limit));
  policy.rules.push_back(std::move(rule));
}

inline void add_rule(Policy& policy, std::string id, Condition when, Action action) {
  Rule rule;
  rule.id = std::move(id);
  rule.when = std::move(when);
  rule.action = action;
  rule.severity = Severity::high;
  policy.rules.push_back(std::move(rule));
}

inline constexpr std::uint32_t kOffice = 7;  // index of tun0

// A resolver that proves names over the network `office`, which tun0 tells.
inline void trust_resolver(Policy& policy, const IpAddress& address) {
  policy.networks = {{"office", "tun0"}};
  policy.resolvers.push_back({address, "office"});
}

class Host {
 public:
  explicit Host(Policy policy, std::uint8_t tier = 1) {
    line.on({stamp(), HostStarted{"desk", "boot", tier}});
    change(std::move(policy));
  }

  Stamp stamp() const { return {script.now_ns, script.now_ns - 1'700'000'000'000'000'000 + 1}; }
  void change(Policy policy) {
    line.on({stamp(), PolicyChanged{std::make_shared<const Policy>(std::move(policy))}});
  }
  void start(std::uint32_t pid, TreeId tree, std::string_view program, PersonId person = 1000) {
    ProcessStarted started;
    started.pid = pid;
    started.tree = tree;
    started.person = person;
    started.start_ns = pid;
    started.program = program;
    line.on({stamp(), started});
  }
  void interface(std::string_view name, std::uint32_t index) {
    line.on({stamp(), InterfaceSeen{name, index}});
  }
  void packet(traffic::Buffer bytes, const SocketRef& socket, bool outgoing = true) {
    traffic::Sent sent{0, outgoing, std::move(bytes)};
    Event event = traffic::event_of(sent, socket);
    std::get<Packet>(event.body).via = via;
    event.at = stamp();
    line.on(event);
    script.now_ns += 1'000'000;
  }
  // A TCP connection that says where it goes; its later bytes are told by ledger().
  FlowKey hello(const SocketRef& socket, const Endpoint& client, const Endpoint& server,
                std::string_view name) {
    using namespace traffic;
    packet(tcp(client, server, 100, 0, kSyn, {}), socket);
    packet(tcp(server, client, 900, 101, kSyn | kAck, {}), socket, false);
    packet(tcp(client, server, 101, 901, kAck | kPush, client_hello(name)), socket);
    return {client, server, Transport::tcp};
  }
  void look_up(const Endpoint& client, const Endpoint& resolver, std::string_view name,
               const IpAddress& address, const SocketRef& socket) {
    packet(traffic::udp(client, resolver, traffic::dns_query(7, name)), socket);
    packet(traffic::udp(resolver, client, traffic::dns_answer(7, name, address)), socket, false);
  }
  void ledger(const SocketRef& socket, const FlowKey& flow, std::uint64_t sent, std::uint64_t got,
              bool closed = false, std::uint64_t refused = 0) {
    line.on({stamp(), FlowUsage{socket, flow, sent, got, refused, closed}});
    script.now_ns += 1'000'000;
  }
  void spent(const SocketRef& socket, const FlowKey& flow, std::uint32_t row, std::uint64_t bytes) {
    line.on({stamp(), AccountSpent{socket, flow, row, 0, bytes}});
    script.now_ns += 1'000'000;
  }
  void pass(std::int64_t seconds) {
    for (std::int64_t i = 0; i < seconds; ++i) {
      script.now_ns += 1'000'000'000;
      line.on({stamp(), Tick{}});
    }
  }

  std::uint32_t via = 2;  // interface of every packet: kOffice, or another
  traffic::Script script;
  Kept out;
  Line line{out};
};

}  // namespace weir
