// The guard: owns the kernel part, destroys sockets whose limit is spent, and does for the engine
// what the policy's ceilings allow. Root; parses no foreign bytes. Its loop allocates nothing for a
// message or a refusal; what does: the counters once a second, the list of processes for a new
// engine, the sentence of a table that took no row. Thread: one.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/guard/commands.h"
#include "agent/guard/control_watch.h"
#include "agent/guard/crashes.h"
#include "agent/guard/due_sockets.h"
#include "agent/guard/exceptions.h"
#include "agent/guard/flat_policy.h"
#include "agent/guard/held_flows.h"
#include "agent/guard/host_needs.h"
#include "agent/guard/interfaces.h"
#include "agent/guard/joining.h"
#include "agent/guard/keeping.h"
#include "agent/guard/kept_accounts.h"
#include "agent/guard/leases.h"
#include "agent/guard/messages.h"
#include "agent/guard/offers.h"
#include "agent/guard/rotation.h"
#include "agent/guard/spawner.h"
#include "agent/guard/tampering.h"
#include "agent/guard/uplink_link.h"
#include "core/event/event.h"
#include "platform/files/fd.h"
#include "platform/linux/boot_id.h"
#include "platform/linux/kernel_part.h"

namespace weir {

// A policy under which guard or engine crashed too often: by the bytes of its envelope.
struct CrashedPolicy {
  std::uint32_t number = 0;  // 0: not known
  std::array<std::uint8_t, 32> digest{};
};

struct GuardOptions {
  std::string cgroup;  // "": the root of cgroup2
  std::string pin_dir;
  std::vector<std::string> launchers;
  // Devices where frames are charged that no socket sent. None: those that lead out of the machine,
  // but for a cgroup that is only a part of it.
  std::vector<std::string> interfaces;
  std::string uplink_cgroup;  // "": no collector
  std::string collector;      // its host, as the uplink is told; "": it is not
  // How it goes on after crashes; nothing: as ever, whatever crashes (`weir exec`).
  std::optional<AfterCrashes> after_crashes{};
  std::optional<CrashedPolicy> crashed{};  // is not taken again
  std::uint32_t try_every_s = 0;           // how often the controls are tried; 0: never
  bool again = false;  // a guard before us, of the same `weir run`, had the policy in force
};

// A policy in force. The view is of memory that `accepted`, or the caller, keeps.
struct PolicyInForce {
  FlatPolicy flat;
  int policy_fd = -1;                      // weir.v1.Policy, for the engine
  std::optional<AcceptedPolicy> accepted;  // one of a collector; else built in, or a file's
};

// Why there is no guard.
struct NotLoaded : Error {
  NotLoaded(Error why, bool lacks = false) : Error(std::move(why)), host_lacks(lacks) {}
  bool host_lacks;  // the policy asks for more than this host has; nothing was changed
};

struct GuardCounters {              // told on standard error at the end, and in the health report
  std::uint64_t destroyed = 0;      // sockets whose limit was spent
  std::uint64_t not_destroyed = 0;  // gone already, or in another network namespace
  std::uint64_t classified = 0;
  std::uint64_t not_classified = 0;  // the table of verdicts was full
  std::uint64_t blocks = 0;
  std::uint64_t engines = 0;                         // started
  std::uint64_t policies = 0, refusals = 0;          // offered ones that came into force, and not
  std::uint64_t commands_unrecorded = 0;             // no engine was there to write them down
  std::uint64_t exceptions = 0;                      // that came into force
  std::uint64_t requests = 0, requests_lost = 0;     // of persons; lost: no engine was there
  std::uint64_t killed = 0;                          // processes, by command
  std::uint64_t releases = 0, releases_refused = 0;  // answers to a challenge
  std::uint64_t accounts_kept = 0, accounts_not_kept = 0;  // times they were written, or not
  std::uint64_t held = 0, held_too_many = 0;               // flows that waited, or might not
  std::uint64_t holds_answered = 0, answers_refused = 0;   // by persons
  std::uint64_t holds_let_go = 0, holds_closed = 0;        // flows
  std::uint64_t hold_ends_lost = 0;                        // no engine was there to tell of them
  std::uint64_t silent = 0;                   // engines ended because nothing was heard of them
  std::uint64_t damage[wire::kDamages] = {};  // messages that ended an engine, by kind
};

class Guard {
 public:
  // Loads or adopts the kernel part and puts the policy in force. An Error: there is no bound.
  // `trust`: with a collector, whom policies and commands are taken from; `done`: those of before.
  // `past`: what accounts have spent, if that is kept.
  static tl::expected<Guard, NotLoaded> load(const GuardOptions& options, PolicyInForce policy,
                                             std::optional<PolicyTrust> trust,
                                             const DoneCommands& done,
                                             const ExceptionTable& exceptions,
                                             const KernelPast* past);
  Guard(Guard&&) noexcept = default;

