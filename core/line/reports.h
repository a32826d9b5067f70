// The report book: one open report per group and window, revised when it matters, never per packet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>

#include "core/event/event.h"
#include "core/event/report.h"

namespace weir {

inline constexpr std::int64_t kReportWindowNs = 24 * 3'600'000'000'000;  // unless its limit has one
// Open reports. The oldest is closed early, with its last revision, when one more begins.
inline constexpr std::size_t kMaxOpenReports = 4096;
// Flows that one open report follows for its bytes; those beyond count from what was judged only.
inline constexpr std::size_t kMaxFollowed = 4096;
// A report that changed and is quiet for this long is revised; each time twice as long.
inline constexpr std::int64_t kQuietNs = 10'000'000'000;

// What is to be told: a judged flow, a finding or a spent account.
struct Told {
  std::string subject;   // the rule that won, or the detector where none did
  std::string about;     // zone, service, registered domain or network
  bool at_once = false;  // a revision, whatever it changes
  bool spent = false;    // an account is empty: said rather than what led there
  Finding finding;
  Destination destination;
  Actor actor;
  Decision decision;
  std::int64_t window_ns = kReportWindowNs;
  std::uint64_t bytes_out = 0;  // of a finding: what its detector counted
  std::uint64_t bytes_in = 0;
  std::uint64_t flow = 0;  // serial of the flow whose bytes the report follows; 0: none
};

struct FlowBytes {
  std::uint64_t out = 0;
  std::uint64_t in = 0;
};

class Reports {
 public:
  using Send = std::function<void(const Report&)>;
  explicit Reports(Send send) : send_(std::move(send)) {}

  void tell(const Told& told, const Stamp& at);
  // New totals of a flow that reports follow; `ended`: these are its last.
  void follow(std::uint64_t flow, const FlowBytes& bytes, bool ended, const Stamp& at);
  void tick(const Stamp& now);    // quiet reports are revised, windows that are over are closed
  void finish(const Stamp& now);  // last revisions, in the order in which the reports began
  std::uint64_t reports() const { return reports_; }
  std::uint64_t revisions() const { return revisions_; }
  std::uint64_t dropped() const { return dropped_; }

 private:
  struct Open {
    Report report;
    std::string key;
    std::int64_t ends_ns = 0;   // boot
    std::int64_t moved_ns = 0;  // boot time of the last change
    std::int64_t quiet_ns = kQuietNs;
    std::uint64_t told_bytes = 0;  // out and in at the last revision
    Stamp moved;
    bool changed = false;
    bool spent = false;
    FlowBytes counted;  // by detectors
    FlowBytes ended;    // of followed flows that ended
    std::map<std::uint64_t, FlowBytes> followed;
  };

  Open& open(const Told& told, const std::string& key, const Stamp& at);
  bool sum(Open& open, const Stamp& at);
  void send(Open& open);
  void close(std::uint64_t serial);

  Send send_;
  std::map<std::uint64_t, Open> open_;  // by order of their beginning
  std::unordered_map<std::string, std::uint64_t> by_key_;
  std::unordered_multimap<std::uint64_t, std::uint64_t> followers_;  // flow → report
  std::int64_t due_ns_ = 0;  // boot time before which no report has to be looked at
  std::uint64_t next_ = 1;
  std::uint64_t reports_ = 0, revisions_ = 0, dropped_ = 0;
};

}  // namespace weir
