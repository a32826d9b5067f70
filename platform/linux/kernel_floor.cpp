// The floor: the programs at the devices of this network namespace (bpf/floor.h). A link for each
// device, pinned like the others; a device that goes takes its link along.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "platform/linux/classic_filter.h"
#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

// <linux/bpf.h> since 6.6; Debian 12's is older.
constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);

// Devices through which nothing leaves the machine by itself: what they carry passes another one,
// or goes to a part of this machine. By the name of the driver, as ethtool shows it; where a driver
// names none, the kernel shows the device's kind, which `ip link` takes.
constexpr std::array<std::string_view, 40> kInside = {
    "bridge",    "veth",    "tun",     "bonding", "team",      "802.1Q VLAN Support",
    "dummy",     "macvlan", "vxlan",   "ipvlan",  "wireguard", "openvswitch",
    "bond",      "vlan",    "macvtap", "ipvtap",  "netkit",    "vrf",
    "ifb",       "nlmon",   "macsec",  "hsr",     "batadv",    "vcan",
    "vxcan",     "geneve",  "bareudp", "gtp",     "ipip",      "sit",
    "gre",       "gretap",  "erspan",  "ip6tnl",  "ip6gre",    "ip6gretap",
    "ip6erspan", "vti",     "vti6",    "xfrm"};

// Programs of bpf/floor.h: for devices with a link header, and for those without.
constexpr char kFloor[] = "weir_floor", kFloorOfIp[] = "weir_floor_ip";

struct Found {
  Device device;
  bool up = false;
};

std::optional<Found> look_at(int socket, const struct if_nameindex& named) {
  ifreq ask{};
  std::strncpy(ask.ifr_name, named.if_name, sizeof ask.ifr_name - 1);
  if (ioctl(socket, SIOCGIFFLAGS, &ask) != 0 || (ask.ifr_flags & IFF_LOOPBACK) != 0)
    return std::nullopt;
  Found found{{named.if_index, named.if_name, false, false}, (ask.ifr_flags & IFF_UP) != 0};
  if (ioctl(socket, SIOCGIFHWADDR, &ask) != 0) return std::nullopt;
  found.device.ethernet = ask.ifr_hwaddr.sa_family == ARPHRD_ETHER;
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  ask.ifr_data = reinterpret_cast<char*>(&driver);
  // A device that has no driver to name is one of the kernel's own tunnels.
  found.device.inside =
      ioctl(socket, SIOCETHTOOL, &ask) != 0 ||
      std::find(kInside.begin(), kInside.end(), std::string_view(driver.driver)) != kInside.end();
  return found;
}

}  // namespace

std::vector<Device> devices_to_the_world(std::span<const std::string> named) {
  std::vector<Found> all;
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (struct if_nameindex* list = if_nameindex(); list != nullptr) {
    for (const struct if_nameindex* at = list; at->if_index != 0; ++at)
      if (std::optional<Found> found = look_at(socket, *at)) all.push_back(std::move(*found));
    if_freenameindex(list);
  }
  if (socket >= 0) ::close(socket);
  const bool any_real =
      std::any_of(all.begin(), all.end(), [](const Found& f) { return !f.device.inside; });
  std::vector<Device> devices;
  for (Found& found : all) {
    Device& device = found.device;
    const bool wanted = named.empty()
                            ? !device.inside || !any_real || !device.ethernet
                            : std::find(named.begin(), named.end(), device.name) != named.end();
    // Where nothing is hardware, as in a container, its end of a pair leads out.
    if (named.empty() ? !any_real && device.ethernet : wanted) device.inside = false;
    if (wanted) devices.push_back(std::move(device));
  }
  return devices;
}

namespace {

const char* name_for(const Device& device) {
  return device.ethernet ? kFloor : kFloorOfIp;
}

int program_for(const KernelState& state, const Device& device) {
  const bpf_program* program =
      bpf_object__find_program_by_name(state.object.get(), name_for(device));
  return program != nullptr ? bpf_program__fd(program) : -1;
}

// Is the device there, and our program no longer at it? Another's is replaced where it stands;
// else it is to be laid anew: true.
bool was_taken(KernelState& state, const FloorLink& link, const Device& device) {
  const int program = program_for(state, device);
  const Held held = held_at_device(link, program, device.index);
  char name[IF_NAMESIZE];
  if (held == Held::yes || if_indextoname(device.index, name) == nullptr) return false;
  state.removed.push_back({held == Held::no ? Removed::What::hook : Removed::What::program,
                           fmt::format("{} at {}", name_for(device), device.name), 1, ""});
  return held == Held::no || link.is_classic() ||
         bpf_link_update(link.link.get(), program, nullptr) != 0;
}

// Pins of a former guard for devices that are gone, or not meant any more.
void forget_other_pins(const KernelState& state, std::span<const Device> devices) {
  std::error_code none;  // an unreadable folder holds none
  for (const auto& pin : std::filesystem::directory_iterator(state.floor_pins, none)) {
    const auto is_its = [&](const Device& device) {
      return pin.path() == floor_pin(state, device.index);
    };
    if (pin.path().filename().string().starts_with("floor_") &&
        std::none_of(devices.begin(), devices.end(), is_its))
      std::filesystem::remove(pin.path(), none);
  }
}

// Whether it holds at every device of its kind; there may be none of it.
void tell_attached(KernelState& state, std::span<const Device> devices) {
  for (KernelProgram& program : state.programs) {
    if (!program.name.starts_with("weir_floor")) continue;
    const bool ethernet = program.name == kFloor;
    program.attached = program.loaded && std::all_of(devices.begin(), devices.end(), [&](auto& d) {
                         return d.ethernet != ethernet || state.floor.contains(d.index);
                       });
  }
}

}  // namespace

