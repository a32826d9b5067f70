// The line: event → enrich → detect → decide → enforce → report. Read this file first.
// One thread owns it. It never waits, opens nothing, asks no name service and reads no clock: time,
// policy and every fact come in as events, so the same events give the same reports.
#pragma once

#include <memory>

#include "core/event/event.h"
#include "core/event/report.h"

namespace weir {

// Where the line's results go. Called on the line's thread, inside on().
class Outlet {
 public:
  virtual ~Outlet() = default;
  virtual void enforce(const Order& order) = 0;  // live: to the guard; replay: dropped
  virtual void report(const Report& report) = 0;
  virtual void flow(const FlowRecord& flow) = 0;  // a flow ended, or the line is finished
  virtual void usage(const UsageRow& row) = 0;    // an hour closed
};

struct Counters;  // malformed by kind, dropped by limit, packets, bytes, flows:
                  // core/line/counters.h

class Line {
 public:
  explicit Line(Outlet& outlet);  // starts with the built-in default policy; `outlet` outlives it
  ~Line();
  Answer on(const Event& event);
  void finish();  // end of input: flushes open flows, windows and final revisions, in a fixed order
  const Counters& counters() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir
