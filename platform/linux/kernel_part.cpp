// KernelPart: loading, adopting and releasing. What it reads and writes afterwards is in
// kernel_tables.cpp.
#include "platform/linux/kernel_part.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "platform/linux/classic_filter.h"
#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

static_assert((WEIR_SOCKET_CLASSIFIED | WEIR_SOCKET_SEQ | WEIR_SOCKET_LOOKED_UP | WEIR_SOCKET_MANY |
               WEIR_SOCKET_PROVISIONAL | WEIR_SOCKET_WAITED | WEIR_SOCKET_TOLD |
               WEIR_SOCKET_TOLD_SETTLED | WEIR_SOCKET_CLAIMED | WEIR_SOCKET_UNNAMED |
               WEIR_SOCKET_SETTLING | WEIR_SOCKET_HOME | WEIR_SOCKET_ELSEWHERE | WEIR_SOCKET_BEGUN |
               WEIR_SOCKET_INNER | WEIR_SOCKET_ROOTS | WEIR_SOCKET_CARRIER | WEIR_SOCKET_EARLY |
               WEIR_SOCKET_HELD | WEIR_SOCKET_CLOSED) == (1u << WEIR_SOCKET_FLAGS) - 1,
              "a bit of its own for each");

constexpr long kCgroup2Magic = 0x63677270;  // linux/magic.h
constexpr long kBpfMagic = 0xcafe4a11;

// Those of guards with other tables.
std::vector<std::filesystem::path> other_layouts(const std::string& pin_dir) {
  std::vector<std::filesystem::path> found;
  std::error_code none;  // an unreadable folder is none
  for (const auto& entry : std::filesystem::directory_iterator(pin_dir + "/weir", none))
    if (entry.path() != layout_dir(pin_dir)) found.push_back(entry.path());
  return found;
}

// What this kernel refuses, found out once per process: it won't change, and each try costs seconds
// where the verifier is slow.
std::optional<std::vector<KernelProgram>>& known_programs() {
  static std::optional<std::vector<KernelProgram>> programs;
  return programs;
}

std::vector<KernelProgram> all_loaded() {
  std::vector<KernelProgram> programs;
  for (const ProgramNote& n : program_notes())
    programs.push_back({n.name, n.required, true, false, n.lost, ""});
  return programs;
}

// Programs that are not loaded with the others, and why. BPF LSM, which many kernels lack, is tried
// by itself: else all the others would be, too. `weir exec` goes without: a hook of BPF LSM has 38
// places, and its summary speaks of no other families.
std::map<std::string, std::string> left_out(const KernelState& state) {
  const std::string not_here = "not under weir exec";
  if (state.options.scope == KernelScope::known_trees)
    return {{kLsmProgram, not_here}, {"weir_family_sent", not_here}};
  if (lsm_problem().empty()) return {};
  return {{kLsmProgram, lsm_problem()}};
}

void set_programs(KernelState& state, std::vector<KernelProgram> programs,
                  const std::map<std::string, std::string>& without) {
  for (KernelProgram& p : programs)
    if (const auto out = without.find(p.name); out != without.end()) {
      p.loaded = false;
      p.problem = out->second;
    }
  state.programs = std::move(programs);
}

Result<void> load_object(KernelState& state, const std::string& map_pins) {
  Wanted wanted{&state.options, &state.place, map_pins, "", {}};
  std::string problem;
  const std::map<std::string, std::string> without = left_out(state);
  for (const auto& [name, why] : without) wanted.without.push_back(name);
  if (!known_programs()) {
    auto object = open_and_load(wanted, problem);
    if (object) {
      set_programs(state, all_loaded(), without);
      state.object = std::move(*object);
      return {};
    }
    // Something is not for this kernel: find out what by loading each alone, then load the rest.
    auto programs = probe_programs(state.options, state.place);
    bool all = true;
    for (const KernelProgram& p : programs) {
      if (!p.loaded && p.required)
        return fail(fmt::format("{} does not load: {}", p.name, p.problem));
      all = all && (p.loaded || p.name == kLsmProgram);
    }
    if (all) return tl::unexpected(object.error());  // not the programs: the pins, or memory
    known_programs() = std::move(programs);
  }
  set_programs(state, *known_programs(), without);
  for (const KernelProgram& p : state.programs)
    if (!p.loaded) wanted.without.push_back(p.name);
  auto object = open_and_load(wanted, problem);
  if (!object) return tl::unexpected(object.error());
  state.object = std::move(*object);
  return {};
}