// Which devices are a wire's own (bpf/tunnel.h). A device that comes is written before what leaves
// by it is looked at; an index that is used again is never that of a device here.
static void note_plain(const KernelState& state, std::span<const Device> devices) {
  const int map = state.map("plain");
  for (const std::uint32_t index : keys_of<std::uint32_t>(map)) {
    const auto is_it = [&](const Device& d) { return d.index == index && !d.inside; };
    if (std::none_of(devices.begin(), devices.end(), is_it)) bpf_map_delete_elem(map, &index);
  }
  const std::uint32_t yes = 1, first = 0;
  for (const Device& device : devices)
    if (!device.inside) bpf_map_update_elem(map, &device.index, &yes, BPF_ANY);
  weir_tunnels now{};
  if (bpf_map_lookup_elem(state.map("tunnels"), &first, &now) != 0 || now.laid == 1) return;
  now.laid = 1;
  bpf_map_update_elem(state.map("tunnels"), &first, &now, BPF_ANY);
}

Result<void> KernelPart::set_floor(std::span<const Device> devices) {
  note_plain(*state_, devices);
  Result<void> all;
  std::map<std::uint32_t, FloorLink> links;
  for (const Device& device : devices) {
    auto had = state_->floor.extract(device.index);
    if (had && was_taken(*state_, had.mapped(), device)) had = {};
    Result<FloorLink> link =
        had ? Result<FloorLink>(std::move(had.mapped())) : lay_floor(*state_, device);
    if (link)
      links.emplace(device.index, std::move(*link));
    else if (char name[IF_NAMESIZE]; if_indextoname(device.index, name) != nullptr)
      all = tl::unexpected(link.error());  // it is there still
  }
  for (const auto& [index, link] : state_->floor)
    if (link.is_classic()) remove_classic_filter(index);
  if (!state_->floor_pins.empty() && (!state_->floor.empty() || !state_->floor_laid))
    forget_other_pins(*state_, devices);
  state_->floor_laid = true;
  state_->floor = std::move(links);
  follow_devices(*state_, devices);
  tell_attached(*state_, devices);
  return all;
}

std::string floor_pin(const KernelState& state, std::uint32_t index) {
  return fmt::format("{}/floor_{}", state.floor_pins, index);
}

Result<FloorLink> lay_floor(KernelState& state, const Device& device) {
  const char* name = name_for(device);
  const int fd = program_for(state, device);
  if (fd < 0) return fail(fmt::format("{} was not loaded: nothing holds at {}", name, device.name));
  const std::string pin = state.floor_pins.empty() ? "" : floor_pin(state, device.index);
  if (!pin.empty()) {
    // Of a guard before us. One whose device is gone can't be changed: an index is used again.
    if (Fd old(bpf_obj_get(pin.c_str())); old) {
      if (bpf_link_update(old.get(), fd, nullptr) == 0) return FloorLink{std::move(old)};
      unlink(pin.c_str());
    }
  }
  const int link = bpf_link_create(fd, static_cast<int>(device.index), kTcxEgress, nullptr);
  if (link < 0 && errno == EINVAL) {  // before 6.6
    if (auto put = put_classic_filter(device.index, fd); !put)
      return fail(fmt::format("device {}: {}", device.name, put.error().sentence));
    return FloorLink{};
  }
  if (link < 0) return fail_with("cannot attach to the device " + device.name, errno);
  Fd fresh(link);
  if (!pin.empty() && bpf_obj_pin(fresh.get(), pin.c_str()) != 0)
    return fail_with("cannot pin " + pin, errno);
  return FloorLink{std::move(fresh)};
}

KernelState::~KernelState() {
  if (!floor_pins.empty()) return;
  for (const auto& [index, link] : floor)
    if (link.is_classic()) remove_classic_filter(index);
}

}  // namespace weir
