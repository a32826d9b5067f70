// Sealed records with the chain that a spool gives them.
#include "bench/records.h"

#include <fmt/format.h>

#include "collector/fleet/batch_reader.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

// What a host would have sealed. Reports are told twice, 20 s after each other.
std::string record_bytes(bool report, std::uint64_t sequence) {
  v1::Record record;
  if (report) {
    v1::Report& r = *record.mutable_report();
    const std::uint64_t told = (sequence + 1) / 2;
    r.set_id(fmt::format("{:016x}", told * 0x9e3779b97f4a7c15));
    r.set_revision(sequence % 2 == 1 ? 1 : 2);
    r.mutable_time()->set_seconds(1'800'000'000 + static_cast<std::int64_t>(told) * 20);
    r.mutable_finding()->set_detector("cloud_upload");
    r.mutable_finding()->set_severity(v1::Severity::high);
    r.mutable_destination()->set_name("upload.example.net");
    r.mutable_destination()->set_service("example-drive");
    r.mutable_actor()->set_program("/usr/bin/curl");
    r.mutable_actor()->mutable_person()->mutable_user()->set_uid(1'000);
    r.mutable_decision()->set_rule("uploads");
    r.set_capture(std::string(150, 'x'));
  } else {
    record.mutable_usage()->set_program(std::string(250, 'p'));
    record.mutable_usage()->set_bytes_out(sequence);
  }
  return record.SerializeAsString();
}

v1::Batch batch_of(bool report, std::uint64_t first, std::string& chain) {
  v1::Batch batch;
  batch.set_lane(report ? v1::Lane::alert : v1::Lane::telemetry);
  batch.set_epoch(1);
  batch.set_first_sequence(first);
  for (int n = 0; n < kBatch; ++n) {
    v1::SealedRecord& sealed = *batch.add_records();
    sealed.set_previous_hash(chain);
    sealed.set_ciphertext(record_bytes(report, first + static_cast<std::uint64_t>(n)));
    Digest next = chain_hash(bytes_of(chain), bytes_of(sealed.ciphertext()), {}, {});
    chain.assign(next.begin(), next.end());
  }
  return batch;
}

}  // namespace

std::vector<v1::Batch> batches_of(bool report, std::uint64_t records) {
  std::vector<v1::Batch> batches;
  std::string chain(32, '\0');
  for (std::uint64_t first = 1; first + kBatch <= records + 1; first += kBatch)
    batches.push_back(batch_of(report, first, chain));
  return batches;
}

}  // namespace weir
