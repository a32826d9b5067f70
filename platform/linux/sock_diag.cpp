// Closing somebody else's socket through sock_diag (SOCK_DESTROY, CONFIG_INET_DIAG_DESTROY).
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

constexpr timeval kAnswerWithin = {1, 0};  // the kernel answers at once, or something is wrong

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

}  // namespace

Result<void> destroy_socket(const weir_tuple& tuple, std::uint64_t cookie) {
  Descriptor netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
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
