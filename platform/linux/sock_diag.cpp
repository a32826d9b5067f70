// Closing somebody else's socket through sock_diag (SOCK_DESTROY, CONFIG_INET_DIAG_DESTROY).
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

constexpr timeval kAnswerWithin = {1, 0};  // the kernel answers at once, or something is wrong

constexpr std::size_t kDumpBytes = 32 * 1024;  // what the kernel fills at most in one read
constexpr std::size_t kMaxFound = 16'384;      // sockets of one dump
constexpr int kDumpRounds = 16;                // so a quarter of a million sockets of one command

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

Request make_request(const weir_tuple& tuple, std::uint64_t cookie) {
  Request r{};
  r.header.nlmsg_len = sizeof r;
  r.header.nlmsg_type = SOCK_DESTROY;
  r.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  r.body.sdiag_family = tuple.family;
  r.body.sdiag_protocol = tuple.protocol;
  r.body.idiag_states = ~0u;
  r.body.id.idiag_sport = htons(tuple.local_port);
  r.body.id.idiag_dport = htons(tuple.remote_port);
  r.body.id.idiag_cookie[0] = static_cast<std::uint32_t>(cookie);
  r.body.id.idiag_cookie[1] = static_cast<std::uint32_t>(cookie >> 32);
  // IPv4 sockets are asked for by four bytes, IPv6 ones by sixteen, v4-mapped among them.
  std::size_t from = tuple.family == AF_INET ? 12 : 0;
  std::memcpy(r.body.id.idiag_src, tuple.local + from, 16 - from);
  std::memcpy(r.body.id.idiag_dst, tuple.remote + from, 16 - from);
  return r;
}

// One socket of a dump: what destroy_socket needs, and where it was made.
struct Found {
  weir_tuple tuple{};
  std::uint64_t cookie = 0;
  std::uint32_t unsent = 0;  // bytes that the peer has not acknowledged
};

// Which sockets of a dump are wanted: those made in a cgroup, or those that a map of socket storage
// has a value for.
struct Wanted {
  std::uint64_t cgroup_id = 0;
  int storage_fd = -1;
};

bool is_wanted(const nlmsghdr& message, const Wanted& wanted) {
  const char* at = reinterpret_cast<const char*>(&message) + NLMSG_SPACE(sizeof(inet_diag_msg));
  const char* end = reinterpret_cast<const char*>(&message) + message.nlmsg_len;
  while (end - at >= static_cast<std::ptrdiff_t>(sizeof(nlattr))) {
    nlattr attribute{};
    std::memcpy(&attribute, at, sizeof attribute);
    if (attribute.nla_len < sizeof attribute || attribute.nla_len > end - at) return false;
    std::uint64_t id = 0;
    const int type = attribute.nla_type & NLA_TYPE_MASK;
    // The kernel leaves this one out where the map that was named has nothing for the socket.
    if (wanted.storage_fd >= 0 && type == INET_DIAG_SK_BPF_STORAGES)
      return attribute.nla_len > NLA_HDRLEN;
    if (wanted.storage_fd < 0 && type == INET_DIAG_CGROUP_ID &&
        attribute.nla_len >= NLA_HDRLEN + sizeof id) {
      std::memcpy(&id, at + NLA_HDRLEN, sizeof id);
      return id == wanted.cgroup_id;
    }
    at += NLA_ALIGN(attribute.nla_len);
  }
  return false;
}

Found found_socket(const inet_diag_msg& m) {
  Found f;
  f.tuple.family = m.idiag_family;
  f.tuple.protocol = IPPROTO_TCP;
  f.tuple.local_port = ntohs(m.id.idiag_sport);
  f.tuple.remote_port = ntohs(m.id.idiag_dport);
  std::size_t from = m.idiag_family == AF_INET ? 12 : 0;
  std::memcpy(f.tuple.local + from, m.id.idiag_src, 16 - from);
  std::memcpy(f.tuple.remote + from, m.id.idiag_dst, 16 - from);
  f.unsent = m.idiag_wqueue;
  f.cookie = m.id.idiag_cookie[0] | static_cast<std::uint64_t>(m.id.idiag_cookie[1]) << 32;
  return f;
}

struct DumpRequest {
  Request request;
  nlattr storages, map;  // sent only where a map is asked about
  std::uint32_t map_fd;
};