  // Until SIGTERM, or until the engine crashed too often: false. `ready_fd` gets one byte once the
  // engine answers, or is late; then it is closed.
  bool run(Spawner& spawner, int signal_fd, int ready_fd);
  void release(const std::string& pin_dir);  // on_exit: release
  const GuardCounters& counters() const { return counters_; }
  const UplinkCounters& uplink_counters() const { return uplink_.counters(); }
  // Also a policy that holds nothing on after us ends no isolation and no block.
  bool keeps_on_exit() const {
    return policy_.flat.header->keep != 0 || exceptions_->isolation.holds != 0 ||
           exceptions_->blocks.blocks != 0;
  }

 private:
  Guard(KernelPart kernel, PolicyInForce policy, std::optional<PolicyTrust> trust,
        const DoneCommands& done);

  void hear_told(std::uint64_t now);
  void destroy_due(std::uint64_t now);
  void hear_engine(std::uint64_t now);
  void hear_spawner(Spawner& spawner, std::uint64_t now);
  void hear_uplink(Spawner& spawner, std::uint64_t now);
  void hear_command(Spawner& spawner, const wire::OfferCommand& offer, Result<SealedMemory> body,
                    std::uint64_t now);
  void hear_trust(Spawner& spawner, const wire::OfferTrust& offer, Result<SealedMemory> set,
                  std::uint64_t now);
  void hear_keeper(std::uint64_t now);
  void take_compiled(int status, std::uint64_t now);
  void take_command(int status, std::uint64_t now);
  void take_trust(int status, std::uint64_t now);
  void carry_out(const CommandEnded& ended);
  void tell_ended(const CommandEnded& ended);
  CommandNext next_kill(std::uint64_t tree) const;
  CommandEnded kill_tree(CommandEnded ended);
  Result<std::size_t> kill_once(std::uint64_t tree);
  void record(const CommandEnded& ended);
  void tell_commands();
  CommandNext next_of(const CommandReading& command, wire::CommandRefusal refused,
                      std::uint64_t now) const;
  void join(const PolicyTrust& next);
  GroupPolicy group_policy() const;
  Result<void> take_exceptions(const ExceptionTable& next);
  Result<void> grant_new(const ExceptionTable& next);
  Result<void> end_grants(const ExceptionTable& of, const ExceptionTable& but);
  void take_answers(const ExceptionTable& next);
  void adopt_exceptions(const ExceptionTable& before, std::uint64_t now);
  void end_exceptions(std::uint64_t now);
  Result<void> take_isolation(const HostIsolation& next, std::uint64_t now);
  CommandNext next_block(const CommandReading& command, std::uint64_t now) const;
  Result<void> take_blocks(const BlockTable& next, std::uint64_t now);
  void adopt_blocks(const BlockTable& before, std::uint64_t now);
  void end_blocks(std::uint64_t now);
  void put_blocks(wire::HostFactsMessage& facts) const;
  void lease_places(std::uint64_t now);
  std::uint64_t name_at(const Prefix& place, std::uint64_t name);
  std::uint64_t name_of_flow(std::uint64_t cookie, std::uint64_t name) const;
  bool lease_place(const Prefix& place, std::uint64_t now);
  void keep_places(std::uint64_t now);
  void hear_releases(std::uint64_t now);
  void hear_release_kept(std::uint64_t now);
  void answer_release(ReleaseRefusal why);
  Result<void> take_release(const ReleaseState& next, std::uint64_t now);
  void keep_release(std::uint64_t now);
  bool is_keeping() const;
  bool is_released(std::uint64_t now) const;
  Result<void> set_observing(std::uint64_t now);
  void observe_on(std::uint64_t now);
  void keep_observing(std::uint64_t now);
  void end_after_crashes();
  void note_crash(std::uint64_t now);
  void give_exceptions();
  void keep_accounts(std::uint64_t now);
  void take_kept(bool kept, std::uint64_t now);
  std::vector<weir_limit> rows_of(const FlatPolicy& policy) const;
  void put_leases(wire::HostFactsMessage& facts) const;
  void hear_requests();
  void hear_held(const weir_refused& told, std::uint64_t now);
  void take_held(const HeldFlow& flow);
  void adopt_holds(std::uint64_t now);
  void end_due_holds(std::uint64_t now);
  void forget_holds();
  void close_held(const HeldFlow& flow, HoldEnded::How how);
  std::uint32_t let_go(const HeldPlace& place, std::uint64_t now);
  void hear_answers(std::uint64_t now);
  void tell_hold_ended(const HeldFlow& flow, HoldEnded::How how, std::uint32_t flows,
                       std::uint32_t by, int text, std::uint32_t size);
  void tell_hold_ends();
  void tell_host_facts();
  bool waits_for_keeper() const;
  bool may_hear_offers() const;
  Result<void> swap(AcceptedPolicy accepted);
  HostHas host_has() const;
  void tell_floor();
  void give_policy();
  void keep_policy();
  void refuse(const OfferRefused& refused);
  void refuse(const TrustRefused& refused);
  void tell_policy_state();
  void obey(const wire::Ready&, std::uint64_t) {}
  void obey(const wire::PolicyTaken&, std::uint64_t) {}
  void obey(const wire::Beat&, std::uint64_t) {}
  void obey(const wire::Classify& message, std::uint64_t now);
  void obey(const wire::ClassifyAddress& message, std::uint64_t now);
  void obey(const wire::Block& message, std::uint64_t now);
  void obey(const wire::Forget& message, std::uint64_t now);
  bool is_policys_own(const Prefix& prefix) const;
  void start_engine(Spawner& spawner, std::uint64_t now);
  void end_engine(Spawner& spawner);
  void each_second(Spawner& spawner, std::uint64_t now);
  void tell_processes();
  void tell_losses();
  void watch_interfaces();
  void tell_interfaces();
  bool engine_listens() const { return engine_ >= 0 && session_ && session_->ready(); }
  void lay_floor();
  void look_at_hooks(std::uint64_t now);
  void tell_removed(std::uint64_t now);
  void hear_canary(std::uint64_t now);
  void engine_may_answer(bool may);
  int wait_ms(std::uint64_t now) const;
  template <class M>
  bool tell(M message);