// What a former guard left in the maps: the state, and which trees are cut off.
Result<void> read_adopted(KernelState& state) {
  std::uint32_t zero = 0;
  if (bpf_map_lookup_elem(state.map("state"), &zero, &state.values))
    return fail_with("cannot read the pinned state", errno);
  for (const weir_account_key& key : keys_of<weir_account_key>(state.map("accounts"))) {
    weir_account value{};
    if (key.limit == WEIR_LIMITS && !bpf_map_lookup_elem(state.map("accounts"), &key, &value))
      state.blocks[{key.who, key.dest}] = value.until_ns;
  }
  // One that was killed before its first policy was in force has left nothing to go on with.
  state.adopted = state.values.generation != 0;
  return {};
}

Result<void> open_told(KernelState& state) {
  auto on_record = [](void* context, void* data, std::size_t size) {
    auto* s = static_cast<KernelState*>(context);
    if (size == sizeof(weir_record)) s->asked = true;  // WEIR_REC_ASK, the one that is so short
    if (size >= sizeof(weir_refused) && s->on_told)
      s->on_told(*static_cast<const weir_refused*>(data));
    return 0;
  };
  state.told.reset(ring_buffer__new(state.map("told"), on_record, &state, nullptr));
  if (!state.told) return fail_with("cannot map the ring of refusals", errno);
  return {};
}

// A sanitized build is for tests, and a test that forgot its own cgroup must not bound the machine
// it runs on. An emulated machine is the test's own, and says so. See platform/linux/CMakeLists.txt
// for another way around.
Result<void> may_attach([[maybe_unused]] const CgroupPlace& place,
                        [[maybe_unused]] const KernelOptions& options) {
#ifdef WEIR_NOT_THE_ROOT_CGROUP
  if (place.level == 0 && !options.own_machine)
    return fail(place.path +
                " is the root of cgroup2, and this is a build for tests: give it a --cgroup");
#endif
  return {};
}

}  // namespace

std::string layout_dir(const std::string& pin_dir) {
  return fmt::format("{}/weir/{}", pin_dir, WEIR_LAYOUT);
}

Result<void> make_pin_dirs(const std::string& pin_dir) {
  struct statfs fs {};
  if (statfs(pin_dir.c_str(), &fs)) return fail_with("cannot use pin directory " + pin_dir, errno);
  if (fs.f_type != kBpfMagic)
    return fail(pin_dir + " is not in a BPF file system: mount one there (mount -t bpf)");
  std::string layout = layout_dir(pin_dir);
  for (const std::string& dir : {pin_dir + "/weir", layout, layout + "/maps", layout + "/links"})
    if (mkdir(dir.c_str(), 0700) && errno != EEXIST) return fail_with("cannot make " + dir, errno);
  return {};
}

tl::unexpected<Error> fail_with(const std::string& text, int code) {
  return fail(text + ": " + std::strerror(std::abs(code)));
}

Result<std::string> cgroup2_root() {
  std::ifstream mounts("/proc/self/mountinfo");
  std::string line;
  while (std::getline(mounts, line)) {
    std::istringstream fields(line);
    std::string id, parent, device, root, point;
    fields >> id >> parent >> device >> root >> point;
    if (line.find(" - cgroup2 ") != std::string::npos && root == "/") return point;
  }
  return fail("no cgroup2 file system is mounted here (/proc/self/mountinfo)");
}

Result<CgroupPlace> find_cgroup(const std::string& path) {
  auto root = cgroup2_root();
  CgroupPlace place{path, 0, 0};
  if (path.empty()) {
    if (!root) return tl::unexpected(root.error());
    place.path = *root;
  }
  struct statfs fs {};
  struct stat status {};
  if (statfs(place.path.c_str(), &fs) || stat(place.path.c_str(), &status))
    return fail_with("cannot use cgroup " + place.path, errno);
  if (fs.f_type != kCgroup2Magic)
    return fail(place.path + " is not a directory of a cgroup2 mount");
  place.id = status.st_ino;  // a cgroup's id is its inode number (since 5.5)
  char resolved[PATH_MAX];
  if (root && realpath(place.path.c_str(), resolved)) {
    std::string rest = std::string(resolved).substr(std::min(root->size(), std::strlen(resolved)));
    for (std::size_t i = 0; i < rest.size(); i++)
      if (rest[i] == '/' && i + 1 < rest.size()) place.level++;
  }
  return place;
}

int KernelState::map(const char* name) const {
  int fd = bpf_object__find_map_fd_by_name(object.get(), name);
  WEIR_CHECK(fd >= 0);
  return fd;
}

