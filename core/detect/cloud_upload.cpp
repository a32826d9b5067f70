// Bursts, pieces and signals of cloud_upload.
#include "core/detect/cloud_upload.h"

#include <xxhash.h>

#include <algorithm>
#include <string>
#include <unordered_map>

#include "core/detect/account_table.h"
#include "core/detect/actor.h"
#include "core/detect/flow_map.h"
#include "core/detect/upload_service.h"
#include "core/detect/window.h"

namespace weir {
namespace {

constexpr std::int64_t kMinute = 60ll * 1'000'000'000;
constexpr std::int64_t kHour = 60 * kMinute;

// An upload: 64 KiB up in one burst. Of 719 measured honest destinations 5 got that in all.
constexpr std::uint64_t kBurst = 64 * 1024;
// A burst goes on while what comes down is below a twentieth of it. Measured uploads: below 1/190.
constexpr std::uint64_t kDownShare = 20;
constexpr std::uint64_t kDownSlack = 1024;  // an answer's headers
// Of each flow, what comes down whatever is sent: a handshake's certificates.
constexpr std::uint64_t kHandshake = 8 * 1024;
// Many small uploads: bursts from 4 KiB (a question to a page is below 2 KiB), 256 KiB in an hour.
constexpr std::uint64_t kPiece = 4 * 1024;
constexpr std::uint64_t kPieces = 256 * 1024;
// Whatever the shape: this much in an hour and twice what came down.
constexpr std::uint64_t kVolume = 1024 * 1024;

// What was signalled is signalled again with its last numbers when it was silent for so long.
constexpr std::int64_t kQuiet = 10ll * 1'000'000'000;

constexpr std::size_t kMaxFlows = 16384;    // open flows to such services; a desk has some dozen
constexpr std::size_t kMaxAccounts = 4096;  // (actor, service) of the last hours
constexpr std::size_t kMaxEarlier = 4096;   // (actor, address) that a name was seen for
// A flow without any name is looked up again once it has sent so much.
constexpr std::uint64_t kNameless = 48 * 1024;

struct Account {
  std::uint64_t key = 0;
  std::int64_t last_ns = 0;
  Window<12> pieces{5 * kMinute}, up{5 * kMinute}, down{5 * kMinute};
  std::uint64_t bytes_out = 0, bytes_in = 0;  // since it was last silent for an hour
  std::uint32_t flows = 0;
  std::uint64_t told = 0;  // bytes_out when it was signalled last, 0: never
  Signal signal;           // the last one
};

struct Watched {
  UploadService to;
  std::size_t account = 0;
  std::uint64_t account_key = 0;
  std::uint64_t up = 0, down = 0;              // of the flow, counted so far
  std::uint64_t burst_up = 0, burst_down = 0;  // of the burst at hand
};

std::uint8_t confidence_of(const UploadService& to, bool burst) {
  int percent = burst ? 85 : 70;
  if (to.upload_host) percent += 10;
  if (to.service->shared_host) percent -= 10;
  if (to.by == UploadService::By::resolved_name) percent -= 5;
  if (to.by == UploadService::By::earlier_flow) percent -= 15;
  return static_cast<std::uint8_t>(percent);
}

const char* known_by(UploadService::By by) {
  switch (by) {
    case UploadService::By::server_name:
      return "upload_by_server_name";
    case UploadService::By::http_host:
      return "upload_by_http_host";
    case UploadService::By::resolved_name:
      return "upload_by_resolved_name";
    case UploadService::By::address:
      return "upload_by_address";
    case UploadService::By::earlier_flow:
      return "upload_by_earlier_flow";
  }
  return "";
}

class CloudUpload final : public Detector {
 public:
  explicit CloudUpload(const Catalogue& catalogue) : catalogue_(catalogue) {}

  std::string_view id() const override { return "cloud_upload"; }

