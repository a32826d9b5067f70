// KernelPart::mend: hooks and pins that somebody with root's rights took away, put back. A link of
// a tracepoint can't be detached while its descriptor is held; one of a cgroup or of a device can,
// and stays behind as an empty shell.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "platform/linux/classic_filter.h"
#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

constexpr auto kTcxLink = 11u;  // BPF_LINK_TYPE_TCX of <linux/bpf.h> since 6.6

std::uint32_t id_of_program(int program) {
  bpf_prog_info info{};
  std::uint32_t size = sizeof info;
  return bpf_obj_get_info_by_fd(program, &info, &size) == 0 ? info.id : 0;
}

std::uint32_t id_of_map(int map) {
  bpf_map_info info{};
  std::uint32_t size = sizeof info;
  return bpf_obj_get_info_by_fd(map, &info, &size) == 0 ? info.id : 0;
}

std::uint32_t id_of_link(int link) {
  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  return bpf_obj_get_info_by_fd(link, &info, &size) == 0 ? info.id : 0;
}

bool is_there(const CgroupPlace& place) {
  auto now = find_cgroup(place.path);
  return now && now->id == place.id;
}

// In its place, whatever stands there is gone: "" or why not.
std::string pin_anew(int object, const std::string& pin) {
  unlink(pin.c_str());
  if (bpf_obj_pin(object, pin.c_str()) == 0) return "";
  return fail_with("cannot pin " + pin, errno).value().sentence;
}

// "": it is back.
std::string put_back(KernelState& state, Hook& hook, Held held) {
  bpf_program* program = bpf_object__find_program_by_name(state.object.get(), hook.name.c_str());
  const int fd = program != nullptr ? bpf_program__fd(program) : -1;
  if (held == Held::by_another) {
    if (bpf_link_update(hook.link.get(), fd, nullptr) == 0) return "";
    return fail_with("cannot replace the program of " + hook.name, errno).value().sentence;
  }
  Fd link = link_without_a_pin(state, program);
  Fd cgroup(open(state.place.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup) return fail_with("cannot open " + state.place.path, errno).value().sentence;
  if (!link) link = Fd(attach_program(program, cgroup.get()));
  if (!link) return fail_with("cannot attach " + hook.name, link.get()).value().sentence;
  hook.link = std::move(link);
  return hook.pin.empty() ? "" : pin_anew(hook.link.get(), hook.pin);
}

void mend_hooks(KernelState& state, std::vector<Removed>& found) {
  bool any = false;
  for (Hook& hook : state.hooks) {
    const bpf_program* program =
        bpf_object__find_program_by_name(state.object.get(), hook.name.c_str());
    const int fd = program != nullptr ? bpf_program__fd(program) : -1;
    const Held held = held_at(hook.link.get(), fd, state.place);
    if (held == Held::yes) continue;
    if (!any && !is_there(state.place)) return;  // nobody is in it, and nothing can be attached
    any = true;
    std::string problem = put_back(state, hook, held);
    const bool was_lost = hook.lost;
    hook.lost = !problem.empty();
    if (was_lost && hook.lost) continue;
    found.push_back({held == Held::no ? Removed::What::hook : Removed::What::program, hook.name, 1,
                     std::move(problem)});
  }
}

// One pin: is it there, and ours?
template <class IdOf>
bool is_pinned(int object, const std::string& pin, IdOf id_of) {
  const Fd there(bpf_obj_get(pin.c_str()));
  return there && id_of(there.get()) == id_of(object);
}

void mend_pins(KernelState& state, std::vector<Removed>& found) {
  if (state.options.pin_dir.empty()) return;
  Removed all{Removed::What::pins, "", 0, ""};
  const auto mend = [&](int object, const std::string& pin, auto id_of) {
    if (is_pinned(object, pin, id_of)) return;
    if (all.count++ == 0) {
      all.name = std::string_view(pin).substr(pin.rfind('/') + 1);
      if (auto made = make_pin_dirs(state.options.pin_dir); !made)
        all.problem = made.error().sentence;
    }
    // Without the file system nothing can be pinned: one sentence says it all.
    if (all.problem.empty()) all.problem = pin_anew(object, pin);
  };
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, state.object.get()) {
    const char* pin = bpf_map__pin_path(map);
    if (pin != nullptr) mend(bpf_map__fd(map), pin, id_of_map);
  }
  for (const Hook& hook : state.hooks)
    if (!hook.pin.empty()) mend(hook.link.get(), hook.pin, id_of_link);
  for (const auto& [index, link] : state.floor)
    if (!link.is_classic()) mend(link.link.get(), floor_pin(state, index), id_of_link);
  const bool was_lost = state.pins_lost;
  state.pins_lost = !all.problem.empty();
  if (all.count > 0 && !(was_lost && state.pins_lost)) found.push_back(std::move(all));
}

}  // namespace

Held held_at(int link, int program, const CgroupPlace& place) {
  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(link, &info, &size) != 0) return Held::yes;  // no answer, no claim
  if (info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id != place.id) return Held::no;
  return info.prog_id == id_of_program(program) ? Held::yes : Held::by_another;
}

Held held_at_device(const FloorLink& floor, int program, std::uint32_t device) {
  const std::uint32_t ours = id_of_program(program);
  if (floor.is_classic()) {
    const std::uint32_t there = classic_filter_at(device);
    return there == ours ? Held::yes : there == 0 ? Held::no : Held::by_another;
  }
  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(floor.link.get(), &info, &size) != 0) return Held::yes;
  // The index stands first in what the kernel says of such a link, as it does of one of XDP.
  if (info.type == kTcxLink && info.xdp.ifindex != device) return Held::no;
  return info.prog_id == ours ? Held::yes : Held::by_another;
}

std::vector<Removed> KernelPart::mend(Look look) {
  std::vector<Removed> found = std::move(state_->removed);
  state_->removed.clear();
  mend_hooks(*state_, found);
  const bool hooks = !found.empty();
  if (hooks || look == Look::at_all) mend_pins(*state_, found);
  // Whoever began, or made a socket, while a hook was away.
  if (hooks && state_->options.scan && state_->options.scope == KernelScope::cgroup)
    (void)scan_tasks(state_->options.bind_sockets);
  return found;
}

}  // namespace weir
