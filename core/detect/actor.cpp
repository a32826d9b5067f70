// Reads the actor off a flow.
#include "core/detect/actor.h"

#include <xxhash.h>

namespace weir {

Actor actor_of(const Flow& flow) {
  Actor actor;
  actor.tree = flow.socket.tree;
  actor.person = flow.socket.person;
  actor.pid = flow.socket.pid;
  actor.address = flow.record.key.client.address;
  return actor;
}

std::uint64_t actor_hash(const Actor& actor) {
  if (actor.tree != 0) return XXH3_64bits_withSeed(&actor.tree, sizeof actor.tree, 1);
  return XXH3_64bits_withSeed(actor.address.bytes.data(), actor.address.bytes.size(), 2);
}

}  // namespace weir
