// A command of an administrator, on its way to be done: signatures verified here, over bytes that
// nobody has parsed; then read by a child without rights (role read_command); then judged by its
// own terms and by what was done before; then remembered on the disk; only then done. One at a
// time. Thread: the guard's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "agent/guard/done_commands.h"
#include "agent/guard/exceptions.h"
#include "agent/guard/keeping.h"
#include "agent/guard/sealed_memory.h"
#include "agent/guard/signed_reading.h"
#include "agent/guard/spawner.h"

namespace weir {

// Who does what a verb says. A verb that this version knows and nobody does is refused by its name.
// To add one: its line in commands.cpp, and what it does in Guard::carry_out().
enum class Doer : std::uint8_t { nobody, uplink, guard };
Doer doer_of(std::uint32_t verb);  // CommandBody.Verb
std::string_view name_of_verb(std::uint32_t verb);

struct CommandEnded {
  wire::CommandId id{};
  std::uint32_t verb = 0;  // 0: nobody has read it
  wire::CommandOutcome outcome = wire::CommandOutcome::refused;
  wire::CommandRefusal why = wire::CommandRefusal::none;
  std::string words;  // its argument
  std::string asked;  // who asks and why, as was signed
  CountedKeys keys;   // who has signed
  bool again = false;
  std::optional<ExceptionTable> exceptions;  // to hold, or to tell; of a verb that is the guard's
  std::optional<PolicyTrust> trust;          // likewise: the host is in another group
  std::uint64_t tree = 0;                    // whose processes are to end
};

struct CommandCounters {
  std::uint64_t offered = 0, done = 0, refused = 0, again = 0;
};

// What a verb that is the guard's would come to: one of the two, or why it is not done.
struct CommandNext {
  wire::CommandRefusal why = wire::CommandRefusal::none;
  std::string words{};
  std::optional<ExceptionTable> exceptions{};
  std::optional<PolicyTrust> trust{};
  wire::CommandRefusal note = wire::CommandRefusal::none;  // what is told of one that is done
  std::uint64_t tree = 0;                                  // whose processes are to end
};

class Commands {
 public:
  Commands(DoneCommands done, std::uint64_t now_ns) : done_(done), line_(now_ns) {}

  // Something: it ended already, refused. Nothing: read() will be called, at the child's end.
  std::optional<CommandEnded> begin(const wire::OfferCommand& offer, SealedMemory body,
                                    const PolicyTrust& trust, Spawner& spawner,
                                    std::uint64_t now_ns);
  bool reads() const { return answer_ >= 0; }
  bool busy() const { return reads() || line_.waits(); }
  bool is_late(std::uint64_t now_ns) const;  // the child
  // Something: it ended. Nothing: kept() will say when it is on the disk. `next`: also asked whom
  // to tell that it is refused.
  using Next = std::function<CommandNext(const CommandReading&, wire::CommandRefusal)>;
  std::optional<CommandEnded> read(int status, const PolicyTrust& trust, std::int64_t wall_s,
                                   std::uint64_t now_ns, const Next& next);
  // `apply`: puts what stands on the disk into the kernel, or says why it can't be; `in_force`:
  // what holds without it.
  using Apply = std::function<Result<void>(const ExceptionTable&)>;
  std::optional<CommandEnded> kept(std::uint64_t now_ns, const Apply& apply,
                                   const ExceptionTable& in_force);
  // It was remembered, and could not be done: as if it had never been asked.
  CommandEnded take_back(CommandEnded ended, std::string words);
  // The disk says something else than what holds: it is written again, until it is there.
  void owe_table() { owes_table_ = true; }
  void settle(const ExceptionTable& in_force, std::uint64_t now_ns);
  const CommandCounters& counters() const { return counters_; }

 private:
  CommandEnded refused(wire::CommandRefusal why, std::string words = "");
  std::optional<CommandEnded> refuse_aloud(CommandNext change, std::uint64_t now_ns);
  std::optional<CommandEnded> remember(std::uint64_t now_ns);
  CommandEnded not_remembered(const char* words);
  std::optional<CommandEnded> not_applied(const Error& why, const ExceptionTable& in_force,
                                          std::uint64_t now_ns);
  CommandEnded count(CommandEnded ended);

  DoneCommands done_;
  KeepLine line_;
  CommandEnded now_;           // the one that is under way
  bool change_first_ = false;  // what it changes is on the way to the disk, before its id
  bool table_alone_ = false;   // it is refused, and that is on the way to the disk
  bool owes_table_ = false, owes_ids_ = false;
  enum class Settles : std::uint8_t { nothing, table, ids } settles_ = Settles::nothing;
  int answer_ = -1;  // memory that the child writes to
  std::uint64_t began_ns_ = 0;
  CommandCounters counters_;
};

}  // namespace weir
