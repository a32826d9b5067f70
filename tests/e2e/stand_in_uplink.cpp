// Takes the uplink's place in tests: offers what it finds in its folder, writes down what it is
// told. The files `offer`, `command` and `trust` are an OfferPolicy, OfferCommand, OfferTrust and
// then what is signed; `states` gets a line for each PolicyState (state, number, reason, refused
// number, "keys", number, reason where they are not the first, and "group", whose policies are
// taken, "has", whose is in force, where that is another), and for each outcome of a command. The
// file `nonsense` is sent as it is.
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "agent/guard/descriptors.h"
#include "agent/guard/uplink_messages.h"
#include "platform/files/passing.h"

using namespace weir;

namespace {

std::uint32_t sequence = 0;

std::vector<std::uint8_t> take(const char* name) {
  std::vector<std::uint8_t> bytes;
  int fd = ::openat(fds::kUplinkIdentity, name, O_RDONLY);
  if (fd < 0) return bytes;
  std::uint8_t piece[65536];
  for (ssize_t got; (got = ::read(fd, piece, sizeof piece)) > 0;)
    bytes.insert(bytes.end(), piece, piece + got);
  ::close(fd);
  ::unlinkat(fds::kUplinkIdentity, name, 0);
  return bytes;
}

template <class M>
void offer(const std::vector<std::uint8_t>& file) {
  M message;
  if (file.size() < sizeof message) return;
  std::memcpy(&message, file.data(), sizeof message);
  int memory = ::memfd_create("offer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  (void)!::write(memory, file.data() + sizeof message, file.size() - sizeof message);
  ::fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  send_with(fds::kUplinkGuard, wire::seal(message, sequence), memory, 0);
  ::close(memory);
}

void write_line(const std::string& line) {
  int fd = ::openat(fds::kUplinkIdentity, "states", O_WRONLY | O_CREAT | O_APPEND, 0600);
  (void)!::write(fd, line.data(), line.size());
  ::close(fd);
}

std::string line_of(const wire::ToUplink& message) {
  if (std::holds_alternative<wire::HostFactsMessage>(message)) return "";
  if (const auto* outcome = std::get_if<wire::CommandOutcomeMessage>(&message))
    return "command " + std::to_string(outcome->outcome) + " " +
           std::string(wire::code_of(wire::CommandRefusal{outcome->reason})) + " " +
           outcome->words.data() + (outcome->again != 0 ? " again" : "") + "\n";
  const auto& state = std::get<wire::PolicyStateMessage>(message);
  std::string line = std::to_string(state.state) + " " + std::to_string(state.number) + " " +
                     std::string(wire::code_of(wire::Refusal{state.reason})) + " " +
                     std::to_string(state.refused_number);
  if (state.trust_number != 1 || state.trust_reason != 0)
    line += " keys " + std::to_string(state.trust_number) + " " +
            std::string(wire::code_of(wire::TrustRefusal{state.trust_reason}));
  const std::string group = state.group.data(), has = state.policy_group.data();
  if (!has.empty() && group != has) line += " group " + group + " has " + has;
  return line + "\n";
}

}  // namespace

int main() {
  wire::UplinkBeat beat;
  Bytes first = wire::seal(beat, sequence);
  (void)!::send(fds::kUplinkGuard, first.data(), first.size(), 0);
  for (int n = 1;; ++n) {
    pollfd wanted{fds::kUplinkGuard, POLLIN, 0};
    ::poll(&wanted, 1, 20);
    std::uint8_t buffer[wire::kUplinkReceiveBuffer];
    ssize_t got = ::recv(fds::kUplinkGuard, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got == 0) return 0;
    if (got > 0) {
      auto message = wire::parse_to_uplink({buffer, static_cast<std::size_t>(got)});
      if (!message || std::holds_alternative<wire::UplinkStop>(*message)) return 0;
      write_line(line_of(*message));
    }
    if (auto file = take("offer"); !file.empty()) offer<wire::OfferPolicy>(file);
    if (auto file = take("command"); !file.empty()) offer<wire::OfferCommand>(file);
    if (auto file = take("trust"); !file.empty()) offer<wire::OfferTrust>(file);
    if (auto bytes = take("nonsense"); !bytes.empty())
      (void)!::send(fds::kUplinkGuard, bytes.data(), bytes.size(), 0);
    if (n % 100 == 0) {
      Bytes more = wire::seal(beat, sequence);
      (void)!::send(fds::kUplinkGuard, more.data(), more.size(), 0);
    }
  }
}
