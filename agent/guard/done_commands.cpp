// Commands that were carried out: see done_commands.h.
#include "agent/guard/done_commands.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace weir {

DoneCommands DoneCommands::none() {
  DoneCommands table;
  table.magic = kDoneCommandsMagic;
  return table;
}

DoneCommands DoneCommands::read(Bytes file, bool& damaged) {
  DoneCommands table;
  damaged = file.size() != sizeof table;
  if (!damaged) std::memcpy(&table, file.data(), sizeof table);
  damaged = damaged || table.magic != kDoneCommandsMagic || table.count > kMaxDoneCommands;
  for (const DoneCommand& one : std::span(table.command).first(damaged ? 0 : table.count))
    damaged = damaged || one.outcome < 1 || one.outcome > 3 || one.reason >= wire::kCommandRefusals;
  return damaged ? none() : table;
}

Bytes DoneCommands::bytes() const {
  return {reinterpret_cast<const std::uint8_t*>(this), sizeof *this};
}

const DoneCommand* DoneCommands::find(const wire::CommandId& id) const {
  for (const DoneCommand& one : std::span(command).first(count))
    if (one.id == id) return &one;
  return nullptr;
}

bool DoneCommands::add(const DoneCommand& done, std::int64_t wall_s) {
  if (count < kMaxDoneCommands) {
    command[count++] = done;
    return true;
  }
  auto oldest = std::ranges::min_element(command, {}, &DoneCommand::expires_wall_s);
  if (oldest->expires_wall_s > wall_s) return false;
  *oldest = done;
  return true;
}

void DoneCommands::remove(const wire::CommandId& id) {
  for (std::uint32_t n = 0; n < count; ++n)
    if (command[n].id == id) {
      command[n] = command[--count];
      command[count] = {};
      return;
    }
}

}  // namespace weir
