// How records stand in an event log: shared by writer and reader. docs/event-log.md is the text.
#pragma once

#include <array>
#include <cstdint>

#include "core/base/bytes.h"

namespace weir::event_log {

// No text file starts like this, and a transfer that changes line ends or drops the high bit shows.
inline constexpr std::array<std::uint8_t, 8> kMagic{0xf7, 'W', 'E', 'I', 'R', '\r', '\n', 0x1a};
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::size_t kRecordHeader = 12;  // length u32, checksum u64, little endian

using RecordHeader = std::array<std::uint8_t, kRecordHeader>;

RecordHeader header_of(std::uint64_t number, Bytes payload);
std::uint32_t length_in(const RecordHeader& header);
bool matches(const RecordHeader& header, std::uint64_t number, Bytes payload);

}  // namespace weir::event_log
