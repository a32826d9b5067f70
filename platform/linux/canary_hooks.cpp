// See canary_hooks.h. A hook that addresses an end gives a socket its owner, before the kernel
// looks for a way there: what it had of one is taken from it first, and there is no way to
// anywhere.
#include "platform/linux/canary_hooks.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "platform/files/fd.h"
#include "platform/linux/bpf/weir_abi.h"
#include "platform/linux/kernel_part.h"
#include "platform/linux/lsm.h"

namespace weir {
namespace {

using State = TriedControl::State;

constexpr int kQdiscBypass = 20;  // linux/if_packet.h, PACKET_QDISC_BYPASS

State is(bool works) {
  return works ? State::works : State::fails;
}

struct Place {  // for documentation (RFC 5737, RFC 3849)
  sockaddr_storage address{};
  socklen_t size = 0;
};

Place nowhere(int family) {
  Place place;
  if (family == AF_INET) {
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(9);  // discard (RFC 863)
    ::inet_pton(AF_INET, "203.0.113.9", &four.sin_addr);
    std::memcpy(&place.address, &four, place.size = sizeof four);
  } else {
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(9);
    ::inet_pton(AF_INET6, "2001:db8:ffff::9", &six.sin6_addr);
    std::memcpy(&place.address, &six, place.size = sizeof six);
  }
  return place;
}

State try_address(int sockets, std::uint64_t tree, int family, bool connects) {
  const Fd line(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!line) return State::untried;
  const int fd = line.get();
  weir_socket owned{};
  if (bpf_map_delete_elem(sockets, &fd) && errno != ENOENT) return State::untried;
  const Place to = nowhere(family);
  const auto* at = reinterpret_cast<const sockaddr*>(&to.address);
  const int done = connects ? ::connect(fd, at, to.size)
                            : static_cast<int>(::sendto(fd, "c", 1, MSG_DONTWAIT, at, to.size));
  if (done >= 0) return State::untried;  // there is a way: a packet's hook may have done it
  return is(!bpf_map_lookup_elem(sockets, &fd, &owned) && owned.tree == tree);
}

State try_setsockopt() {
  const Fd line(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!line) return State::untried;
  const int on = 1;
  return is(::setsockopt(line.get(), SOL_PACKET, kQdiscBypass, &on, sizeof on) != 0 &&
            errno == EPERM);
}

// Ours of that name: it has this table. No pin leads to it.
Fd program_with(const char* name, int table) {
  bpf_map_info map{};
  __u32 size = sizeof map;
  if (bpf_obj_get_info_by_fd(table, &map, &size)) return {};
  for (__u32 id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
    Fd program(bpf_prog_get_fd_by_id(id));
    std::vector<__u32> tables(64);
    bpf_prog_info info{};
    size = sizeof info;
    info.nr_map_ids = static_cast<__u32>(tables.size());
    info.map_ids = reinterpret_cast<std::uintptr_t>(tables.data());
    if (!program || bpf_obj_get_info_by_fd(program.get(), &info, &size) ||
        std::strcmp(info.name, name) != 0)
      continue;
    tables.resize(std::min<std::size_t>(info.nr_map_ids, tables.size()));
    if (std::find(tables.begin(), tables.end(), map.id) != tables.end()) return program;
  }
  return {};
}

// A stream that was stopped early is pushed by the walk, which takes the mark from it. Of this
// network namespace's, which has no other.
State try_wake(int sockets) {
  const Fd program = program_with("weir_wake", sockets);
  if (!program) return State::untried;
  const Fd line(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int fd = line.get();
  weir_socket mine{};
  if (!line || ::listen(fd, 1) != 0 || bpf_map_lookup_elem(sockets, &fd, &mine))
    return State::untried;
  mine.flags |= WEIR_SOCKET_EARLY;
  if (bpf_map_update_elem(sockets, &fd, &mine, BPF_EXIST)) return State::untried;
  const Fd link(bpf_link_create(program.get(), 0, BPF_TRACE_ITER, nullptr));
  const Fd walk(link ? bpf_iter_create(link.get()) : -1);
  if (!walk) return State::untried;
  char nothing[64];
  while (::read(walk.get(), nothing, sizeof nothing) > 0) continue;
  if (bpf_map_lookup_elem(sockets, &fd, &mine)) return State::untried;
  return is((mine.flags & WEIR_SOCKET_EARLY) == 0);
}

}  // namespace

TriedHooks try_hooks(const std::string& pin_dir, int sockets, std::uint64_t tree) {
  const auto pinned = [&](const char* name) {
    return ::access(fmt::format("{}/weir/{}/links/{}", pin_dir, WEIR_LAYOUT, name).c_str(), F_OK) ==
           0;
  };
  TriedHooks all;
  if (pinned("weir_connect4")) all.connect4 = try_address(sockets, tree, AF_INET, true);
  if (pinned("weir_connect6")) all.connect6 = try_address(sockets, tree, AF_INET6, true);
  if (pinned("weir_sendmsg4")) all.sendmsg4 = try_address(sockets, tree, AF_INET, false);
  if (pinned("weir_sendmsg6")) all.sendmsg6 = try_address(sockets, tree, AF_INET6, false);
  if (pinned("weir_setsockopt")) all.setsockopt = try_setsockopt();
  if (pinned(kLsmProgram)) all.family = is(lsm_answers());
  all.wake = try_wake(sockets);
  return all;
}

}  // namespace weir