Result<std::vector<Found>> sockets_of(std::uint8_t family, const Wanted& wanted) {
  Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return fail_with("cannot open sock_diag", errno);
  setsockopt(netlink.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerWithin, sizeof kAnswerWithin);
  DumpRequest dump{};
  Request& request = dump.request;
  request.header.nlmsg_len = wanted.storage_fd < 0 ? sizeof request : sizeof dump;
  dump.storages = {sizeof dump - sizeof request, INET_DIAG_REQ_SK_BPF_STORAGES | NLA_F_NESTED};
  dump.map = {sizeof dump.map + sizeof dump.map_fd, SK_DIAG_BPF_STORAGE_REQ_MAP_FD};
  dump.map_fd = static_cast<std::uint32_t>(wanted.storage_fd);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.sdiag_family = family;
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_states = ~0u;
  if (send(netlink.get(), &dump, request.header.nlmsg_len, 0) < 0)
    return fail_with("cannot ask sock_diag for sockets", errno);
  std::vector<Found> found;
  std::vector<char> buffer(kDumpBytes);
  for (;;) {
    ssize_t got = recv(netlink.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) return fail_with("no answer from sock_diag", got < 0 ? errno : EPROTO);
    auto left = static_cast<unsigned>(got);
    for (auto* m = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(m, left);
         m = NLMSG_NEXT(m, left)) {
      if (m->nlmsg_type == NLMSG_DONE) return found;
      if (m->nlmsg_type == NLMSG_ERROR) return fail("sock_diag does not list these sockets");
      if (m->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg)) || !is_wanted(*m, wanted)) continue;
      if (found.size() >= kMaxFound) return found;  // the caller asks again
      found.push_back(found_socket(*reinterpret_cast<const inet_diag_msg*>(
          reinterpret_cast<const char*>(m) + NLMSG_LENGTH(0))));
    }
  }
}

Result<std::uint64_t> unsent_of(const Wanted& wanted) {
  std::uint64_t bytes = 0;
  for (std::uint8_t family : {AF_INET, AF_INET6}) {
    Result<std::vector<Found>> found = sockets_of(family, wanted);
    if (!found) return tl::unexpected(found.error());
    for (const Found& socket : *found) bytes += socket.unsent;
  }
  return bytes;
}

Result<std::size_t> destroy_sockets_of(const Wanted& wanted) {
  std::size_t destroyed = 0;
  for (std::uint8_t family : {AF_INET, AF_INET6}) {
    for (int round = 0; round < kDumpRounds; ++round) {
      Result<std::vector<Found>> found = sockets_of(family, wanted);
      if (!found) return tl::unexpected(found.error());
      std::size_t before = destroyed;
      for (const Found& socket : *found)
        if (socket.unsent > 0) destroyed += destroy_socket(socket.tuple, socket.cookie).has_value();
      if (found->size() < kMaxFound || destroyed == before) break;
    }
  }
  return destroyed;
}

}  // namespace

std::uint64_t unsent_of_cgroup(std::uint64_t cgroup_id) {
  return unsent_of({.cgroup_id = cgroup_id}).value_or(0);
}

std::vector<IpAddress> peers_of_cgroup(std::uint64_t cgroup_id) {
  std::vector<IpAddress> peers;
  for (std::uint8_t family : {AF_INET, AF_INET6}) {
    const Result<std::vector<Found>> found = sockets_of(family, {.cgroup_id = cgroup_id});
    for (const Found& socket : found ? *found : std::vector<Found>()) {
      if (socket.tuple.remote_port == 0) continue;  // a listener
      IpAddress peer = family == AF_INET ? IpAddress::v4(Bytes(socket.tuple.remote).last(4))
                                         : IpAddress::v6(Bytes(socket.tuple.remote));
      peers.push_back(peer);
    }
  }
  return peers;
}

Result<std::size_t> destroy_sockets_of_cgroup(std::uint64_t cgroup_id) {
  return destroy_sockets_of({.cgroup_id = cgroup_id});
}

Result<std::uint64_t> KernelPart::unsent() const {
  return unsent_of({.storage_fd = state_->map("sockets")});
}

Result<std::size_t> KernelPart::destroy_sockets() {
  return destroy_sockets_of({.storage_fd = state_->map("sockets")});
}

Result<void> destroy_socket(const weir_tuple& tuple, std::uint64_t cookie) {
  Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return fail_with("cannot open sock_diag", errno);
  setsockopt(netlink.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerWithin, sizeof kAnswerWithin);
  Request request = make_request(tuple, cookie);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (sendto(netlink.get(), &request, sizeof request, 0, reinterpret_cast<sockaddr*>(&kernel),
             sizeof kernel) < 0)
    return fail_with("cannot ask sock_diag to close a socket", errno);
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char rest[256];
  } answer{};
  ssize_t got = recv(netlink.get(), &answer, sizeof answer, 0);
  if (got < static_cast<ssize_t>(sizeof answer.header + sizeof(int)))
    return fail_with("no answer from sock_diag", got < 0 ? errno : EPROTO);
  if (answer.header.nlmsg_type == NLMSG_ERROR && answer.error.error != 0)
    return fail_with("sock_diag did not close the socket", answer.error.error);
  return {};
}

}  // namespace weir