Result<KernelPart> KernelPart::load(const KernelOptions& options) {
  auto state = std::make_unique<KernelState>();
  state->options = options;
  auto place = find_cgroup(options.cgroup);
  if (!place) return tl::unexpected(place.error());
  if (auto may = may_attach(*place, options); !may) return tl::unexpected(may.error());
  state->place = *place;
  std::string maps, links;
  bool tables = false;  // of a former guard
  if (!options.pin_dir.empty()) {
    if (auto r = make_pin_dirs(options.pin_dir); !r) return tl::unexpected(r.error());
    maps = layout_dir(options.pin_dir) + "/maps";
    links = layout_dir(options.pin_dir) + "/links";
    state->floor_pins = links;
    // Links may be gone although the accounts are there (kernel_mend.cpp).
    tables = access((maps + "/state").c_str(), F_OK) == 0 &&
             access((maps + "/accounts").c_str(), F_OK) == 0;
  }
  if (auto r = load_object(*state, maps); !r) return tl::unexpected(r.error());
  if (tables)
    if (auto r = read_adopted(*state); !r) return tl::unexpected(r.error());
  // What passed us uncharged and was refused by another layout would be a retransmission, and free,
  // once that one is gone.
  if (!state->adopted && !options.pin_dir.empty() && !other_layouts(options.pin_dir).empty()) {
    state->values.swapping = 1;
    if (auto r = state->write_state(); !r) return tl::unexpected(r.error());
  }
  if (!state->adopted && options.isolated_until_boot_ns != 0) {
    state->values.isolated_until = options.isolated_until_boot_ns;
    if (auto r = state->write_state(); !r) return tl::unexpected(r.error());
  }
  if (auto r = open_told(*state); !r) return tl::unexpected(r.error());
  KernelPart part(std::move(state));
  if (!part.adopted())
    if (auto r = part.set_shuts(options.shuts); !r) return tl::unexpected(r.error());
  if (auto r = part.set_launchers(options.launchers); !r) return tl::unexpected(r.error());
  if (auto r = attach_programs(*part.state_, links); !r) return tl::unexpected(r.error());
  if (options.scan && options.scope == KernelScope::cgroup)
    if (auto r = part.scan_tasks(options.bind_sockets &&
                                 (!part.adopted() || !part.state_->removed.empty()));
        !r)
      return tl::unexpected(r.error());
  return part;
}

std::vector<KernelProgram> KernelPart::probe() {
  KernelOptions options;
  return probe_programs(options, CgroupPlace{});
}

Result<void> KernelPart::try_lsm() {
  if (lsm_problem().empty()) return {};
  return fail("BPF LSM: " + lsm_problem());
}

Result<void> KernelPart::has_lsm() const {
  for (const KernelProgram& p : state_->programs)
    if (p.name == kLsmProgram && !p.attached) return fail("BPF LSM: " + p.problem);
  return {};
}

Result<void> KernelPart::release(const std::string& pin_dir) {
  // Links first: when the last map pin goes, nothing uses the maps any more. Nothing of ours is
  // nested deeper than weir/<layout>/<kind>/<pin>.
  (void)end_pinned_holds(pin_dir);
  remove_classic_filters();
  std::error_code e;
  std::filesystem::path root(pin_dir + "/weir");
  if (!std::filesystem::exists(root, e)) return {};
  for (const auto& layout : std::filesystem::directory_iterator(root, e))
    std::filesystem::remove_all(layout.path() / "links", e);
  std::filesystem::remove_all(root, e);
  // An empty folder holds nothing: it stays where it is a mount point, as under the unit.
  std::error_code none;
  if (e && !std::filesystem::is_empty(root, none))
    return fail("cannot remove the pins in " + root.string() + ": " + e.message());
  return {};
}

Result<void> KernelPart::forget_other_layouts(const std::string& pin_dir) {
  for (const std::filesystem::path& layout : other_layouts(pin_dir)) {
    std::error_code e;
    std::filesystem::remove_all(layout / "links", e);  // before their maps
    std::filesystem::remove_all(layout, e);
    if (e) return fail("cannot remove the pins in " + layout.string() + ": " + e.message());
  }
  return {};
}

KernelPart::KernelPart(std::unique_ptr<KernelState> state) : state_(std::move(state)) {}
KernelPart::KernelPart(KernelPart&&) noexcept = default;
KernelPart& KernelPart::operator=(KernelPart&&) noexcept = default;
KernelPart::~KernelPart() = default;

const std::vector<KernelProgram>& KernelPart::programs() const {
  return state_->programs;
}
bool KernelPart::adopted() const {
  return state_->adopted;
}
const weir_state& KernelPart::state() const {
  return state_->values;
}

}  // namespace weir
