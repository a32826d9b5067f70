// Frames by a packet socket: whole packets by hand, below IP.
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "tests/kernel/ways.h"

namespace weir::test {
namespace {

std::uint16_t ip_checksum(const std::uint8_t* head, std::size_t size) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < size; i += 2)
    sum += static_cast<std::uint32_t>(head[i] << 8 | head[i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

// A datagram with all its headers, as it is written into a frame.
std::size_t whole_datagram(std::uint8_t* out, const sockaddr_in& to) {
  constexpr std::size_t kIp = 20, kUdp = 8, kSize = kIp + kUdp + kDatagram;
  const std::uint8_t ip[kIp] = {0x45,        0, kSize >> 8, kSize & 0xff, 0,  0, 0, 0, 64,
                                IPPROTO_UDP, 0, 0,          10,           77, 0, 1};
  std::memcpy(out, ip, kIp);
  std::memcpy(out + 16, &to.sin_addr, 4);
  const std::uint16_t sum = htons(ip_checksum(out, kIp));
  std::memcpy(out + 10, &sum, 2);
  const std::uint16_t udp[4] = {htons(40000), to.sin_port, htons(kUdp + kDatagram), 0};
  std::memcpy(out + kIp, udp, kUdp);
  std::memset(out + kIp + kUdp, 'w', kDatagram);
  return kSize;
}

std::size_t whole_datagram(std::uint8_t* out, const sockaddr_in6& to) {
  constexpr std::size_t kIp = 40, kUdp = 8, kSize = kUdp + kDatagram;
  const std::uint8_t ip[8] = {0x60, 0, 0, 0, kSize >> 8, kSize & 0xff, IPPROTO_UDP, 64};
  const std::uint8_t own[16] = {0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  std::memcpy(out + 8, own, sizeof own);
  std::memcpy(out + 24, &to.sin6_addr, 16);
  const std::uint16_t udp[4] = {htons(40000), to.sin6_port, htons(kSize), 0};
  std::memcpy(out + kIp, udp, kUdp);
  std::memset(out + kIp + kUdp, 'w', kDatagram);
  // Its sum is not optional, and counts what stands here for the moment: length, protocol.
  const std::uint8_t rest[8] = {0, 0, kSize >> 8, kSize & 0xff, 0, 0, 0, IPPROTO_UDP};
  std::memcpy(out, rest, sizeof rest);
  const std::uint16_t sum = htons(ip_checksum(out, kIp + kSize));
  std::memcpy(out + kIp + 6, &sum, 2);
  std::memcpy(out, ip, sizeof ip);
  return kIp + kSize;
}

}  // namespace

// Frames for the peer by a packet socket. "refused": it may not go past the queues.
int by_frames(const Target& to, Past past) {
  int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int on = 1;
  socklen_t size_of_on = sizeof on;
  if (past != Past::nothing && setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) != 0)
    std::printf("refused: %s\n", std::strerror(errno));
  if (past == Past::queue_since_before) {
    if (!is_told_to_go()) return 5;
    getsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, &size_of_on);
    std::printf("past the queue: %d\n", on);
    on = 1;
    if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) != 0)
      std::printf("refused: %s\n", std::strerror(errno));
  }
  const bool six = to.address.ss_family == AF_INET6;
  sockaddr_ll peer{AF_PACKET,
                   htons(six ? ETH_P_IPV6 : ETH_P_IP),
                   static_cast<int>(if_nametoindex("desk0")),
                   0,
                   0,
                   6,
                   {}};
  const std::uint8_t address[6] = {2, 0, 0, 0, 0x77, 2};
  std::memcpy(peer.sll_addr, address, sizeof address);
  std::uint8_t frame[2048];
  const std::size_t size =
      six ? whole_datagram(frame, reinterpret_cast<const sockaddr_in6&>(to.address))
          : whole_datagram(frame, reinterpret_cast<const sockaddr_in&>(to.address));
  while (!is_over(to))
    if (sendto(fd, frame, size, 0, reinterpret_cast<sockaddr*>(&peer), sizeof peer) < 0)
      usleep(500);
  return 0;
}

// The same behind a tag of VLAN 0, which a switch takes as none. From the tag on, which is where an
// untagged frame has its packet, they read as IPv4 to 10.99.0.1: the packet's source.
int by_tagged_frames(const Target& to) {
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  sockaddr_ll peer{AF_PACKET, 0, static_cast<int>(if_nametoindex("desk0")), 0, 0, 6, {}};
  std::uint8_t frame[2048] = {2, 0, 0, 0, 0x77, 2, 2, 0, 0, 0, 0x77, 1, 0x81, 0, 0x40, 0, 8, 0};
  const std::size_t size =
      18 + whole_datagram(frame + 18, reinterpret_cast<const sockaddr_in&>(to.address));
  const std::uint8_t source[4] = {10, 99, 0, 1};
  std::memcpy(frame + 18 + 12, source, sizeof source);
  std::memset(frame + 18 + 10, 0, 2);
  const std::uint16_t sum = htons(ip_checksum(frame + 18, 20));
  std::memcpy(frame + 18 + 10, &sum, 2);
  while (!is_over(to))
    if (sendto(fd, frame, size, 0, reinterpret_cast<sockaddr*>(&peer), sizeof peer) < 0)
      usleep(500);
  return 0;
}

// What keeps a link alive, by a packet socket, twenty times: IEEE 802.1X (114 bytes), ARP (42), and
// a DHCP client that asks everybody (1042).
int by_frames_of_the_link(const Target& to) {
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  sockaddr_ll all{AF_PACKET, 0, static_cast<int>(if_nametoindex("desk0")), 0, 0, 6, {}};
  std::uint8_t port[114] = {1, 0x80, 0xc2, 0, 0, 3, 2, 0, 0, 0, 0x77, 1, 0x88, 0x8e};
  std::uint8_t arp[42] = {255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0x77, 1, 8, 6};
  std::uint8_t dhcp[2048] = {255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0x77, 1, 8, 0};
  sockaddr_in everybody{AF_INET, htons(67), {INADDR_BROADCAST}, {}};
  const std::size_t size = 14 + whole_datagram(dhcp + 14, everybody);
  dhcp[14 + 20] = 0;
  dhcp[14 + 21] = 68;
  const std::pair<const std::uint8_t*, std::size_t> frames[] = {
      {port, sizeof port}, {arp, sizeof arp}, {dhcp, size}};
  int refused = 0;
  for (int n = 0; n < 20 && !is_over(to); n++)
    for (const auto& [frame, length] : frames)
      refused += sendto(fd, frame, length, 0, reinterpret_cast<sockaddr*>(&all), sizeof all) < 0;
  std::printf("refused %d of 60\n", refused);
  return 0;
}

}  // namespace weir::test
