// The BPF object that is carried inside the program: opening it, fitting it to this kernel, loading
// it.
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "platform/linux/kernel_state.h"
#include "platform/linux/lsm.h"

// The object's bytes, from the build tree into the program.
__asm__(
    ".section .rodata\n.balign 16\n"
    ".global weir_bpf_object\nweir_bpf_object:\n.incbin \"" WEIR_BPF_OBJECT
    "\"\n"
    ".global weir_bpf_object_end\nweir_bpf_object_end:\n.previous\n");
extern "C" const unsigned char weir_bpf_object[];
extern "C" const unsigned char weir_bpf_object_end[];

namespace weir {
namespace {

constexpr std::size_t kMostLog = 256 * 1024;  // a verifier log beyond that says nothing new
constexpr std::uint32_t kProbeEntries = 16;   // maps of a probe: only their shape matters

std::string library_log;  // what libbpf said during one load; loads are serial

int keep_log(libbpf_print_level level, const char* format, va_list args) {
  if (level == LIBBPF_DEBUG || library_log.size() > kMostLog) return 0;
  char line[8192];
  std::vsnprintf(line, sizeof line, format, args);
  library_log += line;
  return 0;
}

// The line of a verifier log that names the reason: the last one before its statistics.
std::string reason_in_log() {
  std::string best;
  std::size_t at = 0;
  while (at < library_log.size()) {
    std::size_t end = std::min(library_log.find('\n', at), library_log.size());
    std::string line = library_log.substr(at, end - at);
    at = end + 1;
    if (line.empty() || line.starts_with("libbpf:") || line.starts_with("processed") ||
        line.starts_with("--") || line.starts_with("verification time") ||
        line.starts_with("stack depth") || line.find("mark_precise") != std::string::npos)
      continue;
    best = line;
  }
  return best.substr(0, 200);
}

// Of the network namespace that we run in; 0 where the kernel doesn't tell.
std::uint64_t home_network() {
  constexpr int kNetnsCookie = 71;  // SO_NETNS_COOKIE, since 5.14; not in every libc
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return 0;
  if (::getsockopt(fd, SOL_SOCKET, kNetnsCookie, &cookie, &size) != 0) cookie = 0;
  ::close(fd);
  return cookie;
}

template <class T>
Result<void> set_constant(bpf_object* object, const char* name, T value) {
  bpf_map* map = bpf_object__find_map_by_name(object, ".rodata");
  const btf* types = bpf_object__btf(object);
  std::int32_t section = btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC);
  std::size_t size = 0;
  void* data = map ? const_cast<void*>(bpf_map__initial_value(map, &size)) : nullptr;
  if (!data || section < 0) return fail("the BPF object has no .rodata: the build is broken");
  const btf_type* type = btf__type_by_id(types, static_cast<std::uint32_t>(section));
  const btf_var_secinfo* var = btf_var_secinfos(type);
  for (int i = 0; i < btf_vlen(type); i++, var++) {
    const btf_type* t = btf__type_by_id(types, var->type);
    if (std::strcmp(btf__name_by_offset(types, t->name_off), name) != 0) continue;
    if (var->size != sizeof value || var->offset + var->size > size) break;
    std::memcpy(static_cast<char*>(data) + var->offset, &value, sizeof value);
    return {};
  }
  return fail(fmt::format("the BPF object has no constant {}: the build is broken", name));
}

bool is_data(const bpf_map* map) {
  return bpf_map__is_internal(map);
}

Result<void> fit_maps(bpf_object* object, const Wanted& wanted) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (is_data(map)) continue;
    std::string name = bpf_map__name(map);
    if (name == "accounts") bpf_map__set_max_entries(map, wanted.options->max_accounts);
    if (name == "tasks") bpf_map__set_max_entries(map, wanted.options->max_tasks);
    if (name == "holds") bpf_map__set_max_entries(map, wanted.options->max_holds);
    if (name == "events" && wanted.options->events_bytes != 0)
      bpf_map__set_max_entries(map, wanted.options->events_bytes);
    if (!wanted.only.empty() && bpf_map__type(map) != BPF_MAP_TYPE_RINGBUF &&
        bpf_map__max_entries(map) > WEIR_LIMITS)
      bpf_map__set_max_entries(map, kProbeEntries);
    if (wanted.pins.empty()) continue;
    // libbpf takes a pinned map of the same shape instead of making one, and pins what it makes.
    if (int e = bpf_map__set_pin_path(map, (wanted.pins + "/" + name).c_str()))
      return fail_with("cannot set a pin path for map " + name, e);
  }
  return {};
}

}  // namespace

