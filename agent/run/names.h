// Names for the addresses that a command spoke to: a sealed child runs the line over the first
// bytes of its flows, because they are foreign and `weir exec` is root. It answers with fixed-size
// rows. Thread: one owner; forks.
#pragma once

#include <map>
#include <string>

#include "agent/run/process.h"
#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/event/address.h"

namespace weir {

class Names {
 public:
  static Result<Names> start();
  void record(Bytes record);  // of the ring; what the child has no room for is not named
  // Ends the child: every server that named itself (SNI, Host), by where it is.
  std::map<Endpoint, std::string> finish();

 private:
  Names(Process child, Fd records, Pipe answers)
      : child_(std::move(child)), records_(std::move(records)), answers_(std::move(answers)) {}

  Process child_;
  Fd records_;
  Pipe answers_;
};

}  // namespace weir
