// A batch off the wire as what the store takes. The bytes are a host's: bounded, nothing in them is
// believed about who sent them. Pure. Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "collector/store/record_store.h"
#include "core/base/result.h"

namespace weir {

namespace v1 {
class Batch;
class ConnectRequest;
class Record;
class Report;
}  // namespace v1

inline constexpr std::uint32_t kMaxBatchRecords = 500;  // 2 s of a desk that reports a lot
inline constexpr std::uint32_t kMaxBatchBytes = 256
                                                << 10;    // told the host; one record may be larger
inline constexpr std::size_t kMaxMessageBytes = 1 << 20;  // a record (256 KiB) four times
inline constexpr std::uint64_t kMaxSequence = std::uint64_t{1} << 62;
inline constexpr std::size_t kMaxReportId = 64, kMaxRequestId = 32;
inline constexpr std::size_t kMaxAskedBytes = 8 << 10;  // 1000 characters of a person, and places

inline constexpr std::size_t kMaxSmallBytes = 64 << 10;  // of a message that is no batch
inline constexpr int kMaxBatchParts = kMaxBatchRecords + 16;

// A message as it came. False: it is none, or is made of so many tiny parts that it would take
// forty times its bytes once it is read.
bool read_request(std::string_view bytes, v1::ConnectRequest& request);

// The sentence: why the stream ends. Takes the batch's bytes out of it.
Result<Append> read_batch(v1::Batch& batch, std::uint32_t host, const std::string& host_id);

// The report in a stored record, with the id of the host whose certificate sent it; false: none.
bool report_in(const std::string& ciphertext, const std::string& host_id,
               const std::string& host_name, v1::Report& report);

// SHA-256 that the next record names as previous_hash.
Digest chain_hash(Bytes previous_hash, Bytes ciphertext, Bytes key_id, Bytes nonce);

}  // namespace weir
