// Private files and the lock: see private_files.h.
#include "collector/fleet/private_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "platform/files/small_file.h"

namespace weir {
namespace {

tl::unexpected<Error> failed(const std::string& path, const char* what) {
  return fail(fmt::format("{}: can't be {}: {}", path, what, std::strerror(errno)));
}

}  // namespace

Result<void> make_private_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return keep_folder_of(AT_FDCWD, path);
  struct stat info {};
  if (errno != EEXIST || ::stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
    return failed(path, "made");
  return {};
}

Result<void> create_private_file(const std::string& path, const std::string& text) {
  return create_file(AT_FDCWD, path, text);
}

Result<void> replace_private_file(const std::string& path, const std::string& text) {
  return replace_file(AT_FDCWD, path, text);
}

// Whoever runs the collector may keep a key elsewhere and link to it.
Result<std::optional<std::string>> read_private_file(const std::string& path) {
  return read_small_file(AT_FDCWD, path, kMaxPrivateFile, LastLink::followed);
}

Result<FolderLock> FolderLock::take(const std::string& folder) {
  const std::string path = folder + "/lock";
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return failed(path, "made");
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(fmt::format("{}: another collector works with this folder", folder));
  return FolderLock(std::move(file));
}

}  // namespace weir
