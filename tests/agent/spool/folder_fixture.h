// A spool in a folder of its own, in memory where there is one (these tests sync thousands of
// times), and what a reader gets out of it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "agent/spool/spool.h"

namespace weir::spool_test {

inline constexpr std::int64_t kWallNs = 1'700'000'000'000'000'000;
inline constexpr SpoolLane kLanes[] = {SpoolLane::alert, SpoolLane::audit, SpoolLane::telemetry};

inline std::size_t at(SpoolLane lane) {
  return static_cast<std::size_t>(lane);
}

// Small enough that a test fills it.
inline SpoolLimits small_limits(std::uint64_t segment = 4096, std::uint64_t segments = 4) {
  SpoolLimits limits;
  limits.segment_bytes = segment;
  limits.quota.fill(segment * segments);
  return limits;
}

class Folder {
 public:
  Folder() {
    std::filesystem::path below = ::access("/dev/shm", W_OK) == 0
                                      ? std::filesystem::path("/dev/shm")
                                      : std::filesystem::temp_directory_path();
    std::string pattern = (below / "weir-spool-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
    fd_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  explicit Folder(const Folder& other) : Folder() {
    for (const auto& entry : std::filesystem::directory_iterator(other.path_))
      std::filesystem::copy(entry.path(), path_ / entry.path().filename());
  }
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    ::close(fd_);
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  int fd() const { return fd_; }
  const std::filesystem::path& path() const { return path_; }
  std::vector<std::filesystem::path> files(const std::string& ending) const {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      if (entry.path().string().ends_with(ending)) found.push_back(entry.path());
    std::sort(found.begin(), found.end());
    return found;
  }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

inline SpoolWriter open_writer(int folder, const SpoolLimits& limits = small_limits(),
                               std::int64_t wall_ns = kWallNs) {
  Result<SpoolWriter> writer = SpoolWriter::open(folder, limits, wall_ns);
  if (!writer) throw std::runtime_error(writer.error().sentence);
  return std::move(*writer);
}

// Says which lane, sequence and epoch-independent number it is, so that no record passes for
// another.
inline std::string body(SpoolLane lane, std::uint64_t number, std::size_t size = 0) {
  std::string text = std::to_string(at(lane)) + ":" + std::to_string(number) + ":";
  while (text.size() < size) text += static_cast<char>('a' + (number + text.size()) % 26);
  return text;
}

struct Story {  // all that a reader is told of a lane
  std::map<std::uint64_t, std::string> records;
  std::vector<SpoolLost> lost;
  std::uint64_t end = 0;    // every sequence up to here was told
  std::uint64_t holes = 0;  // sequences told twice or never: must be none
  std::uint64_t lost_count() const {
    std::uint64_t sum = 0;
    for (const SpoolLost& range : lost) sum += range.last - range.first + 1;
    return sum;
  }
};

inline Story read_all(int folder, SpoolLane lane, std::uint64_t after = 0,
                      std::size_t max_records = 7) {
  Story story;
  story.end = after;
  Result<SpoolReader> reader = SpoolReader::open(folder);
  if (!reader) throw std::runtime_error(reader.error().sentence);
  for (;;) {
    Result<SpoolPiece> piece = reader->read(lane, story.end, max_records, 1 << 16);
    if (!piece) throw std::runtime_error(piece.error().sentence);
    if (piece->records.empty() && !piece->lost) return story;
    if (!piece->records.empty() && piece->lost) ++story.holes;
    for (const SpoolRecord& record : piece->records) {
      if (record.sequence != story.end + 1) ++story.holes;
      story.end = record.sequence;
      story.records[record.sequence] =
          std::string(text_of(Bytes(record.bytes.data(), record.bytes.size())));
    }
    if (piece->lost) {
      if (piece->lost->first != story.end + 1 || piece->lost->last < piece->lost->first) {
        ++story.holes;
        return story;
      }
      story.end = piece->lost->last;
      story.lost.push_back(*piece->lost);
    }
  }
}

}  // namespace weir::spool_test
