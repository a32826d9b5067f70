// What one line remembers, and the stages of line.cpp: each is one function, in the file named
// beside it.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/keyed_table.h"
#include "core/detect/detector.h"
#include "core/line/accounts.h"
#include "core/line/counters.h"
#include "core/line/destinations.h"
#include "core/line/line.h"
#include "core/line/processes.h"
#include "core/line/reports.h"
#include "core/line/usage.h"
#include "core/net/flows.h"
#include "core/policy/evaluate.h"
#include "core/policy/exceptions.h"
#include "core/policy/policy.h"
#include "core/policy/shuts.h"

namespace weir {

// A block ends by itself: long enough that a tunnel is given up, short enough for a mistake.
inline constexpr std::int64_t kBlockLeaseNs = 3'600'000'000'000;
// Payload after which a flow without a name is judged by its address: the kernel's ring carries no
// more of it (WEIR_HEAD_FLOW).
inline constexpr std::uint64_t kHopelessBytes = 8192;
// Trees that answer DNS for others (a stub, a forwarder): their port 53 is never blocked.
inline constexpr std::size_t kMaxResolverTrees = 64;
inline constexpr std::size_t kMaxResolversTold =
    256;  // a site has a handful; a full table starts anew
// Addresses at which a flow said a name that the answers for it had not shown. A full table starts
// anew: what is lost is one first flight each.
inline constexpr std::size_t kMaxWidened = 4096;
// Places that findings were about: as many as the report book holds.
inline constexpr std::size_t kMaxSignalPlaces = kMaxOpenReports;
inline constexpr std::int64_t kTickNs = 1'000'000'000;

// What the line knows about a flow beside core/net. Lives as long as the flow does there.
struct JudgedFlow {
  FlowKey key;
  SocketRef socket;
  bool judged = false;
  bool named = false;  // judged with all that will be learnt
  Actor actor;
  Place place;
  std::uint64_t limits = 0;
  std::uint64_t shut = 0;           // key of the blocked name that it goes to, 0: of none
  std::uint32_t exception = 0;      // number of the one that it is charged to beside them, 0: none
  std::uint64_t found = 0;          // rows that findings brought, also those set aside
  std::uint64_t waiting = 0;        // simulated accounts: bytes not yet charged
  std::uint64_t simulated = 0;      // simulated accounts: bytes of the ledger that were charged
  std::uint64_t charged = 0;        // simulated: what it sent under rows per flow
  std::uint64_t told_rows = 0;      // simulated accounts: rows whose refusal was told
  std::uint64_t answered = 0;       // simulated accounts: bytes that others had asked for
  bool told_answers = false;        // … and that their number was spent
  std::uint64_t refused_rows = 0;   // live: rows that refused it before it was classified …
  std::uint64_t refused_spent = 0;  // … and what the last of them had spent
  FlowBytes bytes, usage;           // totals; how much of them is in usage rows
  bool in_usage = false;
  std::unique_ptr<Flow> copy;  // live flows: judged again when the policy changes
};

// Flows that wait, remembered beyond their close: as many as the kernel part lets wait
// (WEIR_HOLDS). Of one that finds no room the last revision names its address alone.
inline constexpr std::size_t kMaxHeldFlows = 2048;

struct HeldException {
  Exception exception;
  bool over = false;  // spent, or near its end: ordinary rows count
};

std::string where_of(const Exception& exception);  // its domain, address or range

struct Line::State {
  explicit State(Outlet& to);

  // stages, in order (line.cpp calls them)
  void advance(const Stamp& at);              // line.cpp: seconds, hours, windows
  Observation enrich(const EventBody& body);  // enrich.cpp: tables learn; packets become flows
  void detect(const Observation& seen);       // line.cpp: findings → signals
  void judge(const Event& event, const Observation& seen);  // judge.cpp: → orders, told
  void enforce();                                           // line.cpp: orders go out
  void report(const Observation& seen);  // line.cpp: told → reports, usage, ended flows
  void finish();

  // enrich.cpp
  void take(const PolicyChanged& changed);
  void learn(const Observation& seen);
  void note_resolver(const Packet& packet, const Observation& seen);
  JudgedFlow& known(const Observation& seen);

