// Where the line's results go in the engine: orders to the guard, reports to people and to the
// state, usage rows to the state; with a collector all that it is to get to the spool. Thread: the
// line's.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <unordered_set>

#include "agent/cli/printer.h"
#include "agent/engine/line_file.h"
#include "agent/engine/spooler.h"
#include "agent/guard/messages.h"
#include "core/event/event.h"
#include "core/event/report.h"
#include "core/line/line.h"
#include "core/policy/explain.h"

namespace weir {

// The engine's end of the conversation with the guard (agent/guard/messages.h).
class GuardLine {
 public:
  explicit GuardLine(int fd) : fd_(fd) {}
  template <class M>
  void tell(M message) {
    Bytes bytes = wire::seal(message, sequence_);
    if (!send(bytes)) --sequence_;  // not heard: the next one has its number
  }
  std::uint64_t dropped() const { return dropped_; }

 private:
  bool send(Bytes bytes);
  int fd_;
  std::uint32_t sequence_ = 0;
  std::uint64_t dropped_ = 0;
};

class EngineOutlet : public Outlet {
 public:
  struct Files {
    int output, reports, usage, sessions;
  };
  EngineOutlet(GuardLine& guard, const Files& files, const PrinterOptions& options);
  ~EngineOutlet() override;
  EngineOutlet(const EngineOutlet&) = delete;
  EngineOutlet& operator=(const EngineOutlet&) = delete;

  void enforce(const Order& order) override;
  void report(const Report& report) override;
  void flow(const FlowRecord&) override {}
  void usage(const UsageRow& row) override;

  // From now on; `spooler` outlives this.
  void use(Spooler* spooler) { spooler_ = spooler; }
  void audit(const Event& event);  // the collector gets it if it is one of the audit lane
  void request(Bytes bytes);       // weir.v1.ExceptionRequest; what is none is dropped
  void command(const wire::CommandTold& told, const Stamp& at);  // likewise
  void tell_spool_losses();  // what found no room since it was last called, as a gap
  void session(const Session& session, const Stamp& at);
  // Its verdict is not needed any more, nor the one that its last record may give: most short
  // connections are over before anything of them is read.
  void closed(std::uint64_t cookie);
  void flush();
  void drain();
  std::uint64_t dropped() const;

 private:
  void order(const Classify& order);
  void order(const ClassifyAddress& order);
  void order(const Block& order);

  // Sockets that have a verdict: as many as the kernel's table of verdicts.
  static constexpr std::size_t kMaxClassified = 65536;

  GuardLine& guard_;
  Language language_;
  LineFile output_, reports_, usage_, sessions_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> page_;  // memory that the printer writes into
  char* page_text_ = nullptr;
  std::size_t page_size_ = 0;
  std::unique_ptr<Printer> printer_;
  std::unordered_set<std::uint64_t> classified_;
  Spooler* spooler_ = nullptr;
  std::array<std::uint64_t, kSpoolLanes> told_lost_{};
  std::uint64_t closed_ = 0;  // the last socket that closed
};

}  // namespace weir
