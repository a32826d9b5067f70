// Sums and levels of bulk_egress.
#include "core/detect/bulk_egress.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <string>

#include "core/detect/account_table.h"
#include "core/detect/actor.h"
#include "core/detect/flow_map.h"
#include "core/detect/upload_service.h"
#include "core/detect/window.h"
#include "core/net/zone.h"

namespace weir {
namespace {

constexpr std::int64_t kMinute = 60ll * 1'000'000'000;
constexpr std::int64_t kHour = 60 * kMinute;

// Of 719 measured honest destinations the 99th percentile got 65 kB and the largest 211 kB, in
// captures of up to two hours; 1 MiB of customer rows is some 40,000 of them.
constexpr std::uint64_t kBulk = 1024 * 1024;
// The site's own network: backups, printers and shares move gigabytes, what they hold stays.
constexpr std::uint64_t kBulkInside = 256 * 1024 * 1024;
// (up - down) / (up + down) in percent: uploads are above 98, mail 40, calls 0, browsing -50.
constexpr int kPushing = 60;

constexpr std::size_t kMaxFlows = 131072;   // as many as core/net keeps
constexpr std::size_t kMaxAccounts = 4096;  // (actor, destination) of the last hours

struct Account {
  std::uint64_t key = 0;
  std::int64_t last_ns = 0;
  Window<12> up{5 * kMinute}, down{5 * kMinute};
  std::uint64_t bytes_out = 0, bytes_in = 0;  // since it was last silent for an hour
  std::uint32_t flows = 0;
  std::uint64_t told = 0;  // bytes within the hour when it was signalled last, 0: never
  Signal signal;
};

struct Counted {
  std::uint64_t up = 0, down = 0;
  std::uint64_t account = 0;  // key, 0: cloud_upload counts it
  std::size_t row = 0;
};

std::string network_text(const IpAddress& address) {
  Prefix prefix{address, static_cast<std::uint8_t>(address.is_v4() ? 120 : 48)};
  for (std::size_t bit = prefix.length; bit < 128; ++bit)
    prefix.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> bit % 8));
  return prefix.text();
}

const std::string& name_of(const Flow& flow) {
  return !flow.record.server_name.empty() ? flow.record.server_name
         : !flow.http_host.empty()        ? flow.http_host
                                          : flow.resolved_name;
}

// A name counts as the key only if the client's resolver led it there: a server name is a claim,
// and a new claim for each flow must not mean a new account for each.
std::string key_of(const Flow& flow) {
  std::string key = registered_domain(flow.resolved_name);
  return key.empty() ? network_text(flow.record.key.server.address) : key;
}

bool is_inside(const Flow& flow) {
  return flow.record.key.server.address.is_private() &&
         name_of(flow).find('.') == std::string::npos;
}

class BulkEgress final : public Detector {
 public:
  explicit BulkEgress(const Catalogue& catalogue) : catalogue_(catalogue) {}

  std::string_view id() const override { return "bulk_egress"; }

  void on(const Observation& seen, const Stamp& at, std::vector<Signal>& out) override {
    if (seen.flow == nullptr) return;
    const Flow& flow = *seen.flow;
    const IpAddress& server = flow.record.key.server.address;
    if (server.is_loopback() || server.is_multicast()) return;
    if (flow.record.protocol == "dns") return;  // dns_tunnel counts what names say
    Counted* counted = flows_.find(flow.serial);
    if (counted == nullptr) {
      // Where it goes is asked once, when its name is known or will not be.
      if (!flow.named && !seen.closed && flow.record.bytes_out < kNameless) return;
      counted = &begin(flow, at);
    }
    count(*counted, flow, at, out);
    if (seen.closed) flows_.close(flow.serial);
  }

  void tick(const Stamp& now, std::vector<Signal>& out) override {
    for (Account& account : accounts_.rows())
      if (now.boot_ns - account.last_ns > kQuiet) tell_final(account, out);
  }

  void finish(std::vector<Signal>& out) override {
    for (Account& account : accounts_.rows()) tell_final(account, out);
  }

  std::uint64_t dropped() const override { return flows_.dropped() + accounts_.dropped(); }

 private:
  static constexpr std::uint64_t kNameless = 16 * 1024;  // no hello is longer: a name will not come
  static constexpr std::int64_t kQuiet = 10ll * 1'000'000'000;

