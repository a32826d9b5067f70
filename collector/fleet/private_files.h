// Files that only their owner may read: keys, secrets, the lock of the data folder. A file is there
// whole or not at all. Thread: any.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "core/base/result.h"
#include "platform/files/fd.h"

namespace weir {

inline constexpr std::size_t kMaxPrivateFile = 1 << 20;  // a certificate chain has some KiB

Result<void> make_private_folder(const std::string& path);  // 0700; there already: fine
Result<void> create_private_file(const std::string& path,
                                 const std::string& text);  // 0600; must be new
Result<void> replace_private_file(const std::string& path, const std::string& text);
Result<std::optional<std::string>> read_private_file(
    const std::string& path);  // nothing: not there

// Held until the end of the object; a second process is refused with a sentence.
class FolderLock {
 public:
  static Result<FolderLock> take(const std::string& folder);

 private:
  explicit FolderLock(Fd file) : file_(std::move(file)) {}
  Fd file_;
};

}  // namespace weir
