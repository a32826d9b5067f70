// Where the line's results go in the engine: see outlet.h.
#include "agent/engine/outlet.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <cstdlib>
#include <string_view>

#include "agent/engine/spool_records.h"
#include "agent/wire/report_proto.h"

namespace weir {
namespace {

// 90 days of usage rows of a desk (about 1,000 rows of 250 bytes a day) take 23 MB; reports far
// less. `weir run` starts a new file when one is full and keeps the one before.
constexpr std::uint64_t kMaxStateFile = 64u << 20;
constexpr int kDrainMs = 1000;

std::uint64_t boot(std::int64_t ns) {
  return ns < 0 ? 0 : static_cast<std::uint64_t>(ns);
}

const char* name_of(Session::Kind kind) {
  constexpr const char* kNames[] = {"login",  "failed_login", "logout", "lock",
                                    "unlock", "remote_login", "su",     "sudo"};
  return kNames[static_cast<std::size_t>(kind)];
}

// A field that the host wrote, as a JSON string: what is not plain ASCII is escaped byte by byte.
std::string quoted(std::string_view text) {
  std::string json = "\"";
  for (unsigned char c : text)
    json += c >= 0x20 && c < 0x7f && c != '"' && c != '\\' ? std::string(1, static_cast<char>(c))
                                                           : fmt::format("\\u{:04x}", c);
  return json + '"';
}

}  // namespace

bool GuardLine::send(Bytes bytes) {
  // Nobody waits for the guard either: an order that finds its queue full leaves the socket where
  // the kernel's own rows have it, which is never looser.
  if (::send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
      static_cast<ssize_t>(bytes.size()))
    return true;
  ++dropped_;
  return false;
}

EngineOutlet::EngineOutlet(GuardLine& guard, const Files& files, const PrinterOptions& options)
    : guard_(guard),
      language_(options.language),
      output_(files.output, 0),
      reports_(files.reports, kMaxStateFile),
      usage_(files.usage, kMaxStateFile),
      sessions_(files.sessions, kMaxStateFile),
      page_(::open_memstream(&page_text_, &page_size_), std::fclose) {
  WEIR_CHECK(page_ != nullptr);
  printer_ = std::make_unique<Printer>(page_.get(), options);
}

EngineOutlet::~EngineOutlet() {
  printer_.reset();
  page_.reset();  // the stream's text is ours only after this
  std::free(page_text_);
}

void EngineOutlet::enforce(const Order& given) {
  std::visit([this](const auto& known) { order(known); }, given);
}

void EngineOutlet::order(const Classify& given) {
  if (given.cookie == 0 || given.cookie == closed_) return;
  wire::Classify message;
  message.cookie = given.cookie;
  message.limits = given.limits;
  message.destination = given.destination;
  message.trust = static_cast<std::uint32_t>(given.trust);
  message.via = given.via;
  message.exception = given.exception;
  guard_.tell(message);
  if (classified_.size() < kMaxClassified) classified_.insert(given.cookie);
}

void EngineOutlet::order(const ClassifyAddress& given) {
  wire::ClassifyAddress message;
  message.address = given.address.bytes;
  message.length = 128;
  message.trust = static_cast<std::uint32_t>(given.trust);
  message.limits = given.limits;
  message.destination = given.destination;
  message.until_boot_ns = boot(given.until_boot_ns);
  message.final = given.final ? 1 : 0;
  guard_.tell(message);
}

void EngineOutlet::order(const Block& given) {
  if (given.tree == 0) return;
  wire::Block message;
  message.tree = given.tree;
  message.destination = given.destination;
  message.until_boot_ns = boot(given.until_boot_ns);
  message.target = static_cast<std::uint32_t>(given.target);
  guard_.tell(message);
}

void EngineOutlet::report(const Report& report) {
  if (spooler_ != nullptr) spooler_->offer(SpoolLane::alert, record_of(report));
  reports_.add(json_line(report, language_));
  std::rewind(page_.get());
  printer_->report(report);
  std::fflush(page_.get());
  std::string_view text(page_text_, page_size_);
  output_.add(text.substr(0, text.size() - text.ends_with('\n')));
}

void EngineOutlet::usage(const UsageRow& row) {
  if (spooler_ != nullptr) spooler_->offer(SpoolLane::telemetry, record_of(row));
  usage_.add(json_line(row));
}

void EngineOutlet::audit(const Event& event) {
  if (spooler_ == nullptr) return;
  if (std::optional<std::string> record = audit_record_of(event))
    spooler_->offer(SpoolLane::audit, std::move(*record));
}

void EngineOutlet::command(const wire::CommandTold& told, const Stamp& at) {
  if (spooler_ != nullptr) spooler_->offer(SpoolLane::audit, record_of(told, at));
}

void EngineOutlet::request(Bytes bytes) {
  if (spooler_ == nullptr) return;
  if (std::optional<std::string> record = request_record_of(bytes))
    spooler_->offer(SpoolLane::audit, std::move(*record));
}

void EngineOutlet::tell_spool_losses() {
  if (spooler_ == nullptr) return;
  constexpr std::array<const char*, kSpoolLanes> kNames{"spool_queue_alert", "spool_queue_audit",
                                                        "spool_queue_telemetry"};
  std::array<std::uint64_t, kSpoolLanes> lost = spooler_->lost();
  for (std::size_t n = 0; n < kSpoolLanes; ++n)
    if (std::uint64_t more = lost[n] - told_lost_[n]; more > 0) {
      told_lost_[n] = lost[n];
      spooler_->offer(SpoolLane::audit, record_of(Gap{kNames[n], more}));
    }
}

void EngineOutlet::session(const Session& session, const Stamp& at) {
  sessions_.add(fmt::format(
      R"({{"atWallNs":"{}","kind":"{}","person":{},"seat":{},"remote":{},"origin":{}}})",
      at.wall_ns, name_of(session.kind),
      session.person == kNoPerson ? "null" : fmt::to_string(session.person), quoted(session.seat),
      quoted(session.remote), quoted(session.origin)));
}

void EngineOutlet::closed(std::uint64_t cookie) {
  closed_ = cookie;
  if (classified_.erase(cookie) == 0) return;
  wire::Forget message;
  message.cookie = cookie;
  guard_.tell(message);
}

void EngineOutlet::flush() {
  for (LineFile* file : {&output_, &reports_, &usage_, &sessions_}) file->flush();
}

void EngineOutlet::drain() {
  for (LineFile* file : {&output_, &reports_, &usage_, &sessions_}) file->drain(kDrainMs);
}

std::uint64_t EngineOutlet::dropped() const {
  return output_.dropped() + reports_.dropped() + usage_.dropped() + sessions_.dropped() +
         guard_.dropped();
}

}  // namespace weir
