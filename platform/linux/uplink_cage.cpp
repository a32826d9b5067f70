// The kernel's bound on where the uplink speaks to: see uplink_cage.h.
#include "platform/linux/uplink_cage.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "platform/linux/bpf/cage_abi.h"
#include "platform/linux/kernel_state.h"

// The object's bytes, from the build tree into the program.
__asm__(
    ".section .rodata\n.balign 16\n"
    ".global weir_cage_object\nweir_cage_object:\n.incbin \"" WEIR_CAGE_OBJECT
    "\"\n"
    ".global weir_cage_object_end\nweir_cage_object_end:\n.previous\n");
extern "C" const unsigned char weir_cage_object[];
extern "C" const unsigned char weir_cage_object_end[];

namespace weir {
namespace {

weir_cage_place key_of(const CagePlace& place) {
  weir_cage_place key{};
  std::copy(place.to.address.bytes.begin(), place.to.address.bytes.end(), key.address);
  key.port = place.to.port;
  key.protocol = static_cast<std::uint8_t>(place.protocol);
  return key;
}

}  // namespace

struct UplinkCage::State {
  Object object;
  Fd link;
  int map(const char* name) const { return bpf_object__find_map_fd_by_name(object.get(), name); }
};

UplinkCage::UplinkCage(std::unique_ptr<State> state) : state_(std::move(state)) {}
UplinkCage::UplinkCage(UplinkCage&&) noexcept = default;
UplinkCage& UplinkCage::operator=(UplinkCage&&) noexcept = default;
UplinkCage::~UplinkCage() = default;

Result<UplinkCage> UplinkCage::load(const std::string& cgroup) {
  auto state = std::make_unique<State>();
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "weir_cage");
  state->object.reset(bpf_object__open_mem(
      weir_cage_object, static_cast<std::size_t>(weir_cage_object_end - weir_cage_object),
      &options));
  if (!state->object) return fail_with("cannot read the uplink's program", errno);
  if (int bad = bpf_object__load(state->object.get()))
    return fail_with("cannot load the uplink's program", bad);
  bpf_program* program = bpf_object__find_program_by_name(state->object.get(), "weir_cage");
  WEIR_CHECK(program != nullptr);
  Fd folder(open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return fail_with("cannot use cgroup " + cgroup, errno);
  state->link =
      Fd(bpf_link_create(bpf_program__fd(program), folder.get(), BPF_CGROUP_INET_EGRESS, nullptr));
  if (!state->link) return fail_with("cannot attach the uplink's program to " + cgroup, errno);
  return UplinkCage(std::move(state));
}

Result<void> UplinkCage::allow(const std::vector<CagePlace>& places) {
  if (places.size() > WEIR_CAGE_PLACES / 2)
    return fail(fmt::format("{} addresses: the uplink's table holds {}", places.size(),
                            WEIR_CAGE_PLACES / 2));
  const int map = state_->map("places");
  std::vector<weir_cage_place> wanted;
  std::uint32_t one = 1;
  for (const CagePlace& place : places) {
    wanted.push_back(key_of(place));
    if (bpf_map_update_elem(map, &wanted.back(), &one, BPF_ANY))
      return fail_with("cannot let the uplink through", errno);
  }
  for (const weir_cage_place& old : keys_of<weir_cage_place>(map))
    if (std::none_of(wanted.begin(), wanted.end(), [&](const weir_cage_place& key) {
          return std::memcmp(&key, &old, sizeof old) == 0;
        }))
      (void)bpf_map_delete_elem(map, &old);
  return {};
}

CageCounters UplinkCage::counters() const {
  CageCounters sums;
  std::vector<std::uint64_t> each(
      static_cast<std::size_t>(std::max(libbpf_num_possible_cpus(), 1)));
  for (std::uint32_t which : {WEIR_CAGE_DROPPED, WEIR_CAGE_PASSED})
    if (!bpf_map_lookup_elem(state_->map("cage_counters"), &which, each.data()))
      for (std::uint64_t n : each) (which == WEIR_CAGE_PASSED ? sums.passed : sums.dropped) += n;
  return sums;
}

}  // namespace weir
