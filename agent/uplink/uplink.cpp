// The uplink's one loop: see uplink.h.
#include "agent/uplink/uplink.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <optional>

#include "agent/spool/spool.h"
#include "agent/uplink/backoff.h"
#include "agent/uplink/certificate_care.h"
#include "agent/uplink/commands.h"
#include "agent/uplink/guard_line.h"
#include "agent/uplink/identity.h"
#include "agent/uplink/keys.h"
#include "agent/uplink/say.h"
#include "agent/uplink/sender.h"
#include "agent/uplink/stream.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

constexpr std::int64_t kWelcomeWithinMs = 30'000;  // connect, handshake, two messages
constexpr std::int64_t kSteadyMs = 10'000;         // a stream that lived so long was a good one
constexpr std::int64_t kHealthMs = 20'000;         // the collector calls a host silent after 60 s
constexpr std::int64_t kLookMs = 1'000;            // at the spool, should news be missed
constexpr std::int64_t kIdentityMs = 5'000;        // until somebody enrols
constexpr std::int64_t kOfferMs = 250;             // the guard ends who speaks too fast
constexpr std::int64_t kGuardStateMs = 2'000;      // Hello waits so long for the policy in force
constexpr std::int64_t kMostThrottleMs = 60'000;
constexpr std::size_t kMaxTrusts = 64;  // sets of keys that a host has missed; more come later
constexpr int kMaxTurns = 64;           // messages of one kind in a turn of the loop

std::int64_t now_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}
std::int64_t boot_ms() {
  return now_ns(CLOCK_BOOTTIME) / 1'000'000;
}
std::int64_t wall_s() {
  return now_ns(CLOCK_REALTIME) / 1'000'000'000;
}

std::uint32_t random_bits() {
  std::uint32_t bits = 0;
  std::memcpy(&bits, random_of(sizeof bits).data(), sizeof bits);
  return bits;
}

v1::Lane::Value lane_of(SpoolLane lane) {
  return static_cast<v1::Lane::Value>(static_cast<int>(lane) + 1);
}
std::optional<SpoolLane> lane_of(v1::Lane::Value lane) {
  if (lane < v1::Lane::alert || lane > v1::Lane::telemetry) return std::nullopt;
  return static_cast<SpoolLane>(static_cast<int>(lane) - 1);
}

template <class Positions>
std::vector<Sender::Stored> stored_in(const Positions& positions) {
  constexpr int kMostPositions = 64;  // a lane and a few epochs each
  std::vector<Sender::Stored> stored;
  for (int n = 0; n < std::min(positions.size(), kMostPositions); ++n)
    if (auto lane = lane_of(positions[n].lane()))
      stored.push_back({*lane, {positions[n].epoch(), positions[n].sequence()}});
  return stored;
}

v1::LostRange::Why why_of(SpoolLoss loss) {
  switch (loss) {
    case SpoolLoss::evicted:
      return v1::LostRange::evicted;
    case SpoolLoss::damaged:
      return v1::LostRange::damaged;
    case SpoolLoss::not_written:
      break;
  }
  return v1::LostRange::not_written;
}

void fill(const OutgoingBatch& batch, v1::Batch& out) {
  out.set_lane(lane_of(batch.lane));
  out.set_epoch(batch.piece.epoch);
  if (batch.piece.lost) {
    out.set_first_sequence(batch.piece.lost->first);
    out.mutable_lost()->set_last_sequence(batch.piece.lost->last);
    out.mutable_lost()->set_why(why_of(batch.piece.lost->why));
    return;
  }
  out.set_first_sequence(batch.piece.records.front().sequence);
  for (const SpoolRecord& record : batch.piece.records) {
    v1::SealedRecord& sealed = *out.add_records();
    sealed.set_previous_hash(record.previous_hash.data(), record.previous_hash.size());
    sealed.set_ciphertext(record.bytes.data(), record.bytes.size());
  }
}

void drain(int eventfd) {
  std::uint64_t count = 0;
  (void)!::read(eventfd, &count, sizeof count);
}

}  // namespace

struct Uplink::State {
  State(const UplinkEnds& the_ends, UplinkFacts the_facts)
      : ends(the_ends),
        facts(std::move(the_facts)),
        wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        guard(ends.guard),
        care(ends.identity, wake),
        started_ms(boot_ms()) {}
  ~State() {
    stream.reset();
    ::close(wake);
  }

  void turn();
  void wait();
  bool tend_guard();
  void tend_identity();
  void tend_stream();
  bool open_spool();
  void connect();
  void lose(const std::string& why);
  void on(v1::ConnectResponse& response);
  void welcome(const v1::Welcome& welcome);
  void note_stored();
  void heard(const UplinkGuardLine::Heard& heard);
  void make_offer();
  bool write_one();
  void fill_hello(v1::Hello& hello);
  void fill_health(v1::HostHealth& health);
  std::int64_t due_ms() const;

