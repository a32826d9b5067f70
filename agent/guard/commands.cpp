// A command on its way to be done: see commands.h.
#include "agent/guard/commands.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "agent/guard/offers.h"

namespace weir {
namespace {

using wire::CommandOutcome;
using wire::CommandRefusal;

constexpr std::uint64_t kReadNs = 10'000'000'000;  // as a policy's compiler

struct VerbRow {
  std::string_view name;
  Doer doer;
};
// By CommandBody.Verb.
constexpr std::array<VerbRow, 12> kVerbs{{{"", Doer::nobody},
                                          {"block_destination", Doer::guard},
                                          {"isolate", Doer::guard},
                                          {"undo", Doer::guard},
                                          {"except", Doer::guard},
                                          {"send_health", Doer::uplink},
                                          {"renew_certificate", Doer::uplink},
                                          {"forget_person", Doer::nobody},
                                          {"deny_request", Doer::guard},
                                          {"join_group", Doer::guard},
                                          {"release", Doer::nobody},
                                          {"kill_tree", Doer::guard}}};

}  // namespace

Doer doer_of(std::uint32_t verb) {
  return verb < kVerbs.size() ? kVerbs[verb].doer : Doer::nobody;
}
std::string_view name_of_verb(std::uint32_t verb) {
  return verb < kVerbs.size() ? kVerbs[verb].name : "";
}

CommandEnded Commands::refused(CommandRefusal why, std::string words) {
  now_.exceptions.reset();
  now_.trust.reset();
  now_.why = why;
  now_.words = std::move(words);
  now_.outcome = why == CommandRefusal::expired ? CommandOutcome::expired : CommandOutcome::refused;
  return count(now_);
}

CommandEnded Commands::count(CommandEnded ended) {
  if (ended.again)
    ++counters_.again;
  else
    ++(ended.outcome == CommandOutcome::done ? counters_.done : counters_.refused);
  return ended;
}

std::optional<CommandEnded> Commands::begin(const wire::OfferCommand& offer, SealedMemory body,
                                            const PolicyTrust& trust, Spawner& spawner,
                                            std::uint64_t now_ns) {
  ++counters_.offered;
  now_ = {};
  now_.id = offer.id;
  if (body.bytes().size() != offer.body_size || body.bytes().size() > kMaxCommandBytes)
    return refused(CommandRefusal::damaged, "it has another size");
  SignatureCount count =
      count_signatures(kCommandPurpose, body.bytes(),
                       std::span(offer.signature).first(offer.signatures), trust, wall_s());
  now_.keys = count.good;
  if (CommandRefusal why = refusal_of<CommandRefusal>(count, trust); why != CommandRefusal::none)
    return refused(why, why == CommandRefusal::failed ? "libsodium" : "");
  answer_ = new_memory("weir-command");
  const int fds[] = {body.fd(), answer_};
  if (answer_ < 0 || !spawner.spawn(Role::read_command, fds)) {
    if (answer_ >= 0) ::close(std::exchange(answer_, -1));
    return refused(CommandRefusal::failed, "its reader could not be started");
  }
  began_ns_ = now_ns;
  return std::nullopt;
}

bool Commands::is_late(std::uint64_t now_ns) const {
  return reads() && now_ns - began_ns_ > kReadNs;
}

std::optional<CommandEnded> Commands::read(int status, const PolicyTrust& trust, std::int64_t wall,
                                           std::uint64_t now_ns, const Next& next) {
  const int fd = std::exchange(answer_, -1);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    ::close(fd);
    return refused(CommandRefusal::failed, "its reader did not end well");
  }
  Result<SealedMemory> memory = SealedMemory::take(fd, sizeof(CommandReading));
  if (!memory) return refused(CommandRefusal::failed, memory.error().sentence);
  Result<CommandReading> read = read_command_reading(memory->bytes());
  if (!read) return refused(CommandRefusal::failed, read.error().sentence);
  if (read->refusal == 0) {
    now_.verb = read->verb;
    now_.asked = read->asked.data();
  }
  if (CommandRefusal why = check_command(*read, now_.id, trust.host, wall);
      why != CommandRefusal::none) {
    if (why == CommandRefusal::expired && doer_of(now_.verb) == Doer::guard &&
        done_.find(now_.id) == nullptr)
      return refuse_aloud(next(*read, why), now_ns);
    return refused(why, read->refusal == 0 && why == CommandRefusal::damaged
                            ? "it was signed under another id"
                            : read->words.data());
  }
  if (const DoneCommand* before = done_.find(now_.id)) {
    now_.again = true;
    now_.outcome = static_cast<CommandOutcome>(before->outcome);
    now_.why = static_cast<CommandRefusal>(before->reason);
    if (now_.why == CommandRefusal::not_built) now_.words = name_of_verb(before->verb);
    return count(now_);
  }
  const bool built = doer_of(now_.verb) != Doer::nobody;
  if (doer_of(now_.verb) == Doer::guard) {
    CommandNext change = next(*read, CommandRefusal::none);
    if (change.why != CommandRefusal::none) return refuse_aloud(std::move(change), now_ns);
    now_.exceptions = std::move(change.exceptions);
    now_.trust = std::move(change.trust);
    now_.why = change.note;
    now_.tree = change.tree;
  }
  now_.outcome = built ? CommandOutcome::done : CommandOutcome::refused;
  if (!built) now_.why = CommandRefusal::not_built;
  if (!built) now_.words = name_of_verb(now_.verb);
  if (!done_.add(
          {now_.id, read->expires_wall_s, now_.verb, static_cast<std::uint32_t>(now_.outcome),
           static_cast<std::uint32_t>(now_.why), 0},
          wall))
    return refused(CommandRefusal::too_many);
  change_first_ = now_.exceptions || now_.trust;
  return remember(now_ns);
}

