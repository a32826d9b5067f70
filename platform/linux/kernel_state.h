// Inside the kernel part's library only: the loaded object, its maps and links, small BPF helpers.
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <map>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "platform/files/fd.h"
#include "platform/linux/kernel_part.h"
#include "platform/linux/map_keys.h"

namespace weir {

struct CgroupPlace {
  std::string path;
  std::uint64_t id = 0;
  std::uint32_t level = 0;  // below the root
};

struct ObjectCloser {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};
using Object = std::unique_ptr<bpf_object, ObjectCloser>;

struct RingCloser {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};

struct Idle {  // an account as it was when it was last seen to change
  std::uint64_t charged = 0, since_ns = 0;
};

// A program at its place: closing a link that is not pinned detaches it.
struct Hook {
  std::string name;
  Fd link;
  std::string pin;    // "": not pinned
  bool lost = false;  // gone, told, and not back yet
};

// What holds the floor at a device.
struct FloorLink {
  Fd link;
  bool is_classic() const { return !link; }  // a filter: classic_filter.h
};

struct KernelState {
  KernelState() = default;
  ~KernelState();  // takes classic filters away where nothing is pinned
  KernelOptions options;
  CgroupPlace place;
  Object object;
  std::vector<KernelProgram> programs;
  std::vector<Hook> hooks;
  std::map<std::uint32_t, FloorLink> floor;  // index of a device → its link
  std::string floor_pins;                    // folder of their pins, "" for none
  bool floor_laid = false;                   // pins of a former guard were looked through
  int walk = -1;  // link of one of them: the walk over the TCP sockets; -1: none here
  std::vector<Removed> removed;  // seen, not told yet
  bool pins_lost = false;        // told, and not back yet
  bool to_wake = false;          // a verdict came for a socket that waited
  bool asked = false;            // some account is beyond its mark
  weir_state values{};
  bool adopted = false;
  std::unique_ptr<ring_buffer, RingCloser> told;
  std::function<void(const weir_refused&)> on_told;
  std::uint64_t trees = 0;  // made here, for their ids
  // (row, per, who, dest)
  std::map<std::tuple<std::uint32_t, std::uint32_t, std::uint64_t, std::uint64_t>, Idle> idle;
  std::uint64_t next_idle_look_ns = 0;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> blocks;  // (tree, target) → end

  int map(const char* name) const;  // descriptor; a missing map is a bug
  Result<void> write_state();
  Result<void> write_limits(std::span<const weir_limit> rows);
  // The accounts that a row has for all that find no room in the table (kernel_keep.cpp).
  void open_overflow(std::span<const weir_limit> rows);
  void open_for_tasks();  // accounts of the persons whose programs run already
  void put_back(const KernelPast& past, std::span<const weir_limit> rows);
};

// What leads to blocked names, as it is to be under this policy (kernel_shut.cpp).
struct Shutting {
  std::vector<std::pair<Prefix, weir_prefix>> prefixes;          // beside the policy's own
  std::vector<std::pair<std::uint64_t, weir_verdict>> verdicts;  // by cookie
};
Shutting shutting_under(const KernelPolicy& next, const KernelPart& part);

// "text: strerror"; `code` is an errno, positive or negative.
tl::unexpected<Error> fail_with(const std::string& text, int code);

Result<CgroupPlace> find_cgroup(const std::string& path);
weir_prefix_key prefix_key(const Prefix& prefix);

// Every program of the object with what is lost without it (kernel_programs.cpp).
struct ProgramNote {
  const char* name;
  bool required;
  const char* lost;
};
const std::vector<ProgramNote>& program_notes();

struct Wanted {  // what one opening of the object is to hold
  const KernelOptions* options = nullptr;
  const CgroupPlace* place = nullptr;
  std::string pins;  // folder of the map pins, "" for none
  std::string only;  // a single program, for a probe; "" for all of `without`'s complement
  std::vector<std::string> without;
};
Result<Object> open_and_load(const Wanted& wanted, std::string& problem);
// Why the kernel does not run the program of BPF LSM, "" if it does: found out once, by trying it
// in nobody's scope (kernel_object.cpp).
const std::string& lsm_problem();
std::vector<KernelProgram> probe_programs(const KernelOptions& options, const CgroupPlace& place);

// The devices of the floor whose frames are counted, instead of those before; the sums of the
// tables (kernel_wire.cpp).
void follow_devices(const KernelState& state, std::span<const Device> all);
WireBytes wire_of(int devices, int wire);

// A link of the floor at this device, a former guard's or a new one (kernel_floor.cpp).
Result<FloorLink> lay_floor(KernelState& state, const Device& device);
std::string floor_pin(const KernelState& state, std::uint32_t index);

// Attaches every loaded program but the floor's, or takes over the pinned links
// (kernel_attach.cpp).
Result<void> attach_programs(KernelState& state, const std::string& pins);
// A descriptor of a new link, or a negative errno.
int attach_program(const bpf_program* program, int cgroup);
// The link by which a cgroup's program of ours, with our tables, is at its place already: none if
// it isn't.
Fd link_without_a_pin(const KernelState& state, const bpf_program* program);

// Makes PIN/weir/<layout>/{maps,links}, readable by root alone; where it is (kernel_part.cpp).
Result<void> make_pin_dirs(const std::string& pin_dir);
std::string layout_dir(const std::string& pin_dir);

// Is our program at its place? (kernel_mend.cpp)
enum class Held : std::uint8_t { yes, no, by_another };
Held held_at(int link, int program, const CgroupPlace& place);
Held held_at_device(const FloorLink& link, int program, std::uint32_t device);

}  // namespace weir
