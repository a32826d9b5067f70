// Checks sizes and numbers, hashes, and takes out of a report what it is looked for by.
#include "collector/fleet/batch_reader.h"

#include <fmt/format.h>
#include <google/protobuf/arena.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "collector/fleet/crypto.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

namespace pb_io = google::protobuf::io;
using WireFormat = google::protobuf::internal::WireFormatLite;

constexpr int kMaxNesting = 32;
constexpr std::size_t kMaxColumn =
    256;  // of a text that is searched by; the whole one stays in the record
constexpr std::size_t kArenaBytes = 8 << 10;  // a report's messages have 2 KiB
constexpr std::size_t kMaxKeyBytes = 64, kMaxNonceBytes = 64;

// Fields of the batches in a message; nothing: it is damaged.
std::optional<int> parts_of_batch(pb_io::CodedInputStream& in) {
  int parts = 0;
  while (const std::uint32_t tag = in.ReadTag()) {
    int size = 0;
    if (tag != WireFormat::MakeTag(v1::ConnectRequest::kBatchFieldNumber,
                                   WireFormat::WIRETYPE_LENGTH_DELIMITED)) {
      if (!WireFormat::SkipField(&in, tag)) return std::nullopt;
      continue;
    }
    if (!in.ReadVarintSizeAsInt(&size)) return std::nullopt;
    const auto limit = in.PushLimit(size);
    while (const std::uint32_t inner = in.ReadTag())
      if (++parts > kMaxBatchParts || !WireFormat::SkipField(&in, inner)) return std::nullopt;
    if (in.BytesUntilLimit() != 0) return std::nullopt;
    in.PopLimit(limit);
  }
  return parts;
}

bool parse_record(const std::string& bytes, v1::Record& record) {
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                                static_cast<int>(bytes.size()));
  stream.SetRecursionLimit(kMaxNesting);
  return record.ParseFromCodedStream(&stream) && stream.ConsumedEntireMessage();
}

std::string column(const std::string& text) {
  return text.substr(0, kMaxColumn);
}

ReportColumns columns_of(const v1::Report& report) {
  const v1::Person& person = report.actor().person();
  return {.id = report.id(),
          .revision = report.revision(),
          .time_ns = report.time().seconds() * 1'000'000'000 + report.time().nanos(),
          .severity = static_cast<int>(report.finding().severity()),
          .detector = column(report.finding().detector()),
          .rule = column(report.decision().rule()),
          .service = column(report.destination().service()),
          .person = column(person.name()),
          .uid = person.user().has_uid() ? std::int64_t{person.user().uid()} : -1};
}

// A time that overflows nanoseconds is no time of a report.
bool has_sane_time(const v1::Report& report) {
  constexpr std::int64_t kYear2200 = 7'258'118'400;
  return report.time().seconds() >= 0 && report.time().seconds() < kYear2200 &&
         report.time().nanos() >= 0 && report.time().nanos() < 1'000'000'000;
}

// Whose open requests are counted together: a person as its host knows it.
std::string person_key(const v1::Person& person) {
  if (person.user().has_uid()) return fmt::format("uid {}", person.user().uid());
  if (person.user().has_sid()) return column("sid " + person.user().sid());
  return column("name " + person.name());
}

