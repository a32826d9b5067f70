// What the kernel tests share: a desk, a kernel part on it, rows and sums.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "platform/linux/event_ring.h"
#include "tests/kernel/desk.h"

namespace weir::test {

using std::chrono::milliseconds;

inline constexpr std::int64_t kSecond = 1'000'000'000;

inline std::uint64_t boot_now() {
  timespec t{};
  clock_gettime(CLOCK_BOOTTIME, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * kSecond + static_cast<std::uint64_t>(t.tv_nsec);
}

class KernelDesk {
 public:
  void load(std::vector<weir_limit> rows, KernelOptions options = {}, weir_state state = {}) {
    if (options.cgroup.empty()) options.cgroup = desk.cgroup();
    options.max_accounts = std::min<std::uint32_t>(options.max_accounts, 4096);  // loads faster
    options.max_tasks = std::min<std::uint32_t>(options.max_tasks, 4096);
    auto loaded = KernelPart::load(options);
    ASSERT_TRUE(loaded) << loaded.error().sentence;
    part = std::make_unique<KernelPart>(std::move(*loaded));
    ASSERT_TRUE(part->set_limits(rows));
    if (!state.unclassified && !rows.empty())
      state.unclassified = ~std::uint64_t{0} >> (64 - rows.size());
    state.generation = 1;
    ASSERT_TRUE(part->set_state(state));
    auto fd = part->events_fd();
    ASSERT_TRUE(fd);
    events_fd = *fd;
    auto ring = EventRing::open(events_fd);
    ASSERT_TRUE(ring);
    events = std::make_unique<EventRing>(std::move(*ring));
  }
  ~KernelDesk() {
    events.reset();
    if (events_fd >= 0) close(events_fd);
  }

  std::vector<KernelAccount> accounts_of(std::uint32_t row) {
    std::vector<KernelAccount> found;
    auto all = part->accounts();
    for (const KernelAccount& a : *all)
      if (a.key.limit == row && (a.key.per & WEIR_PER_OVERFLOW) == 0) found.push_back(a);
    return found;
  }
  weir_account overflow(std::uint32_t row, std::uint32_t per) {
    return part->account({row, per | WEIR_PER_OVERFLOW, 0, 0}).value_or(weir_account{});
  }
  std::uint64_t charged(std::uint32_t row) {
    std::uint64_t sum = 0;
    for (const KernelAccount& a : accounts_of(row)) sum += a.value.charged;
    return sum;
  }

  // Records of one kind, in order, from what is in the ring now.
  template <class Record>
  std::vector<Record> records(std::uint32_t kind) {
    events->read([&](Bytes b) { kept.emplace_back(b.begin(), b.end()); }, 1'000'000);
    std::vector<Record> found;
    for (const auto& b : kept) {
      weir_record head{};
      std::memcpy(&head, b.data(), sizeof head);
      if (head.kind != kind || b.size() < sizeof(Record)) continue;
      Record r{};
      std::memcpy(static_cast<void*>(&r), b.data(), sizeof r);
      found.push_back(r);
    }
    return found;
  }
  std::uint64_t count(weir_counter which) { return part->counters()[which]; }

  Desk desk;
  std::unique_ptr<KernelPart> part;
  std::unique_ptr<EventRing> events;
  int events_fd = -1;
  std::vector<std::vector<std::uint8_t>> kept;
};

class KernelTest : public testing::Test {
 protected:
  void SetUp() override {
    WEIR_NEEDS_KERNEL();
    k.emplace();
  }
  std::vector<std::string> tcp(std::vector<std::string> more = {}) {
    std::vector<std::string> a = {"--to", kPeer4, "--ms", std::to_string(4000 * scale())};
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  std::vector<std::string> udp(std::vector<std::string> more = {}) {
    auto a = tcp({"--udp", "--size", "1000"});
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  static milliseconds within(int ms) { return milliseconds(ms) * scale(); }

  std::optional<KernelDesk> k;
};

}  // namespace weir::test
