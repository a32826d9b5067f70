// STATE/accounts: see accounts_file.h.
#include "agent/run/accounts_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "agent/guard/keeping.h"
#include "agent/guard/kept_accounts.h"
#include "platform/files/passing.h"
#include "platform/files/small_file.h"

namespace weir {

Result<AccountsFile> AccountsFile::open(const std::string& state_dir) {
  AccountsFile file;
  file.name_ = state_dir + "/" + kAccountsFileName;
  file.folder_ = Fd(::open(state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  int pair[2];
  if (!file.folder_ || ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return fail(fmt::format("{}: {}", file.name_, std::strerror(errno)));
  file.ours_ = Fd(pair[0]);
  file.theirs_ = Fd(pair[1]);
  if (::faccessat(file.folder_.get(), kAccountsFileName, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    return file;
  const std::vector<std::uint8_t> none = write_kept_accounts({});
  file.is_new_ = true;
  if (auto made = create_file(file.folder_.get(), kAccountsFileName, {none.begin(), none.end()});
      !made)
    return tl::unexpected(made.error());
  return file;
}

Fd AccountsFile::open_for_guard() {
  if (std::exchange(is_new_, false)) return {};
  return Fd(::openat(folder_.get(), kAccountsFileName, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

// Written whole or not at all, and on the disk before the guard is told so.
void AccountsFile::take() {
  KeepRequest request;
  Fd memory;
  if (receive_with(ours_.get(), &request, sizeof request, memory) != sizeof request || !memory ||
      request.magic != kKeepMagic || request.what != KeptFile::accounts || request.size == 0 ||
      request.size > kMaxAccountsFile)
    return;
  std::string text(request.size, '\0');
  Result<void> put =
      ::pread(memory.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size())
          ? replace_file(folder_.get(), kAccountsFileName, text)
          : fail("it did not come whole");
  if (!put) fmt::print(stderr, "weir run: {}: can't be written: {}\n", name_, put.error().sentence);
  KeepAnswer answer;
  answer.number = request.number;
  answer.kept = put ? 1 : 0;
  (void)!::send(ours_.get(), &answer, sizeof answer, MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace weir