bool is_request_id(const std::string& id) {
  return !id.empty() && id.size() <= kMaxRequestId && std::ranges::all_of(id, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

// False: nobody could decide on it.
bool take_request(v1::ExceptionRequest& request, std::size_t index,
                  std::vector<NewRequest>& requests) {
  request.DiscardUnknownFields();
  if (!is_request_id(request.id()) || request.ByteSizeLong() > kMaxAskedBytes) return false;
  requests.push_back({static_cast<std::uint32_t>(index), request.id(), person_key(request.person()),
                      request.SerializeAsString()});
  return true;
}

void look_into(Append& append, const std::string& host_id, google::protobuf::Arena& arena) {
  NewRecord& record = append.records.back();
  if (!record.key_id.empty()) {
    record.flags |= kEncrypted;
    return;
  }
  v1::Record& body = *google::protobuf::Arena::CreateMessage<v1::Record>(&arena);
  if (!parse_record(record.ciphertext, body)) {
    record.flags |= kUnreadable;
    return;
  }
  if (body.has_event() && body.event().has_host_started() &&
      !body.event().host_started().host().id().empty() &&
      body.event().host_started().host().id() != host_id)
    record.flags |= kOtherHost;
  if (body.has_exception_request() && append.key.lane == StoreLane::audit &&
      !take_request(*body.mutable_exception_request(), append.records.size() - 1, append.requests))
    record.flags |= kUnreadable;
  if (!body.has_report()) return;
  const v1::Report& report = body.report();
  if (!report.host().id().empty() && report.host().id() != host_id) record.flags |= kOtherHost;
  if (report.id().empty() || report.id().size() > kMaxReportId || !has_sane_time(report))
    record.flags |= kUnreadable;
  else
    record.report = columns_of(report);
}

bool read_record(v1::SealedRecord& sealed, const std::string& host_id,
                 google::protobuf::Arena& arena, Append& append) {
  if (sealed.previous_hash().size() != std::tuple_size_v<Digest> ||
      sealed.key_id().size() > kMaxKeyBytes || sealed.nonce().size() > kMaxNonceBytes)
    return false;
  NewRecord& record = append.records.emplace_back();
  record.ciphertext = std::move(*sealed.mutable_ciphertext());
  record.key_id = std::move(*sealed.mutable_key_id());
  record.nonce = std::move(*sealed.mutable_nonce());
  std::copy(sealed.previous_hash().begin(), sealed.previous_hash().end(),
            record.previous_hash.begin());
  record.hash = chain_hash(record.previous_hash, bytes_of(record.ciphertext),
                           bytes_of(record.key_id), bytes_of(record.nonce));
  look_into(append, host_id, arena);
  return true;
}

}  // namespace

Digest chain_hash(Bytes previous_hash, Bytes ciphertext, Bytes key_id, Bytes nonce) {
  return sha256_of({previous_hash, ciphertext, key_id, nonce});
}

bool read_request(std::string_view bytes, v1::ConnectRequest& request) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const int size = static_cast<int>(std::min(bytes.size(), kMaxMessageBytes + 1));
  pb_io::CodedInputStream look(data, size), in(data, size);
  const std::optional<int> parts = parts_of_batch(look);
  if (!parts || (*parts == 0 && bytes.size() > kMaxSmallBytes) || bytes.size() > kMaxMessageBytes)
    return false;
  in.SetRecursionLimit(kMaxNesting);
  return request.ParseFromCodedStream(&in) && in.ConsumedEntireMessage();
}

Result<Append> read_batch(v1::Batch& batch, std::uint32_t host, const std::string& host_id) {
  if (batch.lane() < v1::Lane::alert || batch.lane() > v1::Lane::telemetry)
    return fail(fmt::format("a batch of an unknown lane {}", static_cast<int>(batch.lane())));
  if (batch.first_sequence() == 0 || batch.first_sequence() > kMaxSequence)
    return fail(fmt::format("a batch begins with sequence {}", batch.first_sequence()));
  Append append{.key = {host, static_cast<StoreLane>(batch.lane())},
                .epoch = batch.epoch(),
                .first_sequence = batch.first_sequence()};
  if (batch.has_lost()) {
    const v1::LostRange& lost = batch.lost();
    if (batch.records_size() > 0 || lost.last_sequence() < batch.first_sequence() ||
        lost.last_sequence() > kMaxSequence)
      return fail("a lost range of the batch is malformed");
    append.lost_until = lost.last_sequence();
    append.lost_why = static_cast<int>(lost.why());
    return append;
  }
  if (batch.records_size() == 0 || batch.records_size() > static_cast<int>(kMaxBatchRecords))
    return fail(fmt::format("a batch of {} records; 1 to {} are taken", batch.records_size(),
                            kMaxBatchRecords));
  append.records.reserve(static_cast<std::size_t>(batch.records_size()));
  // One record's messages after the other's in the same memory; what needs more gets it for itself.
  alignas(std::max_align_t) std::array<char, kArenaBytes> memory;
  google::protobuf::Arena arena(memory.data(), memory.size());
  for (v1::SealedRecord& sealed : *batch.mutable_records()) {
    if (!read_record(sealed, host_id, arena, append))
      return fail("a record of the batch is malformed");
    arena.Reset();
  }
  return append;
}

bool report_in(const std::string& ciphertext, const std::string& host_id,
               const std::string& host_name, v1::Report& report) {
  v1::Record record;
  if (!parse_record(ciphertext, record) || !record.has_report()) return false;
  report = std::move(*record.mutable_report());
  report.mutable_host()->set_id(host_id);
  if (report.host().name().empty()) report.mutable_host()->set_name(host_name);
  return true;
}

}  // namespace weir