// It may be decided again, so its id is not remembered; but who asked is told, if there is one.
std::optional<CommandEnded> Commands::refuse_aloud(CommandNext change, std::uint64_t now_ns) {
  const CommandEnded ended = refused(change.why, std::move(change.words));
  if (!change.exceptions || !line_.ask(KeptFile::exceptions, change.exceptions->bytes(), now_ns))
    return ended;
  now_.exceptions = std::move(change.exceptions);
  table_alone_ = true;
  return std::nullopt;
}

// What is to hold first, then the kernel, then the id: with an id that was taken and nothing that
// holds it would be lost, the other way round it is done again, to the same end.
std::optional<CommandEnded> Commands::remember(std::uint64_t now_ns) {
  bool asked = false;
  if (!change_first_) {
    asked = line_.ask(KeptFile::done_commands, done_.bytes(), now_ns);
  } else if (now_.exceptions) {
    asked = line_.ask(KeptFile::exceptions, now_.exceptions->bytes(), now_ns);
  } else if (Result<std::string> text = write_trust(*now_.trust)) {
    asked = line_.ask(KeptFile::trust, bytes_of(*text), now_ns);
  }
  if (asked) return std::nullopt;
  return not_remembered("it could not be handed over to be remembered");
}

std::optional<CommandEnded> Commands::kept(std::uint64_t now_ns, const Apply& apply,
                                           const ExceptionTable& in_force) {
  std::optional<bool> kept = line_.hear(now_ns);
  if (!kept) return std::nullopt;
  if (const Settles was = std::exchange(settles_, Settles::nothing); was != Settles::nothing) {
    if (!*kept) (was == Settles::table ? owes_table_ : owes_ids_) = true;
    return std::nullopt;
  }
  if (std::exchange(table_alone_, false)) {
    owes_table_ |= !*kept;
    return now_;
  }
  if (!*kept) return not_remembered("it could not be remembered on the disk");
  if (!std::exchange(change_first_, false)) return count(now_);
  if (now_.exceptions)
    if (auto applied = apply(*now_.exceptions); !applied)
      return not_applied(applied.error(), in_force, now_ns);
  return remember(now_ns);
}

// The disk is to say again what holds, and then the answer is given.
std::optional<CommandEnded> Commands::not_applied(const Error& why, const ExceptionTable& in_force,
                                                  std::uint64_t now_ns) {
  done_.remove(now_.id);
  ExceptionTable table = in_force;
  table.tell_refused(*now_.exceptions, wire::CommandRefusal::failed, why.sentence);
  const CommandEnded ended = refused(CommandRefusal::failed, why.sentence);
  now_.exceptions = table;
  table_alone_ = line_.ask(KeptFile::exceptions, table.bytes(), now_ns);
  if (table_alone_) return std::nullopt;
  owes_table_ = true;
  return ended;
}

// What holds by now is done, also if its id is not remembered yet: it is in a moment. A refusal
// leaves nothing behind, also where the disk took the table and was too late to say so.
CommandEnded Commands::not_remembered(const char* words) {
  const bool holds = (now_.trust || now_.exceptions) && !change_first_;
  change_first_ = false;
  if (holds) {
    owes_ids_ = true;
    return count(now_);
  }
  owes_table_ |= now_.exceptions.has_value();
  done_.remove(now_.id);
  return refused(CommandRefusal::failed, words);
}

CommandEnded Commands::take_back(CommandEnded ended, std::string words) {
  done_.remove(ended.id);
  owes_ids_ = true;
  --counters_.done;
  ++counters_.refused;
  ended.outcome = CommandOutcome::refused;
  ended.why = CommandRefusal::failed;
  ended.words = std::move(words);
  return ended;
}

void Commands::settle(const ExceptionTable& in_force, std::uint64_t now_ns) {
  if (busy() || (!owes_table_ && !owes_ids_)) return;
  const bool table = owes_table_;
  if (!line_.ask(table ? KeptFile::exceptions : KeptFile::done_commands,
                 table ? in_force.bytes() : done_.bytes(), now_ns))
    return;
  settles_ = table ? Settles::table : Settles::ids;
  (table ? owes_table_ : owes_ids_) = false;  // what is owed from here on is another
}

}  // namespace weir
