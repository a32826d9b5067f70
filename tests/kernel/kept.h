// What a guard does for accounts that are kept (docs/decisions/0030), in the loop of a test: writes
// what was spent to a file before it is spent, and lets the kernel go on by that.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "agent/guard/kept_accounts.h"
#include "platform/files/small_file.h"
#include "tests/kernel/desk.h"

namespace weir::test {

class KeepingLoop {
 public:
  explicit KeepingLoop(std::string file) : file_(std::move(file)) {}

  // A policy of these rows on tables that begin empty, with what the file says.
  Result<void> put_in_force(KernelPart& part, std::vector<weir_limit> rows) {
    mark_kept_rows(rows);
    KernelPast past;
    auto text = read_small_file(kWorkingFolder, file_, kMaxAccountsFile);
    if (!text) return tl::unexpected(text.error());
    std::vector<KeptAccount> accounts;
    if (*text) {
      auto read = read_kept_accounts(
          {reinterpret_cast<const std::uint8_t*>((*text)->data()), (*text)->size()});
      if (!read) return tl::unexpected(read.error());
      accounts = *read;
      past = {accounts, true, false};
    }
    weir_state state{};
    state.unclassified = ~std::uint64_t{0} >> (64 - rows.size());
    keeping_ = {};
    return part.replace({rows, {}, state, part.adopted() ? nullptr : &past});
  }

  // One look, as the guard's: what is spent is written, then the kernel is told.
  void look(KernelPart& part) {
    auto accounts = part.accounts();
    auto rows = part.limits();
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    AccountKeeping::Plan plan =
        keeping_.plan(*rows, *accounts,
                      static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                          static_cast<std::uint64_t>(now.tv_nsec));
    part.keep(plan.now);
    std::vector<std::uint8_t> bytes = write_kept_accounts(plan.listed);
    if (bytes != written_) {
      auto put = replace_file(kWorkingFolder, file_, {bytes.begin(), bytes.end()});
      if (!put) return;  // nobody goes on
      written_ = std::move(bytes);
      ++writes_;
    }
    part.keep(plan.written);
    if (!plan.written.empty()) part.wake_early();
    part.wake();
  }

  // Until `ends`, or for `most`. False: it did not end.
  bool tend(KernelPart& part, std::chrono::milliseconds most, const std::function<bool()>& ends) {
    auto until = std::chrono::steady_clock::now() + most;
    auto next = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() < until) {
      if (ends()) return true;
      part.poll_told([](const weir_refused&) {});
      if (part.take_asked() || std::chrono::steady_clock::now() >= next) {
        look(part);
        next = std::chrono::steady_clock::now() + std::chrono::seconds(1);
      }
      usleep(1000);
    }
    return ends();
  }

  // Bytes that the file says of all accounts of this row.
  std::uint64_t written_of(std::uint64_t row_name) const {
    std::uint64_t sum = 0;
    if (auto read = read_kept_accounts(written_))
      for (const KeptAccount& one : *read)
        if (one.row_name == row_name) sum += one.bytes;
    return sum;
  }
  int writes() const { return writes_; }

 private:
  std::string file_;
  AccountKeeping keeping_;
  std::vector<std::uint8_t> written_;
  int writes_ = 0;
};

}  // namespace weir::test