  KernelPart kernel_;
  PolicyInForce policy_;
  std::optional<Offers> offers_;
  UplinkLink uplink_;
  OfferRefused refused_;  // the newest
  std::optional<Commands> commands_;
  std::optional<Rotation> rotation_;
  TrustRefused trust_refused_;  // the newest
  // Commands that no engine has heard of yet: one that starts takes a second.
  static constexpr std::size_t kMaxToRecord = 32;
  std::deque<wire::CommandTold> to_record_;
  std::unique_ptr<ExceptionTable> exceptions_ =
      std::make_unique<ExceptionTable>(ExceptionTable::none());
  bool to_give_exceptions_ = false;  // the engine knows others
  // Flows to blocked names when the engine was started: their cookies, and the names' keys.
  std::unordered_map<std::uint64_t, std::uint64_t> shut_before_;
  std::uint64_t places_ns_ = 0;  // when those seen too long ago are forgotten
  const BootId boot_ = boot_id();
  std::string collector_;  // its host
  struct ReleaseSide {     // guard_release.cpp; none without a collector
    KeepLine line;
    std::unique_ptr<ExceptionTable> next;  // on its way to the disk
    std::uint64_t number = 0;              // of the claim that asked for it; 0: none did
    CountedKeys keys;
    std::uint64_t write_ns = 0;  // when it is written again
  };
  std::unique_ptr<ReleaseSide> release_;
  Crashes crashes_;  // of the engine
  bool crashes_count_ = false, crashes_too_often_ = false;
  AfterCrashes after_crashes_ = AfterCrashes::none;
  std::optional<CrashedPolicy> crashed_;
  // What accounts have spent is on the disk before (guard_accounts.cpp); none: it is not kept.
  struct KeptSide {
    AccountKeeping keeping;
    KeepLine line{0, fds::kKeepAccounts};
    std::vector<weir_keep> written;          // told to the kernel once the disk has them
    std::vector<std::uint8_t> file;          // as it is on the disk
    std::vector<std::uint8_t> asked;         // as it is to be
    std::uint64_t next_ns = 0, look_ns = 0;  // no sooner than; at least then
    bool due = true, failed = false;
  };
  std::unique_ptr<KeptSide> kept_;
  std::int64_t since_wall_s_ = 0;
  bool expired_ = false;
  bool to_give_ = false;  // the engine runs by another policy than the kernel
  std::uint64_t offered_ns_ = 0;
  weir_state state_;
  std::unique_ptr<DueSockets> due_ = std::make_unique<DueSockets>();
  std::unique_ptr<HeldFlows> held_ = std::make_unique<HeldFlows>();
  // Ends of holds that no engine has heard of yet: a person's 256, closed at once, all find room.
  static constexpr std::size_t kMaxHoldEnds = 512;
  struct ToldEnd {
    wire::HoldEnded message;
    Fd text;
  };
  std::deque<ToldEnd> hold_ends_;
  bool hears_answers_ = false;   // `weir run` serves persons
  std::uint64_t told_lost_ = 0;  // records that the ring had no room for, when it was looked last
  std::unique_ptr<AddressLeases> leases_ = std::make_unique<AddressLeases>();
  std::unique_ptr<Interfaces> interfaces_;
  std::vector<std::string> launchers_;  // declared ones
  std::uint64_t launchers_ns_ = 0;      // when they are looked at again
  std::vector<std::string> floor_names_;
  bool has_floor_ = false;     // one is wanted
  std::string floor_problem_;  // said already
  bool floor_told_ = false;    // `refused_` is for it
  bool keeps_ = false;         // what accounts spend is to be written down
  Tampering tampering_;
  ControlWatch controls_{0, 0};
  std::uint64_t looked_ns_ = 0;  // when every hook was seen last; 0: never
  std::uint64_t pins_looked_ns_ = 0;
  std::uint64_t sent_when_looked_ = 0, sent_when_pins_looked_ = 0;  // by the devices until then
  std::vector<KernelTask>
      to_tell_;  // processes found, still to be told; filled when an engine is ready
  std::size_t told_ = 0;
  std::array<std::uint64_t, WEIR_COUNTERS> lost_told_{};

  int engine_ = -1;  // our end of the pair
  std::optional<wire::EngineSession> session_;
  std::uint32_t sequence_ = 0;
  bool running_ = false;      // an engine was started and its end was not told yet
  bool ending_ = false;       // it was killed
  bool ended_by_us_ = false;  // for nonsense or silence
  std::uint64_t started_ns_ = 0;
  std::uint64_t start_at_ns_ = 0;  // when the next one is started
  std::uint64_t backoff_ns_ = 0;
  std::uint64_t second_ns_ = 0;  // when each_second is due
  int ready_fd_ = -1;
  GuardCounters counters_;
};

}  // namespace weir
