// KernelPart: the accounts of exceptions, which no packet opens.
#include <bpf/bpf.h>
#include <fmt/format.h>

#include <cerrno>

#include "core/policy/exceptions.h"
#include "platform/linux/kernel_state.h"
#include "platform/linux/pinned_tables.h"

namespace weir {
namespace {

weir_account_key grant_key(std::uint32_t person, std::uint32_t exception) {
  return {WEIR_EXCEPTIONS, WEIR_PER_PERSON_DEST, person, exception};
}

}  // namespace

weir_limit exceptions_row() {
  weir_limit row{};
  row.bytes = WEIR_MOST_GRANTED;
  row.per = WEIR_PER_PERSON_DEST;
  row.flags = WEIR_LIMIT_GRANTED;
  row.account = WEIR_EXCEPTIONS;
  return row;
}

std::uint64_t left_of(const weir_account& granted) {
  return granted.word < WEIR_MOST_GRANTED ? WEIR_MOST_GRANTED - granted.word : 0;
}

bool is_used_up(const weir_account& granted) {
  const std::uint64_t left = left_of(granted);
  return left == 0 || (granted.refused > 0 && left < kLargestRest);
}

Result<std::vector<weir_account>> read_grants(const std::string& pin_dir,
                                              std::span<const KernelException> exceptions) {
  LIBBPF_OPTS(bpf_obj_get_opts, options, .file_flags = BPF_F_RDONLY);
  const std::string path = fmt::format("{}/weir/{}/maps/accounts", pin_dir, WEIR_LAYOUT);
  const Fd accounts(bpf_obj_get_opts(path.c_str(), &options));
  if (!accounts) return fail_with(path, errno);
  std::vector<weir_account> found;
  for (const KernelException& one : exceptions) {
    const weir_account_key key = grant_key(one.person, one.number);
    if (bpf_map_lookup_elem(accounts.get(), &key, &found.emplace_back())) found.back() = {};
  }
  return found;
}

Result<void> KernelPart::grant(const KernelException& exception) {
  if (exception.number == 0 || exception.bytes > WEIR_MOST_GRANTED)
    return fail("an exception of no number, or of too many bytes");
  const weir_account_key key = grant_key(exception.person, exception.number);
  weir_account value{};
  value.word = WEIR_MOST_GRANTED - exception.bytes;
  value.until_ns = exception.until_boot_ns;
  if (bpf_map_update_elem(state_->map("accounts"), &key, &value, BPF_NOEXIST))
    return fail_with(
        fmt::format("cannot open the account of an exception of person {}", exception.person),
        errno);
  return {};
}

Result<void> KernelPart::end_grant(std::uint32_t person, std::uint32_t exception) {
  const weir_account_key key = grant_key(person, exception);
  if (bpf_map_delete_elem(state_->map("accounts"), &key) && errno != ENOENT)
    return fail_with(fmt::format("cannot end an exception of person {}", person), errno);
  return {};
}

std::optional<std::uint64_t> KernelPart::left_of_grant(std::uint32_t person,
                                                       std::uint32_t exception) const {
  const std::optional<weir_account> granted = account(grant_key(person, exception));
  if (!granted) return std::nullopt;
  return left_of(*granted);
}

}  // namespace weir
