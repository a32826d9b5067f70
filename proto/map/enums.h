// Closed sets, core's values beside the wire's. A wire value that has no pair is unknown to this
// version; the caller decides what that means (policy.proto: refuse; event.proto: unspecified).
// Only for the .cpp files of mappings: it brings the generated headers.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "core/event/event.h"
#include "core/event/report.h"
#include "core/policy/policy.h"
#include "weir/v1/event.pb.h"
#include "weir/v1/policy.pb.h"
#include "weir/v1/report.pb.h"

namespace weir::map {

template <class Core, class Wire, std::size_t N>
using Pairs = std::array<std::pair<Core, Wire>, N>;

template <class Core, class Wire, std::size_t N>
constexpr Wire wire_of(const Pairs<Core, Wire, N>& pairs, Core value) {
  for (const auto& [core, wire] : pairs) {
    if (core == value) return wire;
  }
  return Wire{};  // zero is always *_UNSPECIFIED
}

template <class Core, class Wire, std::size_t N>
std::optional<Core> core_of(const Pairs<Core, Wire, N>& pairs, int value) {
  for (const auto& [core, wire] : pairs) {
    if (static_cast<int>(wire) == value) return core;
  }
  return std::nullopt;
}

inline constexpr Pairs<Action, v1::Action::Value, 8> kActions{{
    {Action::unspecified, v1::Action::ACTION_UNSPECIFIED},
    {Action::allow, v1::Action::allow},
    {Action::log, v1::Action::log},
    {Action::warn, v1::Action::warn},
    {Action::limit, v1::Action::limit},
    {Action::hold, v1::Action::hold},
    {Action::block, v1::Action::block},
    {Action::isolate, v1::Action::isolate},
}};
static_assert(kActions.size() == v1::Action::Value_ARRAYSIZE);

inline constexpr Pairs<Severity, v1::Severity::Value, 6> kSeverities{{
    {Severity::unspecified, v1::Severity::SEVERITY_UNSPECIFIED},
    {Severity::info, v1::Severity::info},
    {Severity::low, v1::Severity::low},
    {Severity::medium, v1::Severity::medium},
    {Severity::high, v1::Severity::high},
    {Severity::critical, v1::Severity::critical},
}};
static_assert(kSeverities.size() == v1::Severity::Value_ARRAYSIZE);

inline constexpr Pairs<Trust, v1::Trust::Value, 7> kTrusts{{
    {Trust::unspecified, v1::Trust::TRUST_UNSPECIFIED},
    {Trust::approved, v1::Trust::approved},
    {Trust::known, v1::Trust::known},
    {Trust::unknown, v1::Trust::unknown},
    {Trust::upload, v1::Trust::upload},
    {Trust::infrastructure, v1::Trust::infrastructure},
    {Trust::undeclared_udp, v1::Trust::undeclared_udp},
}};
static_assert(kTrusts.size() == v1::Trust::Value_ARRAYSIZE);

inline constexpr Pairs<Per, v1::Per::Value, 8> kPers{{
    {Per::unspecified, v1::Per::PER_UNSPECIFIED},
    {Per::process_tree, v1::Per::process_tree},
    {Per::person, v1::Per::person},
    {Per::host, v1::Per::host},
    {Per::destination, v1::Per::destination},
    {Per::process_tree_destination, v1::Per::process_tree_destination},
    {Per::host_destination, v1::Per::host_destination},
    {Per::flow, v1::Per::flow},
}};
static_assert(kPers.size() == v1::Per::Value_ARRAYSIZE);

using Kind = Condition::Kind;
inline constexpr Pairs<Kind, v1::Condition::Kind, 5> kConditionKinds{{
    {Kind::always, v1::Condition::always},
    {Kind::all, v1::Condition::all},
    {Kind::any, v1::Condition::any},
    {Kind::none, v1::Condition::none},
    {Kind::leaf, v1::Condition::leaf},
}};
static_assert(kConditionKinds.size() + 1 == v1::Condition::Kind_ARRAYSIZE);

using Field = Condition::Field;
inline constexpr Pairs<Field, v1::Condition::Field, 15> kConditionFields{{
    {Field::unspecified, v1::Condition::FIELD_UNSPECIFIED},
    {Field::label, v1::Condition::label},
    {Field::weight, v1::Condition::weight},
    {Field::trust, v1::Condition::trust},
    {Field::upload_to, v1::Condition::upload_to},
    {Field::burst, v1::Condition::burst},
    {Field::destination_domain, v1::Condition::destination_domain},
    {Field::destination_service, v1::Condition::destination_service},
    {Field::destination_cidr, v1::Condition::destination_cidr},
    {Field::destination_category, v1::Condition::destination_category},
    {Field::destination_approved, v1::Condition::destination_approved},
    {Field::detector, v1::Condition::detector},
    {Field::program, v1::Condition::program},
    {Field::person, v1::Condition::person},
    {Field::channel, v1::Condition::channel},
}};
static_assert(kConditionFields.size() == v1::Condition::Field_ARRAYSIZE);

inline constexpr Pairs<LabelSource::Kind, v1::LabelSource::Kind, 4> kLabelSources{{
    {LabelSource::Kind::type, v1::LabelSource::type},
    {LabelSource::Kind::exact_match, v1::LabelSource::exact_match},
    {LabelSource::Kind::path, v1::LabelSource::path},
    {LabelSource::Kind::received_from, v1::LabelSource::received_from},
}};
static_assert(kLabelSources.size() + 1 == v1::LabelSource::Kind_ARRAYSIZE);

inline constexpr Pairs<Selector::Kind, v1::Selector::Kind, 3> kSelectors{{
    {Selector::Kind::service, v1::Selector::service},
    {Selector::Kind::domain, v1::Selector::domain},
    {Selector::Kind::cidr, v1::Selector::cidr},
}};
static_assert(kSelectors.size() + 1 == v1::Selector::Kind_ARRAYSIZE);

inline constexpr Pairs<Mode, v1::Mode::Value, 2> kModes{{
    {Mode::observe, v1::Mode::observe},
    {Mode::enforce, v1::Mode::enforce},
}};
static_assert(kModes.size() + 1 == v1::Mode::Value_ARRAYSIZE);

inline constexpr Pairs<OnExit, v1::OnExit::Value, 2> kOnExits{{
    {OnExit::release, v1::OnExit::release},
    {OnExit::keep, v1::OnExit::keep},
}};
static_assert(kOnExits.size() + 1 == v1::OnExit::Value_ARRAYSIZE);

inline constexpr Pairs<OtherFamilies, v1::OtherFamilies::Value, 2> kOtherFamilies{{
    {OtherFamilies::detect, v1::OtherFamilies::detect},
    {OtherFamilies::prevent, v1::OtherFamilies::prevent},
}};
static_assert(kOtherFamilies.size() + 1 == v1::OtherFamilies::Value_ARRAYSIZE);

inline constexpr Pairs<LinkType, v1::PacketHead::Link, 7> kLinks{{
    {LinkType::unsupported, v1::PacketHead::LINK_UNSPECIFIED},
    {LinkType::ethernet, v1::PacketHead::ethernet},
    {LinkType::raw_ip, v1::PacketHead::raw_ip},
    {LinkType::linux_sll, v1::PacketHead::linux_sll},
    {LinkType::linux_sll2, v1::PacketHead::linux_sll2},
    {LinkType::null, v1::PacketHead::null},
    {LinkType::loop, v1::PacketHead::loop},
}};
static_assert(kLinks.size() == v1::PacketHead::Link_ARRAYSIZE);

inline constexpr Pairs<Direction, v1::PacketHead::Direction, 3> kDirections{{
    {Direction::unknown, v1::PacketHead::DIRECTION_UNSPECIFIED},
    {Direction::outgoing, v1::PacketHead::outgoing},
    {Direction::incoming, v1::PacketHead::incoming},
}};
static_assert(kDirections.size() == v1::PacketHead::Direction_ARRAYSIZE);

inline constexpr Pairs<Transport, v1::Transport::Value, 4> kTransports{{
    {Transport::other, v1::Transport::TRANSPORT_UNSPECIFIED},
    {Transport::tcp, v1::Transport::tcp},
    {Transport::udp, v1::Transport::udp},
    {Transport::icmp, v1::Transport::icmp},
}};
static_assert(kTransports.size() == v1::Transport::Value_ARRAYSIZE);

inline constexpr Pairs<Session::Kind, v1::Session::Kind, 8> kSessions{{
    {Session::Kind::login, v1::Session::login},
    {Session::Kind::failed_login, v1::Session::failed_login},
    {Session::Kind::logout, v1::Session::logout},
    {Session::Kind::lock, v1::Session::lock},
    {Session::Kind::unlock, v1::Session::unlock},
    {Session::Kind::remote_login, v1::Session::remote_login},
    {Session::Kind::su, v1::Session::su},
    {Session::Kind::sudo, v1::Session::sudo},
}};
static_assert(kSessions.size() + 1 == v1::Session::Kind_ARRAYSIZE);

inline constexpr Pairs<HoldEnded::How, v1::HoldEnded::How, 4> kHoldEnds{{
    {HoldEnded::How::answered, v1::HoldEnded::answered},
    {HoldEnded::How::closed, v1::HoldEnded::closed},
    {HoldEnded::How::let_go, v1::HoldEnded::let_go},
    {HoldEnded::How::too_many, v1::HoldEnded::too_many},
}};
static_assert(kHoldEnds.size() + 1 == v1::HoldEnded::How_ARRAYSIZE);

inline constexpr Pairs<HookRemoved::What, v1::HookRemoved::What, 5> kRemovals{{
    {HookRemoved::What::hook, v1::HookRemoved::hook},
    {HookRemoved::What::program, v1::HookRemoved::program},
    {HookRemoved::What::pins, v1::HookRemoved::pins},
    {HookRemoved::What::more, v1::HookRemoved::more},
    {HookRemoved::What::silent, v1::HookRemoved::silent},
}};
static_assert(kRemovals.size() + 1 == v1::HookRemoved::What_ARRAYSIZE);

}  // namespace weir::map
