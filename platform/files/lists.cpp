// Opens files of one folder: see lists.h.
#include "platform/files/lists.h"

#include <fmt/format.h>

#include <optional>

#include "platform/files/small_file.h"

namespace weir {

std::map<std::string, Result<std::string>, std::less<>> read_beside(
    const std::string& path, const std::vector<std::string>& names, std::size_t most) {
  std::map<std::string, Result<std::string>, std::less<>> texts;
  const std::string folder = path.substr(0, path.rfind('/') + 1);  // "" without a '/'
  for (const std::string& name : names) {
    Result<std::optional<std::string>> text =
        name.find('/') == std::string::npos
            ? read_small_file(kWorkingFolder, folder + name, most, LastLink::followed)
            : fail(fmt::format("{}: is no file beside the policy", name));
    if (!text)
      texts.emplace(name, tl::unexpected(text.error()));
    else if (!*text)
      texts.emplace(name, fail(fmt::format("{}{}: there is no such file", folder, name)));
    else
      texts.emplace(name, std::move(**text));
  }
  return texts;
}

}  // namespace weir
