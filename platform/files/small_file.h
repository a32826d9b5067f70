// Small files that are there whole or not at all. `name` is a path that counts from `folder`, a
// descriptor or kWorkingFolder, and names the file in sentences. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "core/base/result.h"

namespace weir {

extern const int kWorkingFolder;  // AT_FDCWD

// Mode 0600, on disk when these return, no symbolic link is followed at the end of `name`.
// `owner`: uid and gid that the file is given to; -1: it stays the caller's.
Result<void> create_file(int folder, const std::string& name, const std::string& text,
                         std::int64_t owner = -1);  // must be new
Result<void> replace_file(int folder, const std::string& name, const std::string& text,
                          std::int64_t owner = -1);

enum class LastLink : std::uint8_t { refused, followed };  // a symbolic link as the file itself

// At most `most` bytes. Nothing: not there.
Result<std::optional<std::string>> read_small_file(int folder, const std::string& name,
                                                   std::size_t most,
                                                   LastLink link = LastLink::refused);

// What was made or renamed in the folder that holds `name` is on disk when this returns.
Result<void> keep_folder_of(int folder, const std::string& name);

}  // namespace weir