  void on(const Observation& seen, const Stamp& at, std::vector<Signal>& out) override {
    if (seen.flow == nullptr || seen.flow->record.key.server.address.is_loopback()) return;
    const Flow& flow = *seen.flow;
    if (seen.opened || seen.named_now) name(flow, at);
    Watched* watched = flows_.find(flow.serial);
    if (watched == nullptr) {
      const FlowRecord& record = flow.record;
      if (record.bytes_out < kNameless || !record.server_name.empty() || !known_earlier(flow, at))
        return;
      watched = flows_.find(flow.serial);
    }
    count(*watched, flow, at, out);
    if (!seen.closed) return;
    end_burst(*watched, account_of(*watched, at), at);
    flows_.close(flow.serial);
  }

  void tick(const Stamp& now, std::vector<Signal>& out) override {
    for (Account& account : accounts_.rows())
      if (account.told != 0 && now.boot_ns - account.last_ns > kQuiet) tell_final(account, out);
  }

  void finish(std::vector<Signal>& out) override {
    for (Account& account : accounts_.rows()) tell_final(account, out);
  }

  std::uint64_t dropped() const override { return flows_.dropped() + accounts_.dropped(); }

 private:
  static std::uint64_t place_hash(const Flow& flow) {
    const auto& bytes = flow.record.key.server.address.bytes;
    return XXH3_64bits_withSeed(bytes.data(), bytes.size(), actor_hash(actor_of(flow)));
  }

  void name(const Flow& flow, const Stamp& at) {
    const auto to = upload_service_of(flow, catalogue_);
    if (!to) {
      if (!flow.record.server_name.empty()) flows_.erase(flow.serial);  // it is something else
      return;
    }
    if (!to->name.empty()) {
      if (earlier_.size() >= kMaxEarlier) earlier_.clear();
      earlier_[place_hash(flow)] = *to;
    }
    watch(flow, *to, at);
  }

  // QUIC of an unknown version, or a session that goes on: another flow of the same actor to the
  // same address said where it goes.
  bool known_earlier(const Flow& flow, const Stamp& at) {
    const auto earlier = earlier_.find(place_hash(flow));
    if (earlier == earlier_.end()) return false;
    UploadService to = earlier->second;
    to.by = UploadService::By::earlier_flow;
    watch(flow, to, at);
    return true;
  }

  void watch(const Flow& flow, const UploadService& to, const Stamp& at) {
    const std::uint64_t key = XXH3_64bits_withSeed(to.service->id.data(), to.service->id.size(),
                                                   actor_hash(actor_of(flow))) |
                              1;
    Watched& watched = flows_.at(flow.serial);
    const bool moved = watched.account_key != key;
    watched.to = to;
    watched.account = accounts_.index_of(key, at.boot_ns);
    watched.account_key = key;
    if (moved) ++accounts_[watched.account].flows;
  }

  void count(Watched& watched, const Flow& flow, const Stamp& at, std::vector<Signal>& out) {
    const FlowRecord& record = flow.record;
    const std::uint64_t up = record.bytes_out - std::min(watched.up, record.bytes_out);
    const std::uint64_t down = record.bytes_in - std::min(watched.down, record.bytes_in);
    const std::uint64_t answered = std::max(record.bytes_in, kHandshake) -
                                   std::max(std::min(watched.down, record.bytes_in), kHandshake);
    if (up == 0 && down == 0) return;
    watched.up = record.bytes_out;
    watched.down = record.bytes_in;
    Account& account = account_of(watched, at);
    account.bytes_out += up;
    account.bytes_in += down;
    account.up.add(at.boot_ns, up);
    account.down.add(at.boot_ns, down);
    watched.burst_up += up;
    watched.burst_down += answered;
    if (watched.burst_down > kDownSlack + watched.burst_up / kDownShare) {
      end_burst(watched, account, at);
      return;
    }
    judge(watched, account, flow, at, out);
  }