  // judge.cpp
  bool simulated() const { return !live; }
  void judge_flow(JudgedFlow& known, const Flow& flow, std::uint64_t serial);
  Verdict judge_place(JudgedFlow& known, const Flow& flow);
  void classify(const JudgedFlow& known);
  void judge_signal(const Signal& signal, const Observation& seen);
  Place place_of(const Signal& signal, const JudgedFlow* flow);
  void judge_spent(const AccountSpent& spent);
  void judge_removed(const HookRemoved& removed);       // tampering.cpp
  void take_release(const ExceptionsChanged& changed);  // release.cpp
  void take_crashes(ExceptionsChanged::AfterCrashes now);
  void end_release();
  bool enforces() const;

  // holds.cpp
  void judge_held(const FlowHeld& held);
  void judge_hold_ended(const HoldEnded& ended);
  void tell_hold(const JudgedFlow& flow, std::uint64_t serial, std::uint32_t row,
                 const std::vector<Reason>& more);
  void judge_address(const IpAddress& address);
  void widen(const JudgedFlow& known);
  void judge_resolver(const Endpoint& resolver);
  void simulate(JudgedFlow& known, std::uint64_t serial, std::uint64_t bytes);
  std::uint64_t simulate_answers(JudgedFlow& known, std::uint64_t serial, std::uint64_t bytes);
  void tell_answers(const FlowKey& key, const SocketRef& socket, std::uint64_t serial,
                    std::uint64_t spent);
  void tell_spent(const JudgedFlow& known, std::uint64_t serial, std::uint32_t row,
                  std::uint64_t spent);
  void block(Decision& decision, const Actor& actor, std::string_view detector,
             std::uint64_t destination);
  void judge_again();

  // shuts.cpp
  std::uint64_t shut_of(const JudgedFlow& known, const Flow& flow);
  std::uint64_t shut_at(const IpAddress& address);  // before any flow
  const Exception* shut_by(const std::string& name, const Actor* actor) const;
  void take_shuts(std::vector<Exception> next);
  void renew_shuts();
  std::vector<std::string> names_seen_at(const IpAddress& address) const;  // of what is blocked
  void tell_shut(const AccountSpent& spent);

  // exceptions.cpp
  const Exception* exception_for(const Place& place, const Actor& actor) const;
  void take(const ExceptionsChanged& changed);
  bool end_exceptions();  // true: one has ended
  void judge_exception_spent(const AccountSpent& spent);
  void tell_kept_in(const AccountSpent& spent);
  // By the kernel, under a name that no rule can have: all of it but detector and reason.
  Told refusal_beside_rules(const AccountSpent& spent, const char* rule, Action action);
  void tell_family(const AccountSpent& spent);  // families.cpp
  void judge_stranger(const AccountSpent& spent);
  void judge_anew(JudgedFlow& known, std::uint64_t serial);
  void judge_excepted();
  void find_rows(JudgedFlow& known, std::uint64_t rows);

  void add_usage(JudgedFlow& known);
  void settle(const Flow& flow);

  Outlet& outlet;
  std::shared_ptr<const Policy> policy;
  std::int64_t released_until_ns = 0;  // the kernel refuses nothing until then
  ExceptionsChanged::AfterCrashes after_crashes = ExceptionsChanged::AfterCrashes::none;
  bool live = false;  // a host with the kernel's accounts; else they are simulated
  Stamp at;
  std::int64_t next_tick_ns = 0;

  std::vector<Flow> ended;  // by the call in progress
  Flows flows;
  Processes processes;
  Destinations destinations;
  Accounts accounts, answers;  // simulated
  Policy answers_policy;       // its one row is for `answers`
  Usage usage;
  Reports reports;
  std::vector<std::unique_ptr<Detector>> detectors;
  KeyedTable<JudgedFlow> judged;  // by serial: bounded as Flows is
  std::unordered_map<FlowKey, std::uint64_t, FlowKeyHash> serials;
  std::set<TreeId> resolver_trees;
  std::unordered_map<IpAddress, std::int64_t, IpAddressHash> resolvers_told;  // when again, boot
  std::unordered_map<IpAddress, std::uint64_t, IpAddressHash> widened;        // rows
  std::unordered_map<std::string, Place> signal_places;
  std::unordered_map<std::uint64_t, JudgedFlow> held_flows;  // by cookie
  std::vector<HeldException> exceptions;                     // at most kMaxExceptions
  std::vector<Exception> shuts;  // at most kMaxShuts: places that are blocked; they grant nothing
  std::multimap<IpAddress, std::string> shut_places;  // where they were seen before this engine
  std::int64_t renew_shuts_ns = 0;

  JudgedFlow* current = nullptr;  // of the call in progress, as are these:
  std::vector<Signal> signals;
  std::vector<Order> orders;
  std::vector<Told> told;
  Counters counters;
};

}  // namespace weir
