// Attaching the loaded programs, pinning their links, and taking over links that a former guard
// pinned.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

constexpr std::size_t kMostTables = 64;    // of one program; ours have some twenty
constexpr std::size_t kMostLinks = 65536;  // of a machine; beyond that they are not looked at

bool is_cgroup_program(const bpf_program* program) {
  const bpf_prog_type type = bpf_program__type(program);
  return type != BPF_PROG_TYPE_TRACING && type != BPF_PROG_TYPE_LSM;
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

// Of a cgroup: its link is there, and holds nothing.
bool is_detached(int link) {
  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  return bpf_obj_get_info_by_fd(link, &info, &size) == 0 && info.type == BPF_LINK_TYPE_CGROUP &&
         info.cgroup.cgroup_id == 0;
}

// Of this name, and with the table of this number.
bool is_ours(int program, std::string_view name, std::uint32_t table) {
  std::array<std::uint32_t, kMostTables> tables{};
  bpf_prog_info info{};
  info.nr_map_ids = kMostTables;
  info.map_ids = reinterpret_cast<std::uintptr_t>(tables.data());
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(program, &info, &size) != 0) return false;
  const auto end = tables.begin() + std::min<std::size_t>(info.nr_map_ids, kMostTables);
  // The kernel keeps the first characters of a name.
  return name.starts_with(info.name) && std::find(tables.begin(), end, table) != end;
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
  Fd fresh(attach_program(program, cgroup));
  if (!fresh) return fail_with("cannot attach " + pin, fresh.get());
  std::string beside = pin + "_new";  // a bpffs takes no dots in names
  unlink(beside.c_str());
  if (bpf_obj_pin(fresh.get(), beside.c_str())) return fail_with("cannot pin " + beside, errno);
  if (std::rename(beside.c_str(), pin.c_str())) return fail_with("cannot rename " + beside, errno);
  return fresh;
}

Result<Fd> attach_one(KernelState& state, const bpf_program* program, bool is_required, int cgroup,
                      const std::string& pin) {
  if (!pin.empty()) {
    Fd old(bpf_obj_get(pin.c_str()));
    // Detached while nobody looked: it can't be attached again, and says so to no one.
    const bool dead = old && is_cgroup_program(program) && is_detached(old.get());
    if (old && !dead) return take_over(program, std::move(old), cgroup, state.place, pin);
    if (dead) unlink(pin.c_str());
    // A later version's program was never there; those that every version has were.
    if (dead || (state.adopted && is_required))
      state.removed.push_back({Removed::What::hook, bpf_program__name(program), 1, ""});
  }
  Fd fresh = state.adopted ? link_without_a_pin(state, program) : Fd();
  if (fresh && bpf_link_update(fresh.get(), bpf_program__fd(program), nullptr))
    return fail_with(std::string("cannot replace ") + bpf_program__name(program), errno);
  if (!fresh) fresh = Fd(attach_program(program, cgroup));
  if (!fresh)
    return fail_with(std::string("cannot attach ") + bpf_program__name(program), fresh.get());
  if (!pin.empty() && bpf_obj_pin(fresh.get(), pin.c_str()))
    return fail_with("cannot pin " + pin, errno);
  return fresh;
}

}  // namespace

// Two would charge each packet twice: where a pin was removed and somebody still holds the link, it
// is at its place, and found by the kernel's numbers of all links.
Fd link_without_a_pin(const KernelState& state, const bpf_program* program) {
  if (!is_cgroup_program(program)) return Fd();
  bpf_map_info tables{};
  std::uint32_t size = sizeof tables;
  if (bpf_obj_get_info_by_fd(state.map("state"), &tables, &size)) return Fd();
  std::uint32_t id = 0;
  for (std::size_t n = 0; n < kMostLinks && bpf_link_get_next_id(id, &id) == 0; ++n) {
    Fd link(bpf_link_get_fd_by_id(id));
    bpf_link_info info{};
    size = sizeof info;
    if (!link || bpf_obj_get_info_by_fd(link.get(), &info, &size) != 0) continue;
    if (info.type != BPF_LINK_TYPE_CGROUP || info.cgroup.cgroup_id != state.place.id ||
        info.cgroup.attach_type != bpf_program__expected_attach_type(program))
      continue;
    const Fd there(bpf_prog_get_fd_by_id(info.prog_id));
    if (there && is_ours(there.get(), bpf_program__name(program), tables.id)) return link;
  }
  return Fd();
}

int attach_program(const bpf_program* program, int cgroup) {
  int fd = bpf_program__fd(program);
  int link = -1;
  if (is_walk(program))
    link = bpf_link_create(fd, 0, BPF_TRACE_ITER, nullptr);
  else if (!is_cgroup_program(program))
    link = bpf_raw_tracepoint_open(nullptr, fd);
  else
    link = bpf_link_create(fd, cgroup, bpf_program__expected_attach_type(program), nullptr);
  return link < 0 ? -errno : link;
}

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
    const std::string pin = pinned ? pins + "/" + p.name : "";
    auto link = attach_one(state, program, p.required, cgroup.get(), pin);
    if (link) {
      p.attached = true;
      if (is_walk(program)) state.walk = link->get();
      state.hooks.push_back({p.name, std::move(*link), pin});
      continue;
    }
    p.problem = link.error().sentence;
    if (p.required) return tl::unexpected(link.error());
  }
  return {};
}

}  // namespace weir
