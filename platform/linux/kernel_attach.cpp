// Attaching the loaded programs, pinning their links, and taking over links that a former guard
// pinned.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

bool is_cgroup_program(const bpf_program* program) {
  return bpf_program__type(program) != BPF_PROG_TYPE_TRACING;
}

// Runs when it is read (KernelPart::wake), so there is nothing to keep between two guards.
bool is_walk(const bpf_program* program) {
  return bpf_program__expected_attach_type(program) == BPF_TRACE_ITER;
}

// Run by the guard itself (kernel_keep.cpp).
bool is_called(const bpf_program* program) {
  return bpf_program__type(program) == BPF_PROG_TYPE_SYSCALL;
}

// Attached to each device by itself (kernel_floor.cpp).
bool is_of_a_device(const bpf_program* program) {
  return bpf_program__type(program) == BPF_PROG_TYPE_SCHED_CLS;
}

// A descriptor of a new link, or a negative errno.
int attach(const bpf_program* program, int cgroup) {
  int fd = bpf_program__fd(program);
  if (is_walk(program)) {
    int link = bpf_link_create(fd, 0, BPF_TRACE_ITER, nullptr);
    return link < 0 ? -errno : link;
  }
  if (!is_cgroup_program(program)) {
    int link = bpf_raw_tracepoint_open(nullptr, fd);
    return link < 0 ? -errno : link;
  }
  int link = bpf_link_create(fd, cgroup, bpf_program__expected_attach_type(program), nullptr);
  return link < 0 ? -errno : link;
}

Result<void> check_place(int link, const CgroupPlace& place, const std::string& pin) {
  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(link, &info, &size)) return fail_with("cannot read " + pin, errno);
  if (info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id != place.id)
    return fail(fmt::format("{} is attached to another cgroup than {}: run `weir release` first",
                            pin, place.path));
  return {};
}

// The old link goes on with the new program, or, where a link can't be changed, the new one is
// there before the old one goes. No packet passes in between, no fork is missed.
Result<Fd> take_over(const bpf_program* program, Fd old, int cgroup, const CgroupPlace& place,
                     const std::string& pin) {
  if (is_cgroup_program(program)) {
    if (auto r = check_place(old.get(), place, pin); !r) return tl::unexpected(r.error());
    if (bpf_link_update(old.get(), bpf_program__fd(program), nullptr))
      return fail_with("cannot replace the program of " + pin, errno);
    return old;
  }
  Fd fresh(attach(program, cgroup));
  if (!fresh) return fail_with("cannot attach " + pin, fresh.get());
  std::string beside = pin + "_new";  // a bpffs takes no dots in names
  unlink(beside.c_str());
  if (bpf_obj_pin(fresh.get(), beside.c_str())) return fail_with("cannot pin " + beside, errno);
  if (std::rename(beside.c_str(), pin.c_str())) return fail_with("cannot rename " + beside, errno);
  return fresh;
}

Result<Fd> attach_one(KernelState& state, const bpf_program* program, int cgroup,
                      const std::string& pin) {
  if (!pin.empty()) {
    Fd old(bpf_obj_get(pin.c_str()));
    if (old) return take_over(program, std::move(old), cgroup, state.place, pin);
  }
  int link = attach(program, cgroup);
  if (link < 0) return fail_with(std::string("cannot attach ") + bpf_program__name(program), link);
  Fd fresh(link);
  if (!pin.empty() && bpf_obj_pin(fresh.get(), pin.c_str()))
    return fail_with("cannot pin " + pin, errno);
  return fresh;
}

}  // namespace

Result<void> attach_programs(KernelState& state, const std::string& pins) {
  Fd cgroup(open(state.place.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup) return fail_with("cannot open " + state.place.path, errno);
  // Tasks first, charging last: what egress charges has an owner from its first packet on.
  for (KernelProgram& p : state.programs) {
    bpf_program* program = bpf_object__find_program_by_name(state.object.get(), p.name.c_str());
    if (!p.loaded || !program || is_of_a_device(program)) continue;
    if (is_called(program)) {
      p.attached = true;
      continue;
    }
    const bool pinned = !pins.empty() && !is_walk(program);
    auto link = attach_one(state, program, cgroup.get(), pinned ? pins + "/" + p.name : "");
    if (link) {
      p.attached = true;
      if (is_walk(program)) state.walk = link->get();
      state.links.push_back(std::move(*link));
      continue;
    }
    p.problem = link.error().sentence;
    if (p.required) return tl::unexpected(link.error());
  }
  return {};
}

}  // namespace weir
