// KernelPart: the accounts of exceptions, which no packet opens.
#include <bpf/bpf.h>
#include <fmt/format.h>

#include <cerrno>

#include "platform/linux/kernel_state.h"

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
