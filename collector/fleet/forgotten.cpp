// What a host was told is stored, and is not.
#include "collector/fleet/forgotten.h"

#include <fmt/format.h>

#include "collector/fleet/batch_reader.h"
#include "weir/v1/agent.pb.h"

namespace weir {

Forgotten::Forgotten(const v1::Hello& hello, const std::vector<Appended>& stored) {
  for (const v1::LanePosition& told : hello.acknowledged()) {
    if (lanes_.size() == kMaxForgotten) return;
    if (told.lane() < v1::Lane::alert || told.lane() > v1::Lane::telemetry ||
        told.sequence() > kMaxSequence)
      continue;
    Lane lane{static_cast<StoreLane>(told.lane()), told.epoch(), 0, told.sequence()};
    for (const Appended& have : stored)
      if (have.lane == lane.lane && have.epoch == lane.epoch) lane.stored = have.sequence;
    if (lane.acknowledged > lane.stored) lanes_.push_back(lane);
  }
}

std::uint64_t Forgotten::until(const Append& batch) const {
  for (const Lane& lane : lanes_)
    if (lane.lane == batch.key.lane && lane.epoch == batch.epoch) return lane.acknowledged;
  return 0;
}

std::string Forgotten::sentence() const {
  std::string text;
  for (const Lane& lane : lanes_)
    text += fmt::format("{}{} {} (here: {})", text.empty() ? "" : ", ",
                        v1::Lane::Value_Name(static_cast<v1::Lane::Value>(lane.lane)),
                        lane.acknowledged, lane.stored);
  return "was told that more is stored than there is: " + text +
         "; this folder was put back from an older copy, and what the host has no more is kept "
         "as a gap";
}

}  // namespace weir
