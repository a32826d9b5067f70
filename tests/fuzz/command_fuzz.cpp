// Bodies of commands and sets of keys, as the network hands them in, and the blocks that the guard
// is given of them. First byte: which.
#include "agent/guard/done_commands.h"
#include "agent/guard/exceptions.h"
#include "agent/guard/signed_reading.h"
#include "proto/map/command_proto.h"

using namespace weir;

namespace {

void command(Bytes bytes) {
  const auto terms = command_from_bytes(bytes);
  if (!terms) {
    WEIR_CHECK(!terms.error().words.empty());
    return;
  }
  CommandIdBytes again{};
  WEIR_CHECK(command_id_of(text_of_command_id(terms->id), again) && again == terms->id);
  WEIR_CHECK(!verb_name(terms->verb).empty() && !terms->host_id.empty());
  if (terms->exception) {
    const Exception& what = terms->exception->what;
    WEIR_CHECK(terms->exception->request_id.size() <= 32 && what.sets_aside.size() <= kMaxSetAside);
    WEIR_CHECK(what.sets_aside.empty() || (what.bytes > 0 && what.person != kNoPerson));
  }
  if (terms->block) {
    const BlockTerms& block = *terms->block;
    WEIR_CHECK(!block.domain.empty() || block.prefix.length >= kShortestShut);
    WEIR_CHECK(!block.domain.empty() || block.prefix.address.is_v4() ||
               !block.prefix.contains(IpAddress::v4(0)));
  }
  WEIR_CHECK(terms->expires_wall_s > terms->not_before_wall_s && terms->asked.size() <= 90);
}

void keys(Bytes bytes) {
  const auto terms = trust_set_from_bytes(bytes);
  if (!terms) {
    WEIR_CHECK(!terms.error().sentence.empty());
    return;
  }
  WEIR_CHECK(terms->threshold >= 1 && terms->threshold <= terms->keys.size());
  WEIR_CHECK(terms->keys.size() <= kMaxTrustSetKeys);
  const std::string made = trust_set_bytes(*terms);
  WEIR_CHECK(trust_set_from_bytes(bytes_of(made)).has_value());
}

// What is taken of it neither is nor holds this host itself.
void block(const CommandReading& command) {
  static const FlatHeader header;
  const NextBlocks next = next_blocks({}, command, {&header, {}}, {}, {});
  if (next.why != wire::CommandRefusal::none) return;
  WEIR_CHECK(is_sound(next.table) && next.table.blocks == 1);
  for (const KernelShut& shut : shuts_of(next.table))
    WEIR_CHECK(!shut.prefix || !shut.prefix->contains(IpAddress::v4(0x7f000001)));
}

void blocks(Bytes bytes) {
  if (auto read = read_command_reading(bytes)) {
    (void)check_command(*read, read->id, "host", 1'800'000'000);
    if (read->refusal == 0 && read->verb == kBlockVerb) block(*read);
  }
  if (auto read = read_trust_reading(bytes)) {
    const auto next = next_trust({"desks", 1, {}}, *read, bytes, {}, 1'800'000'000);
    WEIR_CHECK(!next);  // nobody has signed
  }
  if (auto table = ExceptionTable::read(bytes))
    WEIR_CHECK(exceptions_of(*table).size() <= kMaxExceptions + kMaxShuts);
  bool damaged = false;
  const DoneCommands done = DoneCommands::read(bytes, damaged);
  WEIR_CHECK(done.count <= kMaxDoneCommands && (!damaged || done.count == 0));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader in(Bytes(data, size));
  switch (in.u8() % 3) {
    case 0:
      command(in.rest());
      break;
    case 1:
      keys(in.rest());
      break;
    default:
      blocks(in.rest());
      break;
  }
  return 0;
}