const std::vector<ProgramNote>& program_notes() {
  static const std::vector<ProgramNote> notes = {
      {"weir_fork", true, "no process tree is known"},
      {"weir_exec", false, "reports don't name programs; launchers are only those found at start"},
      {"weir_exit", true, "the task table would fill up"},
      {"weir_sock_create", true, "no socket has an owner"},
      {"weir_connect4", true, "a socket that connects again could send bytes uncounted"},
      {"weir_connect6", true, "a socket that connects again could send bytes uncounted"},
      {"weir_sendmsg4", false, "a blocked IPv4 datagram is refused by egress only"},
      {"weir_sendmsg6", false, "a blocked IPv6 datagram is refused by egress only"},
      {"weir_tcp_sendmsg", false,
       "an inherited socket that nobody owns stays unattributed (kernels before 6.16)"},
      {"weir_egress", true, "nothing is bounded"},
      {"weir_ingress", false, "received bytes and DNS answers are not seen"},
      {"weir_wake", false,
       "a flow that waited for its verdict goes on at TCP's own next try, up to half a second "
       "later"},
      {"weir_keep", false, "what accounts have spent is not kept over a restart of the machine"},
      {"weir_open", false, "the first packet of a program that ran before Weir may be lost"},
      {"weir_sock_release", false, "the last record of a socket is missing"},
      {"weir_floor", false, "frames by packet sockets and forwarded packets leave uncounted"},
      {"weir_floor_ip", false, "the same at devices without a link header"},
      {"weir_setsockopt", false, "frames past the queues (AF_XDP, QDISC_BYPASS) leave uncounted"},
      {"weir_family_sent", false,
       "what sockets of other families (AF_VSOCK, AF_BLUETOOTH …) send is not reported (kernels "
       "before 6.3)"},
      {kLsmProgram, false,
       "sockets of other families (AF_VSOCK, AF_BLUETOOTH …) can't be refused: needs BPF LSM"},
  };
  return notes;
}

Result<Object> open_and_load(const Wanted& wanted, std::string& problem) {
  library_log.clear();
  libbpf_set_print(keep_log);
  LIBBPF_OPTS(bpf_object_open_opts, open_options);
  open_options.object_name = "weir";
  const auto size = static_cast<std::size_t>(weir_bpf_object_end - weir_bpf_object);
  Object object(bpf_object__open_mem(weir_bpf_object, size, &open_options));
  if (!object) return fail_with("cannot open the BPF object", errno);
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object.get()) {
    std::string name = bpf_program__name(program);
    bool left_out =
        std::find(wanted.without.begin(), wanted.without.end(), name) != wanted.without.end();
    bpf_program__set_autoload(program, wanted.only.empty() ? !left_out : name == wanted.only);
  }
  if (auto r = fit_maps(object.get(), wanted); !r) return tl::unexpected(r.error());
  bool known = wanted.options->scope == KernelScope::known_trees;
  for (auto r : {set_constant(object.get(), "scope_cgroup", wanted.place->id),
                 set_constant(object.get(), "scope_level", wanted.place->level),
                 set_constant(object.get(), "known_trees_only", std::uint32_t{known}),
                 set_constant(object.get(), "home_network", home_network()),
                 set_constant(object.get(), "counted_families", wanted.options->counted_families)})
    if (!r) return tl::unexpected(r.error());
  if (int e = bpf_object__load(object.get())) {
    problem = std::strerror(-e);
    if (std::string why = reason_in_log(); !why.empty()) problem += ": " + why;
    return fail("this kernel does not take the BPF programs: " + problem);
  }
  return object;
}

namespace {

// A kernel without "bpf" in its list of security modules takes the program and never calls it.
std::string try_lsm() {
  std::string problem;
  const KernelOptions options;
  const CgroupPlace nowhere;
  Wanted wanted{&options, &nowhere, "", kLsmProgram, {}};
  auto object = open_and_load(wanted, problem);
  if (!object) return problem.empty() ? object.error().sentence : problem;
  const bpf_program* program = bpf_object__find_program_by_name(object->get(), kLsmProgram);
  const Fd link(program != nullptr ? attach_program(program, -1) : -ENOENT);
  if (!link) return std::string("cannot attach: ") + std::strerror(-link.get());
  if (!lsm_answers()) return "the kernel takes it and does not call it: lsm= lacks bpf";
  return "";
}

}  // namespace

const std::string& lsm_problem() {
  static const std::string problem = try_lsm();  // it won't change
  return problem;
}

std::vector<KernelProgram> probe_programs(const KernelOptions& options, const CgroupPlace& place) {
  std::vector<KernelProgram> programs;
  for (const ProgramNote& note : program_notes()) {
    KernelProgram p;
    p.name = note.name;
    p.required = note.required;
    p.lost = note.lost;
    if (p.name == kLsmProgram) {
      p.problem = lsm_problem();
      p.loaded = p.problem.empty();
      programs.push_back(std::move(p));
      continue;
    }
    Wanted wanted{&options, &place, "", note.name, {}};
    auto object = open_and_load(wanted, p.problem);
    p.loaded = object.has_value();
    if (!object && p.problem.empty()) p.problem = object.error().sentence;
    programs.push_back(std::move(p));
  }
  return programs;
}

}  // namespace weir
