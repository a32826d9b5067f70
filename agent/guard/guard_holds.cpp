// The guard: flows that wait for an answer go on, or end, also where no engine runs. See guard.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "agent/guard/descriptors.h"
#include "agent/guard/guard.h"
#include "agent/guard/hold_answer.h"
#include "platform/files/passing.h"

namespace weir {
namespace {

constexpr int kSend = MSG_DONTWAIT | MSG_NOSIGNAL;
constexpr std::uint32_t kAnswersAtOnce = 16;
constexpr std::uint8_t kTcp = 6;  // IPPROTO_TCP

HeldPlace place_of(const HeldFlow& flow) {
  return {flow.account, flow.tree, flow.destination};
}

}  // namespace

void Guard::hear_held(const weir_refused& told, std::uint64_t) {
  const FlatHold* hold = policy_.flat.hold_of(told.account.limit);
  if (hold == nullptr) return;
  HeldFlow flow;
  flow.cookie = told.record.cookie;
  flow.tree = told.account.who;
  flow.destination = told.account.dest;
  flow.until_ns = told.record.boot_ns + hold->for_ns;
  flow.tuple = told.tuple;
  flow.row = told.account.limit;
  flow.account = kernel_.account_of(flow.row);
  flow.person = told.record.person;
  flow.pid = told.record.pid;
  take_held(flow);
}

void Guard::take_held(const HeldFlow& flow) {
  switch (held_->add(flow)) {
    case HeldFlows::Taken::known:
      return;
    case HeldFlows::Taken::yes:
      ++counters_.held;
      return;
    case HeldFlows::Taken::too_many:
      break;
  }
  ++counters_.held_too_many;
  close_held(flow, HoldEnded::How::too_many);
}

// A former guard's, or what the ring had no room for; and after a change of the policy, whose rows
// may stand elsewhere. What is of no row any more goes on under the others.
void Guard::adopt_holds(std::uint64_t now) {
  held_->all().clear();
  for (const KernelHold& one : kernel_.holds()) {
    const std::uint32_t row = kernel_.row_of(one.flow.limit);
    const FlatHold* hold = policy_.flat.hold_of(row);
    if (hold == nullptr || policy_.flat.header->enforce == 0) {
      (void)kernel_.forget_hold(one.cookie);
      continue;
    }
    take_held({one.cookie, one.flow.tree, one.flow.dest, one.flow.since_ns + hold->for_ns,
               one.flow.tuple, one.flow.limit, row, one.flow.person, one.flow.pid});
  }
  end_due_holds(now);
}

void Guard::end_due_holds(std::uint64_t now) {
  while (std::optional<HeldFlow> flow = held_->take_due(now)) {
    const FlatHold* hold = policy_.flat.hold_of(flow->row);
    if (hold != nullptr && hold->allows == 0) {
      close_held(*flow, HoldEnded::How::closed);
      continue;
    }
    // As if it had been answered: what comes next of that tree to that place is not asked again.
    const std::uint32_t flows = 1 + let_go(place_of(*flow), now);
    (void)kernel_.forget_hold(flow->cookie);
    tell_hold_ended(*flow, HoldEnded::How::let_go, flows, 0, -1, 0);
  }
}

// The host is released: the kernel holds nothing, and what waits goes on.
void Guard::forget_holds() {
  for (const HeldFlow& flow : held_->all()) (void)kernel_.forget_hold(flow.cookie);
  held_->all().clear();
}

// A stream is gone with its queue. A datagram socket has none, and stays refused.
void Guard::close_held(const HeldFlow& flow, HoldEnded::How how) {
  const bool destroyed =
      flow.tuple.protocol == kTcp && destroy_socket(flow.tuple, flow.cookie).has_value();
  ++(destroyed ? counters_.destroyed : counters_.not_destroyed);
  (void)kernel_.forget_hold(flow.cookie);
  ++counters_.holds_closed;
  tell_hold_ended(flow, how, 1, 0, -1, 0);
}

// The kernel knows the answer before any flow is looked at again. How many waited for it.
std::uint32_t Guard::let_go(const HeldPlace& place, std::uint64_t now) {
  const std::uint64_t until = now + static_cast<std::uint64_t>(kAnswerCounts_ns);
  if (auto put = kernel_.answer_hold(place.account, place.tree, place.destination, until); !put) {
    fmt::print(stderr, "weir-guard: {}\n", put.error().sentence);
    return 0;
  }
  std::uint32_t flows = 0;
  while (std::optional<HeldFlow> flow = held_->take_at(place)) {
    (void)kernel_.forget_hold(flow->cookie);
    ++flows;
  }
  counters_.holds_let_go += flows;
  return flows;
}

// `weir run` made sure who they are and that the memory is sealed; what waits is ours to know.
void Guard::hear_answers(std::uint64_t now) {
  for (std::uint32_t n = 0; n < kAnswersAtOnce; ++n) {
    Fd passed;
    HoldAnswer answer;
    if (receive_with(fds::kAnswers, &answer, sizeof answer, passed) !=
        static_cast<ssize_t>(sizeof answer))
      return;
    if (!passed || answer.magic != kHoldAnswerMagic || answer.root > 1 || answer.pad != 0 ||
        answer.size == 0 || answer.size > wire::kMaxAnswerBytes)
      continue;
    const HeldPlace place{answer.account, answer.tree, answer.destination};
    const HeldFlow* waits = held_->find(place);
    if (waits == nullptr) continue;  // it has ended
    const FlatHold* hold = policy_.flat.hold_of(waits->row);
    const bool may =
        answer.root == 1 || (hold != nullptr && hold->asks != 0 && waits->person == answer.by);
    if (!may) {
      ++counters_.answers_refused;
      continue;
    }
    const HeldFlow first = *waits;
    const std::uint32_t flows = let_go(place, now);
    if (flows == 0) continue;
    ++counters_.holds_answered;
    tell_hold_ended(first, HoldEnded::How::answered, flows, answer.by, passed.get(), answer.size);
  }
}

void Guard::tell_hold_ended(const HeldFlow& flow, HoldEnded::How how, std::uint32_t flows,
                            std::uint32_t by, int text, std::uint32_t size) {
  ToldEnd end;
  wire::HoldEnded& message = end.message;
  message.tuple = flow.tuple;
  message.cookie = flow.cookie;
  message.tree = flow.tree;
  message.destination = flow.destination;
  message.person = flow.person;
  message.pid = flow.pid;
  message.limit = flow.row;
  message.how = static_cast<std::uint32_t>(how);
  message.flows = flows;
  message.by = by;
  message.size = size;
  if (size != 0) end.text = Fd(::fcntl(text, F_DUPFD_CLOEXEC, fds::kGuardLast + 1));
  if (hold_ends_.size() >= kMaxHoldEnds) {
    ++counters_.hold_ends_lost;
    hold_ends_.pop_front();
  }
  hold_ends_.push_back(std::move(end));
  tell_hold_ends();
}

// In the order in which they ended; an engine that starts takes a second.
void Guard::tell_hold_ends() {
  while (!hold_ends_.empty() && engine_listens() && !to_give_) {
    ToldEnd& end = hold_ends_.front();
    Bytes bytes = wire::seal(end.message, sequence_);
    const bool sent = end.text ? send_with(engine_, bytes, end.text.get(), kSend)
                               : ::send(engine_, bytes.data(), bytes.size(), kSend) ==
                                     static_cast<ssize_t>(bytes.size());
    if (!sent) {
      --sequence_;
      return;
    }
    hold_ends_.pop_front();
  }
}

}  // namespace weir