  const UplinkEnds ends;
  const UplinkFacts facts;
  const int wake;
  UplinkGuardLine guard;
  CertificateCare care;
  Backoff backoff;
  const std::int64_t started_ms;
  std::int64_t now_ms = 0;

  std::optional<Identity> identity;
  std::string said;  // the last trouble that was told; once is enough
  std::optional<SpoolReader> spool;
  std::optional<Sender> sender;
  std::unique_ptr<Stream> stream;
  bool greeted = false, welcomed = false, stop = false;

  std::optional<wire::PolicyStateMessage> policy;
  bool policy_changed = false;
  std::optional<v1::SignedPolicy> offer;  // the newest that waits for its turn
  std::deque<v1::SignedTrust> trusts;     // in order, before the policy that needs them
  UplinkCommands commands;
  std::optional<wire::HostFactsMessage> host_facts;
  SpoolPositions noted{};  // in the acknowledged file
  // The furthest that a collector ever acknowledged, as far as is known: one that was put back from
  // an older copy knows less, and `noted` goes back with it.
  SpoolPositions promised{};

  std::int64_t beat_ms = 0, identity_ms = 0, connect_ms = 0, opened_ms = 0, health_ms = 0,
               offered_ms = INT64_MIN / 2, clock_offset_s = 0;
  std::uint64_t connects = 0, offers = 0, lost_streams = 0;

  void trouble(const std::string& sentence) {
    if (sentence != said) say(sentence);
    said = sentence;
  }
};

// ---- the guard ---------------------------------------------------------------------------------

bool Uplink::State::tend_guard() {
  if (now_ms >= beat_ms) {
    if (!guard.beat(static_cast<std::uint64_t>(now_ns(CLOCK_BOOTTIME)))) return false;
    beat_ms = now_ms + static_cast<std::int64_t>(wire::kUplinkBeatNs / 2'000'000);
  }
  for (int n = 0; n < kMaxTurns; ++n) {
    UplinkGuardLine::Heard heard = guard.hear();
    if (heard.stop) return false;
    if (!heard.any) break;
    this->heard(heard);
  }
  if (now_ms >= offered_ms + kOfferMs) make_offer();
  return true;
}

void Uplink::State::heard(const UplinkGuardLine::Heard& heard) {
  if (heard.facts) host_facts = heard.facts;
  if (heard.state) {
    policy = heard.state;
    policy_changed = true;
  }
  if (!heard.outcome) return;
  const UplinkCommands::Now now = commands.heard(*heard.outcome);
  if (now == UplinkCommands::Now::health) health_ms = 0;
  if (now == UplinkCommands::Now::renew) care.renew_now();
}

void Uplink::State::make_offer() {
  if (trusts.empty() && !offer && !commands.has_offer()) return;
  offered_ms = now_ms;
  ++offers;
  if (!trusts.empty()) {
    if (auto offered = guard.offer(trusts.front()); !offered) trouble(offered.error().sentence);
    trusts.pop_front();
  } else if (offer) {
    if (auto offered = guard.offer(*offer); !offered) trouble(offered.error().sentence);
    offer.reset();
  } else {
    const v1::Command command = commands.take_offer();
    if (auto offered = guard.offer(command); !offered)
      commands.not_offered(command.id(), offered.error().sentence);
  }
}

// ---- who we are --------------------------------------------------------------------------------

void Uplink::State::tend_identity() {
  if (!identity) {
    if (now_ms < identity_ms) return;
    identity_ms = now_ms + kIdentityMs;
    auto read = read_identity(ends.identity);
    if (!read) return trouble(read.error().sentence);
    if (!*read) return trouble("this host is not enrolled yet: `weir enroll` makes it one");
    identity = std::move(*read);
  }
  const std::string refusal = care.refusal();
  const std::uint64_t tries = care.tries();
  auto renewed = care.tend(*identity, now_ms, wall_s());
  if (care.refusal() != refusal) health_ms = now_ms;  // the collector is told at once
  if (care.tries() != tries) commands.renewed(care.refusal());
  if (renewed) {
    identity = std::move(renewed);
    stream.reset();  // the next one shows the new certificate
    connect_ms = 0;
  }
}

// ---- the stream --------------------------------------------------------------------------------

bool Uplink::State::open_spool() {
  if (sender) return true;
  auto opened = SpoolReader::open(ends.spool);
  if (!opened) {
    trouble(opened.error().sentence);
    return false;
  }
  spool.emplace(std::move(*opened));
  sender.emplace(*spool);
  if (auto positions = read_acknowledged(ends.acknowledged)) promised = noted = *positions;
  return true;
}

