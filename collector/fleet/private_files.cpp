// Modes, O_EXCL, fsync of file and folder.
#include "collector/fleet/private_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace weir {
namespace {

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

tl::unexpected<Error> failed(const std::string& path, const char* what) {
  return fail(fmt::format("{}: can't be {}: {}", path, what, std::strerror(errno)));
}

bool write_all(int fd, const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    ssize_t written = ::write(fd, text.data() + at, text.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    at += static_cast<std::size_t>(written);
  }
  return ::fsync(fd) == 0;
}

Result<void> sync_folder_of(const std::string& path) {
  const std::string folder = path.substr(0, path.find_last_of('/'));
  File file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.fd() < 0 || ::fsync(file.fd()) != 0) return failed(folder, "written");
  return {};
}

}  // namespace

Result<void> make_private_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return sync_folder_of(path);
  struct stat info {};
  if (errno != EEXIST || ::stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
    return failed(path, "made");
  return {};
}

Result<void> create_private_file(const std::string& path, const std::string& text) {
  File file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (file.fd() < 0) return failed(path, "made");
  if (!write_all(file.fd(), text)) {
    auto error = failed(path, "written");
    ::unlink(path.c_str());
    return error;
  }
  return sync_folder_of(path);
}

Result<void> replace_private_file(const std::string& path, const std::string& text) {
  const std::string beside = path + ".new";
  ::unlink(beside.c_str());
  if (Result<void> made = create_private_file(beside, text); !made) return made;
  if (::rename(beside.c_str(), path.c_str()) != 0) return failed(path, "replaced");
  return sync_folder_of(path);
}

Result<std::optional<std::string>> read_private_file(const std::string& path) {
  File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd() < 0) {
    if (errno == ENOENT) return std::optional<std::string>();
    return failed(path, "read");
  }
  std::string text(kMaxPrivateFile + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    ssize_t got = ::read(file.fd(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(path, "read");
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > kMaxPrivateFile)
    return fail(fmt::format("{}: larger than {} bytes", path, kMaxPrivateFile));
  text.resize(size);
  return std::optional<std::string>(std::move(text));
}

Result<FolderLock> FolderLock::take(const std::string& folder) {
  const std::string path = folder + "/lock";
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return failed(path, "made");
  FolderLock lock(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0)
    return fail(fmt::format("{}: another collector works with this folder", folder));
  return lock;
}

FolderLock::FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace weir
