// What the devices of the floor say that they sent, beside what the floor let pass (bpf/floor.h). A
// frame is counted before it is queued and said to be sent after that: in this order, what is sent
// beyond what has passed was seen by no program of ours.
#include <bpf/bpf.h>
#include <net/if.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "platform/linux/device_bytes.h"
#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

constexpr std::uint32_t kGone = 0;  // no device has this index

std::vector<std::uint64_t> of_each_processor() {
  return std::vector<std::uint64_t>(
      static_cast<std::size_t>(std::max(libbpf_num_possible_cpus(), 1)));
}

std::uint64_t passed_by(int wire, std::uint32_t index) {
  std::vector<std::uint64_t> each = of_each_processor();
  if (bpf_map_lookup_elem(wire, &index, each.data()) != 0) return 0;
  std::uint64_t sum = 0;
  for (const std::uint64_t part : each) sum += part;
  return sum;
}

std::uint64_t beyond(const weir_device& device, std::uint64_t passed) {
  const std::uint64_t sent = device.sent - std::min(device.sent, device.before);
  return sent - std::min(sent, passed);
}

// Nothing: the device is not there any more.
std::optional<std::uint64_t> sent_by_device(const std::string& table, std::uint32_t index) {
  char name[IF_NAMESIZE];
  if (if_indextoname(index, name) == nullptr) return std::nullopt;
  return bytes_sent_in(table, name);
}

// What was found at it is not forgotten with it.
void close_device(int devices, int wire, std::uint32_t index) {
  weir_device device{}, gone{};
  if (bpf_map_lookup_elem(devices, &index, &device) == 0) {
    bpf_map_lookup_elem(devices, &kGone, &gone);
    gone.sent += beyond(device, passed_by(wire, index));
    bpf_map_update_elem(devices, &kGone, &gone, BPF_ANY);
  }
  bpf_map_delete_elem(wire, &index);
  bpf_map_delete_elem(devices, &index);
}

// Its frames are counted before its own number is read: none is missed.
void open_device(int devices, int wire, std::uint32_t index) {
  bpf_map_update_elem(wire, &index, of_each_processor().data(), BPF_ANY);
  weir_device device{};
  device.before = device.sent = sent_by_device(device_table(), index).value_or(0);
  bpf_map_update_elem(devices, &index, &device, BPF_ANY);
}

}  // namespace

void follow_devices(const KernelState& state, std::span<const Device> all) {
  const int devices = state.map("devices"), wire = state.map("wire");
  const std::vector<std::uint32_t> known = keys_of<std::uint32_t>(devices);
  const auto is_counted = [&](std::uint32_t index) {
    return state.floor.contains(index) && std::ranges::any_of(all, [&](const Device& device) {
             return device.index == index && !device.inside;
           });
  };
  for (const std::uint32_t index : known)
    if (index != kGone && !is_counted(index)) close_device(devices, wire, index);
  for (const Device& device : all) {
    const bool is_new = std::ranges::find(known, device.index) == known.end();
    if (is_new && is_counted(device.index)) open_device(devices, wire, device.index);
  }
}

void KernelPart::look_at_wire() {
  const int devices = state_->map("devices"), wire = state_->map("wire");
  const std::string table = device_table();
  for (const std::uint32_t index : keys_of<std::uint32_t>(devices)) {
    weir_device device{};
    const auto sent = sent_by_device(table, index);
    if (index == kGone || !sent || bpf_map_lookup_elem(devices, &index, &device) != 0) continue;
    if (*sent < device.sent) {  // another device with its index, or a driver that began anew
      close_device(devices, wire, index);
      open_device(devices, wire, index);
      continue;
    }
    device.sent = *sent;
    // What stood in its queue before anybody counted is out by now.
    if (device.looks == 0) device.before += beyond(device, passed_by(wire, index));
    device.looks += device.looks == 0 ? 1 : 0;
    bpf_map_update_elem(devices, &index, &device, BPF_EXIST);
  }
}

WireBytes wire_of(int devices, int wire) {
  WireBytes all;
  for (const std::uint32_t index : keys_of<std::uint32_t>(devices)) {
    weir_device device{};
    if (bpf_map_lookup_elem(devices, &index, &device) != 0) continue;
    const std::uint64_t passed = passed_by(wire, index);
    all.devices += index == kGone ? 0 : 1;
    all.sent += device.sent - std::min(device.sent, device.before);
    all.seen += passed;
    all.unattributed += beyond(device, passed);
  }
  return all;
}

WireBytes KernelPart::wire() const {
  return wire_of(state_->map("devices"), state_->map("wire"));
}

}  // namespace weir
