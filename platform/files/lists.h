// Files that stand beside a policy and are named in it. Thread: any.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace weir {

// Each of `names` (file names without a folder) from the folder of the file `path`, at most `most`
// bytes; else why it can't be had.
std::map<std::string, Result<std::string>, std::less<>> read_beside(
    const std::string& path, const std::vector<std::string>& names, std::size_t most);

}  // namespace weir
