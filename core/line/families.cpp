// Sockets of families that no limit counts: told, whatever the rules say.
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "core/line/state.h"
#include "core/policy/exceptions.h"

namespace weir {
namespace {

// <linux/socket.h>; numbers never change.
constexpr std::array<std::string_view, 46> kFamilies = {
    "UNSPEC",  "UNIX",    "INET",    "AX25",   "IPX",        "APPLETALK", "NETROM",   "BRIDGE",
    "ATMPVC",  "X25",     "INET6",   "ROSE",   "DECnet",     "NETBEUI",   "SECURITY", "KEY",
    "NETLINK", "PACKET",  "ASH",     "ECONET", "ATMSVC",     "RDS",       "SNA",      "IRDA",
    "PPPOX",   "WANPIPE", "LLC",     "IB",     "MPLS",       "CAN",       "TIPC",     "BLUETOOTH",
    "IUCV",    "RXRPC",   "ISDN",    "PHONET", "IEEE802154", "CAIF",      "ALG",      "NFC",
    "VSOCK",   "KCM",     "QIPCRTR", "SMC",    "XDP",        "MCTP"};

std::string family_name(std::uint64_t family) {
  if (family >= kFamilies.size()) return "AF_" + std::to_string(family);
  return "AF_" + std::string(kFamilies[family]);
}

Reason what_happened(const AccountSpent& spent, const std::string& family) {
  if (spent.limit == kFamilyRefused) return {"family_refused", {family}};
  if (spent.limit == kFamilyMade) return {"family_made", {family}};
  return {"family_sent", {family, std::to_string(spent.spent)}};
}

}  // namespace

void Line::State::tell_family(const AccountSpent& spent) {
  const bool refused = spent.limit == kFamilyRefused;
  Told one;
  one.subject = one.finding.detector = "other_family";
  one.about = one.destination.name = family_name(spent.destination);
  one.finding.severity = refused                      ? Severity::medium
                         : spent.limit == kFamilySent ? Severity::low
                                                      : Severity::info;
  one.bytes_out = spent.spent;
  one.finding.confidence = 100;
  one.finding.attack = {"T1011"};  // Exfiltration Over Other Network Medium
  one.finding.because = {what_happened(spent, one.about)};
  one.actor = processes.actor_of(spent.socket, {});
  one.decision.action = refused ? Action::block : Action::log;
  if (refused) one.decision.rule = kFamiliesRule;
  one.decision.policy_number = policy->number;
  one.decision.enforced = refused;
  one.decision.because = one.finding.because;
  told.push_back(std::move(one));
}

}  // namespace weir