void Uplink::State::connect() {
  if (!identity || now_ms < connect_ms) return;
  if (!policy && now_ms < started_ms + kGuardStateMs) return;
  if (wall_s() >= identity->certificate_end_s)
    return trouble("the host's certificate has expired: nothing is sent until it is renewed");
  if (!open_spool()) {
    connect_ms = now_ms + backoff.next_ms(random_bits());
    return;
  }
  greeted = welcomed = false;
  opened_ms = now_ms;
  ++connects;
  stream = std::make_unique<Stream>(
      StreamOptions{facts.collector.empty() ? identity->host.agent_address : facts.collector,
                    identity->host.agent_server_name, identity->ca_pem, identity->key_pem,
                    identity->certificate_pem},
      wake);
}

void Uplink::State::lose(const std::string& why) {
  if (welcomed && now_ms - opened_ms >= kSteadyMs) backoff.reset();
  stream.reset();
  welcomed = false;
  ++lost_streams;
  connect_ms = now_ms + backoff.next_ms(random_bits());
  trouble("no stream to the collector: " + for_the_log(why));
}

void Uplink::State::tend_stream() {
  if (!stream) connect();
  if (!stream) return;
  v1::ConnectResponse response;
  for (int n = 0; n < kMaxTurns && stream && !commands.is_full() && trusts.size() < kMaxTrusts;
       ++n) {
    if (!stream->take(response)) break;
    on(response);
  }
  if (!stream) return;
  if (stream->ended()) {
    const std::string why = stream->why();
    return lose(why);
  }
  if (!welcomed && now_ms - opened_ms > kWelcomeWithinMs) return lose("no Welcome came in time");
  if (stream->may_write()) (void)write_one();
}

void Uplink::State::on(v1::ConnectResponse& response) {
  switch (response.message_case()) {
    case v1::ConnectResponse::kWelcome:
      return welcome(response.welcome());
    case v1::ConnectResponse::kAcknowledgement:
      if (!welcomed) return lose("it acknowledges before its Welcome");
      for (const Sender::Stored& stored : stored_in(response.acknowledgement().stored()))
        sender->acknowledged(stored, now_ms);
      backoff.reset();
      return note_stored();
    case v1::ConnectResponse::kPolicy:
      offer = std::move(*response.mutable_policy());
      return;
    case v1::ConnectResponse::kCommand:
      return commands.take(response.command());
    case v1::ConnectResponse::kTrust:
      trusts.push_back(std::move(*response.mutable_trust()));
      return;
    case v1::ConnectResponse::kThrottle:
      if (auto lane = lane_of(response.throttle().lane()); lane && sender)
        sender->throttle(
            *lane, now_ms + std::min<std::int64_t>(response.throttle().wait_ms(), kMostThrottleMs));
      return;
    case v1::ConnectResponse::MESSAGE_NOT_SET:
      return;  // of a newer collector
  }
}

void Uplink::State::welcome(const v1::Welcome& welcome) {
  if (welcomed || !greeted) return lose("a Welcome out of turn");
  auto begun = sender->begin(stored_in(welcome.stored()), welcome.max_batch_records(),
                             welcome.max_batch_bytes());
  if (!begun) return lose(begun.error().sentence);
  welcomed = true;
  health_ms = 0;
  clock_offset_s = welcome.collector_time().seconds() - wall_s();
  if (!said.empty()) say("a stream to the collector is open");
  said.clear();
  note_stored();
}

void Uplink::State::note_stored() {
  if (sender->stored() == noted) return;
  if (auto written = write_acknowledged(ends.acknowledged, sender->stored()); !written)
    return trouble(written.error().sentence);
  noted = sender->stored();
  for (std::size_t n = 0; n < kSpoolLanes; ++n)
    if (noted[n].epoch != promised[n].epoch || noted[n].sequence > promised[n].sequence)
      promised[n] = noted[n];
}

bool Uplink::State::write_one() {
  v1::ConnectRequest request;
  if (!greeted) {
    fill_hello(*request.mutable_hello());
    greeted = true;
    policy_changed = false;
  } else if (!welcomed) {
    return false;
  } else if (policy_changed && policy) {
    to_proto(*policy, *request.mutable_policy_state());
    policy_changed = false;
  } else if (now_ms >= health_ms) {  // before the answer to who asked for it
    fill_health(*request.mutable_health());
    health_ms = now_ms + kHealthMs;
  } else if (commands.has_answer()) {
    *request.mutable_command_result() = commands.take_answer();
  } else {
    auto batch = sender->next(now_ms);
    if (!batch) {
      trouble(batch.error().sentence);
      return false;
    }
    if (!*batch) return false;
    fill(**batch, *request.mutable_batch());
  }
  stream->write(request);
  return true;
}