  // The row may have given way to another since: then it begins anew.
  Account& account_of(Watched& watched, const Stamp& at) {
    watched.account = accounts_.index_of(watched.account_key, watched.account, at.boot_ns);
    Account& account = accounts_[watched.account];
    if (at.boot_ns - account.last_ns > kHour) {
      account.bytes_out = account.bytes_in = account.told = 0;
      account.flows = 1;
    }
    account.last_ns = std::max(account.last_ns, at.boot_ns);
    return account;
  }

  static void end_burst(Watched& watched, Account& account, const Stamp& at) {
    if (watched.burst_up >= kPiece) account.pieces.add(at.boot_ns, watched.burst_up);
    watched.burst_up = watched.burst_down = 0;
  }

  void judge(const Watched& watched, Account& account, const Flow& flow, const Stamp& at,
             std::vector<Signal>& out) {
    if (account.bytes_out < kBurst || account.bytes_out < 2 * account.told) return;
    const std::uint64_t pieces =
        account.pieces.sum(at.boot_ns) + (watched.burst_up >= kPiece ? watched.burst_up : 0);
    const std::uint64_t up = account.up.sum(at.boot_ns), down = account.down.sum(at.boot_ns);
    Reason why;
    std::uint64_t burst = 0;
    const std::string& service = watched.to.service->id;
    if (watched.burst_up >= kBurst) {
      burst = watched.burst_up;
      why = {"upload_burst", {service, std::to_string(burst), std::to_string(watched.down)}};
    } else if (pieces >= kPieces) {
      burst = pieces;
      why = {"upload_pieces", {service, std::to_string(pieces), std::to_string(account.flows)}};
    } else if (up >= kVolume && up >= 2 * down) {
      why = {"upload_volume", {service, std::to_string(up), std::to_string(down)}};
    } else {
      return;
    }
    account.told = account.bytes_out;
    account.signal = signal_of(watched, flow, std::move(why), burst);
    emit(account, out);
  }

  static Signal signal_of(const Watched& watched, const Flow& flow, Reason why,
                          std::uint64_t burst) {
    const UploadService& to = watched.to;
    Signal s;
    s.finding.detector = "cloud_upload";
    s.finding.severity = Severity::medium;
    s.finding.confidence = confidence_of(to, burst >= kBurst);
    s.finding.because.push_back(std::move(why));
    s.finding.because.push_back(
        {known_by(to.by), {to.name.empty() ? flow.record.key.server.address.text() : to.name}});
    if (flow.http_method == "PUT" || flow.http_method == "POST" || flow.http_method == "PATCH")
      s.finding.because.push_back({"upload_http_method", {flow.http_method}});
    s.finding.attack = {std::string(upload_technique(to.service->category))};
    s.destination.endpoint = flow.record.key.server;
    s.destination.name = to.name;
    s.destination.service = to.service->id;
    s.destination.category = to.service->category;
    s.destination.channel = flow.record.protocol;
    s.actor = actor_of(flow);
    s.socket = flow.socket;
    s.burst = burst;
    s.key = to.service->id;
    return s;
  }

  static void emit(Account& account, std::vector<Signal>& out) {
    account.signal.bytes_out = account.bytes_out;
    account.signal.bytes_in = account.bytes_in;
    out.push_back(account.signal);
  }

  static void tell_final(Account& account, std::vector<Signal>& out) {
    if (account.told == 0 || account.signal.bytes_out == account.bytes_out) return;
    emit(account, out);
  }

  const Catalogue& catalogue_;
  FlowMap<Watched, kMaxFlows> flows_;
  AccountTable<Account, kMaxAccounts> accounts_;
  std::unordered_map<std::uint64_t, UploadService> earlier_;
};

}  // namespace

std::unique_ptr<Detector> make_cloud_upload(const Catalogue& catalogue) {
  return std::make_unique<CloudUpload>(catalogue);
}

}  // namespace weir
