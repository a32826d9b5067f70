// The wire of a release, or of the tree, as descriptors; and what of one is missing in another.
#pragma once

#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace weir {

using google::protobuf::FileDescriptorSet;

// Agents of this many releases before the tree's keep working.
inline constexpr std::size_t kReleasesKept = 2;

struct Image {
  std::array<int, 3> version{};
  std::string name;  // "0.1.0"
  FileDescriptorSet files;
};

// All of SOURCE/proto/released, newest first.
inline std::vector<Image> released_images(const std::filesystem::path& source) {
  std::vector<Image> images;
  for (const auto& entry : std::filesystem::directory_iterator(source / "proto/released")) {
    Image image{.name = entry.path().stem().string()};
    auto& [major, minor, patch] = image.version;
    if (entry.path().extension() != ".binpb" ||
        std::sscanf(image.name.c_str(), "%d.%d.%d", &major, &minor, &patch) != 3)
      continue;
    std::ifstream file(entry.path(), std::ios::binary);
    if (image.files.ParseFromIstream(&file)) images.push_back(std::move(image));
  }
  std::sort(images.begin(), images.end(),
            [](const Image& a, const Image& b) { return a.version > b.version; });
  return images;
}

// What protoc reads below PROTO (the folder that holds weir/v1); nothing: it is no sound proto.
inline std::optional<FileDescriptorSet> image_of_protos(const std::filesystem::path& proto) {
  const std::string command =
      "cd '" + proto.string() +
      "' && protoc -I . --include_imports --descriptor_set_out=/dev/stdout weir/v1/*.proto";
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return std::nullopt;
  std::string bytes;
  char some[4096];
  for (std::size_t got = 0; (got = std::fread(some, 1, sizeof some, pipe)) > 0;)
    bytes.append(some, got);
  FileDescriptorSet set;
  if (::pclose(pipe) != 0 || !set.ParseFromString(bytes)) return std::nullopt;
  return set;
}

}  // namespace weir
