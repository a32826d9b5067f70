// See veth.h: four messages of rtnetlink.
#include "platform/linux/veth.h"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "platform/files/fd.h"

namespace weir {
namespace {

constexpr std::size_t kMostMessage = 512;  // of ours; the longest is some 150 bytes

class Message {
 public:
  template <class Body>
  Message(std::uint16_t type, std::uint16_t flags, const Body& body) {
    head().nlmsg_type = type;
    head().nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    head().nlmsg_len = NLMSG_LENGTH(0);
    put(&body, sizeof body);
  }
  void attribute(std::uint16_t type, const void* data, std::size_t size) {
    rtattr* made = open(type);
    put(data, size);
    close(made);
  }
  rtattr* open(std::uint16_t type) {
    auto* made = reinterpret_cast<rtattr*>(bytes_.data() + NLMSG_ALIGN(head().nlmsg_len));
    const rtattr empty{RTA_LENGTH(0), type};
    put(&empty, sizeof empty);
    return made;
  }
  void close(rtattr* made) {
    made->rta_len = static_cast<std::uint16_t>(bytes_.data() + head().nlmsg_len -
                                               reinterpret_cast<std::uint8_t*>(made));
  }
  void put(const void* data, std::size_t size) {
    const std::size_t at = NLMSG_ALIGN(head().nlmsg_len);
    if (at + size > bytes_.size()) return;
    std::memcpy(bytes_.data() + at, data, size);
    head().nlmsg_len = static_cast<std::uint32_t>(at + size);
  }
  // Sends it, and takes the kernel's answer.
  Result<void> tell(const char* what) {
    const Fd line(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!line) return failed(what, errno);
    if (::send(line.get(), bytes_.data(), head().nlmsg_len, 0) < 0) return failed(what, errno);
    alignas(nlmsghdr) std::array<std::uint8_t, 1024> answer{};
    const ssize_t got = ::recv(line.get(), answer.data(), answer.size(), 0);
    if (got < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr)))) return failed(what, EPROTO);
    nlmsgerr said{};
    std::memcpy(&said, answer.data() + NLMSG_HDRLEN, sizeof said);
    if (said.error != 0) return failed(what, -said.error);
    return {};
  }

 private:
  static Result<void> failed(const char* what, int error) {
    return fail(std::string(what) + ": " + std::strerror(error));
  }
  nlmsghdr& head() { return *reinterpret_cast<nlmsghdr*>(bytes_.data()); }
  alignas(nlmsghdr) std::array<std::uint8_t, kMostMessage> bytes_{};
};

Result<void> add_address(int family, const char* text, unsigned device) {
  std::array<std::uint8_t, 16> address{};
  ::inet_pton(family, text, address.data());
  ifaddrmsg body{};
  body.ifa_family = static_cast<std::uint8_t>(family);
  body.ifa_prefixlen = family == AF_INET ? 24 : 64;
  body.ifa_flags = IFA_F_NODAD;  // nobody else is there
  body.ifa_index = device;
  Message message(RTM_NEWADDR, NLM_F_CREATE, body);
  const std::size_t size = family == AF_INET ? 4 : 16;
  message.attribute(IFA_LOCAL, address.data(), size);
  message.attribute(IFA_ADDRESS, address.data(), size);
  return message.tell("an address for a device of our own");
}

}  // namespace

Result<void> make_veth(pid_t peer) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  message.attribute(IFLA_IFNAME, kVethName, sizeof kVethName);
  rtattr* info = message.open(IFLA_LINKINFO);
  message.attribute(IFLA_INFO_KIND, "veth", 4);
  rtattr* data = message.open(IFLA_INFO_DATA);
  rtattr* other = message.open(VETH_INFO_PEER);
  const ifinfomsg empty{};
  message.put(&empty, sizeof empty);
  message.attribute(IFLA_IFNAME, kVethName, sizeof kVethName);
  const auto pid = static_cast<std::uint32_t>(peer);
  message.attribute(IFLA_NET_NS_PID, &pid, sizeof pid);
  message.close(other);
  message.close(data);
  message.close(info);
  return message.tell("a pair of devices of our own");
}

Result<void> raise_veth(const VethEnd& end) {
  const unsigned device = ::if_nametoindex(kVethName);
  if (device == 0) return fail("the other end of our pair of devices is not there");
  ifinfomsg body{};
  body.ifi_index = static_cast<int>(device);
  body.ifi_flags = body.ifi_change = IFF_UP;
  if (auto up = Message(RTM_NEWLINK, 0, body).tell("a device of our own"); !up) return up;
  if (auto put = add_address(AF_INET, end.address4, device); !put) return put;
  return add_address(AF_INET6, end.address6, device);
}

}  // namespace weir