void Uplink::State::fill_hello(v1::Hello& hello) {
  hello.set_version(facts.version);
  hello.set_boot_id(facts.boot_id);
  hello.set_hostname(facts.hostname);
  if (host_facts) {
    hello.set_tier(host_facts->tier);
    v1::HostHealth known;
    to_proto(*host_facts, known);
    for (const v1::Control& control : known.controls())
      if (control.state() == v1::Control::effective) hello.add_capabilities(control.control());
  }
  if (policy) to_proto(*policy, *hello.mutable_policy());
  auto spooled = spool->spooled();
  if (!spooled) return trouble(spooled.error().sentence);
  hello.set_epoch((*spooled)[0].epoch);
  for (std::size_t n = 0; n < kSpoolLanes; ++n) {
    v1::LanePosition& position = *hello.add_spooled();
    position.set_lane(lane_of(static_cast<SpoolLane>(n)));
    position.set_epoch((*spooled)[n].epoch);
    position.set_sequence((*spooled)[n].sequence);
    if (promised[n].sequence == 0) continue;
    v1::LanePosition& known = *hello.add_acknowledged();
    known.set_lane(position.lane());
    known.set_epoch(promised[n].epoch);
    known.set_sequence(promised[n].sequence);
  }
}

void Uplink::State::fill_health(v1::HostHealth& health) {
  health.mutable_at()->set_boot_id(facts.boot_id);
  health.mutable_at()->set_boot_ns(now_ns(CLOCK_BOOTTIME));
  health.mutable_at()->set_wall_ns(now_ns(CLOCK_REALTIME));
  if (host_facts) to_proto(*host_facts, health);
  v1::Health& out = *health.mutable_health();
  const SenderCounters& sent = sender->counters();
  const std::pair<const char*, std::uint64_t> counters[] = {
      {"uplink_records", sent.records},
      {"uplink_batches", sent.batches},
      {"uplink_lost", sent.lost},
      {"uplink_rewinds", sent.rewinds},
      {"uplink_connects", connects},
      {"uplink_lost_streams", lost_streams},
      {"uplink_policies", offers},
      {"uplink_commands", commands.taken()},
      {"clock_offset_s", static_cast<std::uint64_t>(std::abs(clock_offset_s))}};
  for (const auto& [name, value] : counters) {
    auto* counter = out.add_counters();
    counter->set_name(name);
    counter->set_value(value);
  }
  rusage used{};
  if (::getrusage(RUSAGE_SELF, &used) == 0) {
    out.set_rss_bytes(static_cast<std::uint64_t>(used.ru_maxrss) * 1'024);
    auto cpu_us = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * std::int64_t{1'000'000} +
                  used.ru_utime.tv_usec + used.ru_stime.tv_usec;
    out.set_cpu_ns(static_cast<std::uint64_t>(cpu_us) * 1'000);
  }
  if (care.refusal().empty()) return;
  v1::Reason& why = *out.add_degraded();
  why.set_code("certificate_not_renewed");
  why.add_args(care.refusal());
}

// ---- the loop ----------------------------------------------------------------------------------

std::int64_t Uplink::State::due_ms() const {
  std::int64_t due = std::min(beat_ms, now_ms + kLookMs);
  if (offer || !trusts.empty() || commands.has_offer()) due = std::min(due, offered_ms + kOfferMs);
  if (!stream && identity && connect_ms > now_ms) due = std::min(due, connect_ms);
  if (stream && welcomed && stream->may_write()) {
    if (auto sends = sender->due_ms()) due = std::min(due, *sends);
    due = std::min(due, health_ms);
  }
  return due;
}

void Uplink::State::wait() {
  pollfd wanted[3] = {{ends.guard, POLLIN, 0}, {wake, POLLIN, 0}, {ends.news, POLLIN, 0}};
  std::int64_t left = std::clamp<std::int64_t>(due_ms() - boot_ms(), 0, kLookMs);
  if (::poll(wanted, 3, static_cast<int>(left)) <= 0) return;
  if (wanted[1].revents != 0) drain(wake);
  if ((wanted[2].revents & POLLIN) != 0) drain(ends.news);
}

void Uplink::State::turn() {
  now_ms = boot_ms();
  stop = !tend_guard();
  if (stop) return;
  tend_identity();
  tend_stream();
}

Uplink::Uplink(const UplinkEnds& ends, UplinkFacts facts)
    : state_(std::make_unique<State>(ends, std::move(facts))) {}
Uplink::~Uplink() = default;

int Uplink::run() {
  if (state_->wake < 0) return EXIT_FAILURE;
  for (state_->turn(); !state_->stop; state_->turn()) state_->wait();
  return EXIT_SUCCESS;
}

}  // namespace weir
