// Filters of clsact: see classic_filter.h.
#include "platform/linux/classic_filter.h"

#include <bpf/libbpf.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "platform/files/fd.h"
#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

// A place that nobody else is likely to have: both are read as "WE".
constexpr std::uint32_t kHandle = 0x5745, kPriority = 0x5745;

bpf_tc_hook egress_of(std::uint32_t device) {
  bpf_tc_hook hook{};
  hook.sz = sizeof hook;
  hook.ifindex = static_cast<int>(device);
  hook.attach_point = BPF_TC_EGRESS;
  return hook;
}

bpf_tc_opts our_place() {
  bpf_tc_opts place{};
  place.sz = sizeof place;
  place.handle = kHandle;
  place.priority = kPriority;
  return place;
}

// Filters that the kernel lists for one direction of the device; one more than none where it can't
// be asked, so that nothing of others is taken away.
bool has_filters(std::uint32_t device, std::uint32_t direction) {
  Fd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  struct {
    nlmsghdr head;
    tcmsg body;
  } ask{};
  ask.head.nlmsg_len = sizeof ask;
  ask.head.nlmsg_type = RTM_GETTFILTER;
  ask.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  ask.body.tcm_family = AF_UNSPEC;
  ask.body.tcm_ifindex = static_cast<int>(device);
  ask.body.tcm_parent = TC_H_MAKE(TC_H_CLSACT, direction);
  if (!netlink || ::send(netlink.get(), &ask, sizeof ask, 0) < 0) return true;
  alignas(nlmsghdr) std::array<char, 32768> answer;
  for (;;) {
    ssize_t size = ::recv(netlink.get(), answer.data(), answer.size(), 0);
    if (size <= 0) return true;
    auto left = static_cast<std::size_t>(size);
    for (auto* at = reinterpret_cast<nlmsghdr*>(answer.data()); NLMSG_OK(at, left);
         at = NLMSG_NEXT(at, left)) {
      if (at->nlmsg_type == RTM_NEWTFILTER || at->nlmsg_type == NLMSG_ERROR) return true;
      if (at->nlmsg_type == NLMSG_DONE) return false;
    }
  }
}

}  // namespace

Result<void> put_classic_filter(std::uint32_t device, int program) {
  bpf_tc_hook hook = egress_of(device);
  if (int e = bpf_tc_hook_create(&hook); e != 0 && e != -EEXIST)
    return fail_with("cannot add the queueing discipline clsact", -e);
  bpf_tc_opts place = our_place();
  place.prog_fd = program;
  place.flags = BPF_TC_F_REPLACE;
  if (int e = bpf_tc_attach(&hook, &place); e != 0) return fail_with("cannot add a filter", -e);
  return {};
}

std::uint32_t classic_filter_at(std::uint32_t device) {
  bpf_tc_hook hook = egress_of(device);
  bpf_tc_opts place = our_place();
  return bpf_tc_query(&hook, &place) == 0 ? place.prog_id : 0;
}

void remove_classic_filter(std::uint32_t device) {
  if (!has_filters(device, TC_H_MIN_EGRESS)) return;  // libbpf would print that it found none
  bpf_tc_hook hook = egress_of(device);
  bpf_tc_opts place = our_place();
  if (bpf_tc_query(&hook, &place) != 0) return;
  place = our_place();
  if (bpf_tc_detach(&hook, &place) != 0) return;
  if (has_filters(device, TC_H_MIN_EGRESS) || has_filters(device, TC_H_MIN_INGRESS)) return;
  hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
  bpf_tc_hook_destroy(&hook);
}

void remove_classic_filters() {
  struct if_nameindex* list = if_nameindex();
  if (list == nullptr) return;
  for (const struct if_nameindex* at = list; at->if_index != 0; ++at)
    remove_classic_filter(at->if_index);
  if_freenameindex(list);
}

}  // namespace weir
