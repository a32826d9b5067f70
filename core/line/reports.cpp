// Opening, merging, revising and closing of reports.
#include "core/line/reports.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <limits>
#include <tuple>

namespace weir {
namespace {

std::string hash_of(std::string_view text) {
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

std::string who(const Actor& actor) {
  return actor.tree != 0 ? fmt::format("tree {}", actor.tree) : actor.address.text();
}

}  // namespace

Reports::Open& Reports::open(const Told& told, const std::string& key, const Stamp& at) {
  if (open_.size() >= kMaxOpenReports) {
    ++dropped_;
    close(open_.begin()->first);
  }
  const std::uint64_t serial = next_++;
  Open& opened = open_[serial];
  opened.key = key;
  opened.ends_ns = at.boot_ns + told.window_ns;
  due_ns_ = std::min(due_ns_, opened.ends_ns);
  Report& report = opened.report;
  report.group = hash_of(key);
  report.id = hash_of(fmt::format("{}\n{}\n{}", key, at.wall_ns, at.boot_ns));
  report.at = at;
  report.finding = told.finding;
  report.destination = told.destination;
  report.actor = told.actor;
  report.decision = told.decision;
  opened.spent = told.spent;
  by_key_[key] = serial;
  ++reports_;
  return opened;
}

void Reports::tell(const Told& told, const Stamp& at) {
  const std::string key = fmt::format("{}\n{}\n{}", told.subject, who(told.actor), told.about);
  const auto known = by_key_.find(key);
  if (known != by_key_.end() && open_.at(known->second).ends_ns <= at.boot_ns)
    close(known->second);  // its window is over: what follows is a recurrence
  const auto found = by_key_.find(key);
  const bool first = found == by_key_.end();
  Open& entry = first ? open(told, key, at) : open_.at(found->second);
  Report& report = entry.report;
  const auto weight = [](Action action, bool spent, bool enforced, Severity severity) {
    return std::tuple(action, spent, enforced, severity);
  };
  const auto was = weight(report.decision.action, entry.spent, report.decision.enforced,
                          report.finding.severity);
  const auto is =
      weight(told.decision.action, told.spent, told.decision.enforced, told.finding.severity);
  const bool stricter = is > was;
  // Newer words of the same detector carry newer numbers; milder ones take nothing back.
  if (stricter || (is == was && told.finding.detector == report.finding.detector)) {
    report.decision = told.decision;
    report.finding = told.finding;
    entry.spent = told.spent;
  }
  if (report.destination.name.empty()) report.destination.name = told.destination.name;
  if (report.actor.program.empty()) report.actor.program = told.actor.program;
  entry.counted.out = std::max(entry.counted.out, told.bytes_out);
  entry.counted.in = std::max(entry.counted.in, told.bytes_in);
  if (told.flow != 0 && entry.followed.size() < kMaxFollowed &&
      entry.followed.try_emplace(told.flow).second)
    followers_.emplace(told.flow, by_key_.at(key));
  const bool doubled = sum(entry, at);
  entry.moved = at;
  if (first || stricter || doubled || told.at_once) send(entry);
}

void Reports::follow(std::uint64_t flow, const FlowBytes& bytes, bool ended, const Stamp& at) {
  const auto [begin, end] = followers_.equal_range(flow);
  for (auto follower = begin; follower != end; ++follower) {
    const auto found = open_.find(follower->second);
    if (found == open_.end()) continue;
    Open& entry = found->second;
    entry.followed[flow] = bytes;
    if (ended) {
      entry.ended.out += bytes.out;
      entry.ended.in += bytes.in;
      entry.followed.erase(flow);
    }
    if (sum(entry, at)) send(entry);
  }
  if (ended) followers_.erase(flow);
}

// What a detector counted and what its flows carried are two views of the same bytes: the larger.
// True if the sum doubled since the last revision.
bool Reports::sum(Open& entry, const Stamp& at) {
  FlowBytes flows = entry.ended;
  for (const auto& [serial, bytes] : entry.followed) {
    flows.out += bytes.out;
    flows.in += bytes.in;
  }
  Report& report = entry.report;
  const std::uint64_t out = std::max({report.bytes_out, entry.counted.out, flows.out});
  const std::uint64_t in = std::max({report.bytes_in, entry.counted.in, flows.in});
  if (out == report.bytes_out && in == report.bytes_in) return false;
  report.bytes_out = out;
  report.bytes_in = in;
  entry.changed = true;
  entry.moved = at;
  entry.moved_ns = at.boot_ns;
  due_ns_ = std::min(due_ns_, at.boot_ns + entry.quiet_ns);
  return out + in >= 2 * std::max<std::uint64_t>(entry.told_bytes, 1);
}

void Reports::send(Open& entry) {
  Report& report = entry.report;
  ++report.revision;
  report.updated = entry.moved;
  entry.told_bytes = report.bytes_out + report.bytes_in;
  entry.changed = false;
  ++revisions_;
  send_(report);
}

void Reports::tick(const Stamp& now) {
  if (now.boot_ns < due_ns_) return;
  due_ns_ = std::numeric_limits<std::int64_t>::max();
  for (auto at = open_.begin(); at != open_.end();) {
    const std::uint64_t serial = at->first;
    Open& entry = at->second;
    ++at;
    if (entry.ends_ns <= now.boot_ns) {
      close(serial);
      continue;
    }
    if (entry.changed && now.boot_ns - entry.moved_ns >= entry.quiet_ns) {
      entry.quiet_ns *= 2;
      send(entry);
    }
    due_ns_ = std::min(due_ns_, entry.ends_ns);
    if (entry.changed) due_ns_ = std::min(due_ns_, entry.moved_ns + entry.quiet_ns);
  }
}

void Reports::close(std::uint64_t serial) {
  const auto found = open_.find(serial);
  if (found->second.changed) send(found->second);
  by_key_.erase(found->second.key);
  open_.erase(found);  // followers that point here are skipped and go with their flow
}

void Reports::finish(const Stamp&) {
  while (!open_.empty()) close(open_.begin()->first);
}

}  // namespace weir
