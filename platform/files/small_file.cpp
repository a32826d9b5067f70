// Modes, O_EXCL, fsync of file and folder: see small_file.h.
#include "platform/files/small_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/bytes.h"
#include "platform/files/fd.h"
#include "platform/files/passing.h"

namespace weir {
namespace {

tl::unexpected<Error> failed(const std::string& name, const char* what) {
  return fail(fmt::format("{}: can't be {}: {}", name, what, std::strerror(errno)));
}

// Its name may still be lost when the machine stops.
Result<void> write_new(int folder, const std::string& name, const std::string& text,
                       std::int64_t owner) {
  Fd file(
      ::openat(folder, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return failed(name, "made");
  auto user = static_cast<uid_t>(owner);
  const char* what = "given away";
  bool given = owner < 0 || ::fchown(file.get(), user, user) == 0;
  if (given) what = "written";
  if (given && write_all(file.get(), bytes_of(text)) && ::fsync(file.get()) == 0) return {};
  auto error = failed(name, what);
  ::unlinkat(folder, name.c_str(), 0);
  return error;
}

}  // namespace

const int kWorkingFolder = AT_FDCWD;

Result<void> create_file(int folder, const std::string& name, const std::string& text,
                         std::int64_t owner) {
  if (Result<void> made = write_new(folder, name, text, owner); !made) return made;
  return keep_folder_of(folder, name);
}

Result<void> replace_file(int folder, const std::string& name, const std::string& text,
                          std::int64_t owner) {
  const std::string beside = name + ".new";
  ::unlinkat(folder, beside.c_str(), 0);
  if (Result<void> made = write_new(folder, beside, text, owner); !made) return made;
  if (::renameat(folder, beside.c_str(), folder, name.c_str()) != 0)
    return failed(name, "replaced");
  return keep_folder_of(folder, name);
}

Result<std::optional<std::string>> read_small_file(int folder, const std::string& name,
                                                   std::size_t most, LastLink link) {
  const int refused = link == LastLink::refused ? O_NOFOLLOW : 0;
  Fd file(::openat(folder, name.c_str(), O_RDONLY | refused | O_NONBLOCK | O_CLOEXEC));
  if (!file) {
    if (errno == ENOENT) return std::optional<std::string>();
    return failed(name, "read");
  }
  std::string text(most + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    ssize_t got = ::read(file.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(name, "read");
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > most) return fail(fmt::format("{}: larger than {} bytes", name, most));
  text.resize(size);
  return std::optional<std::string>(std::move(text));
}

Result<void> keep_folder_of(int folder, const std::string& name) {
  std::size_t slash = name.find_last_of('/');
  const std::string path = slash == std::string::npos ? "." : name.substr(0, slash + 1);
  Fd holder(::openat(folder, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!holder || ::fsync(holder.get()) != 0) return failed(name, "kept");
  return {};
}

}  // namespace weir