  Counted& begin(const Flow& flow, const Stamp& at) {
    Counted& counted = flows_.at(flow.serial);
    if (!upload_service_of(flow, catalogue_)) {  // else cloud_upload counts it
      const std::string key = key_of(flow);
      counted.account =
          XXH3_64bits_withSeed(key.data(), key.size(), actor_hash(actor_of(flow))) | 1;
      ++row(counted, at).flows;
    }
    return counted;
  }

  Account& row(Counted& counted, const Stamp& at) {
    counted.row = accounts_.index_of(counted.account, counted.row, at.boot_ns);
    Account& account = accounts_[counted.row];
    if (at.boot_ns - account.last_ns > kHour) {
      account.bytes_out = account.bytes_in = account.told = 0;
      account.flows = 0;
    }
    account.last_ns = std::max(account.last_ns, at.boot_ns);
    return account;
  }

  void count(Counted& counted, const Flow& flow, const Stamp& at, std::vector<Signal>& out) {
    if (counted.account == 0) return;
    const FlowRecord& record = flow.record;
    const std::uint64_t up = record.bytes_out - std::min(counted.up, record.bytes_out);
    const std::uint64_t down = record.bytes_in - std::min(counted.down, record.bytes_in);
    if (up == 0 && down == 0) return;
    counted.up = record.bytes_out;
    counted.down = record.bytes_in;
    Account& account = row(counted, at);
    account.bytes_out += up;
    account.bytes_in += down;
    account.up.add(at.boot_ns, up);
    account.down.add(at.boot_ns, down);
    if (account.bytes_out >= kBulk && up > 0) judge(account, flow, at, out);
  }

  void judge(Account& account, const Flow& flow, const Stamp& at, std::vector<Signal>& out) {
    const std::uint64_t up = account.up.sum(at.boot_ns);
    if (up < kBulk || up < 2 * account.told) return;
    const std::uint64_t down = account.down.sum(at.boot_ns);
    const auto pushing = static_cast<int>((static_cast<double>(up) - static_cast<double>(down)) *
                                          100 / static_cast<double>(up + down));
    if (pushing < kPushing) return;
    const bool inside = is_inside(flow);
    if (inside && up < kBulkInside) return;
    account.told = up;
    const std::string key = key_of(flow);
    const std::string& name = name_of(flow);
    const std::string& where = name.empty() ? key : name;
    Signal s;
    s.finding.detector = "bulk_egress";
    s.finding.severity = inside ? Severity::low : Severity::medium;
    s.finding.confidence = static_cast<std::uint8_t>(std::clamp(pushing - 10, 50, 90));
    s.finding.because = {{"bulk_bytes", {where, std::to_string(up), "1h"}},
                         {"bulk_ratio", {std::to_string(up), std::to_string(down)}}};
    if (account.flows > 1)
      s.finding.because.push_back({"bulk_flows", {std::to_string(account.flows)}});
    s.finding.because.push_back(inside         ? Reason{"bulk_inside", {}}
                                : name.empty() ? Reason{"bulk_no_name", {}}
                                               : Reason{"bulk_not_catalogued", {where}});
    s.finding.attack = {"T1048"};
    s.destination.endpoint = flow.record.key.server;
    s.destination.name = name;
    s.destination.channel = flow.record.protocol;
    s.actor = actor_of(flow);
    s.socket = flow.socket;
    s.key = key;
    account.signal = std::move(s);
    emit(account, out);
  }

  static void emit(Account& account, std::vector<Signal>& out) {
    account.signal.bytes_out = account.bytes_out;
    account.signal.bytes_in = account.bytes_in;
    out.push_back(account.signal);
  }

  static void tell_final(Account& account, std::vector<Signal>& out) {
    if (account.told != 0 && account.signal.bytes_out != account.bytes_out) emit(account, out);
  }

  const Catalogue& catalogue_;
  FlowMap<Counted, kMaxFlows> flows_;
  AccountTable<Account, kMaxAccounts> accounts_;
};

}  // namespace

std::unique_ptr<Detector> make_bulk_egress(const Catalogue& catalogue) {
  return std::make_unique<BulkEgress>(catalogue);
}

}  // namespace weir
