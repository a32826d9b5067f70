// The keys of a BPF hash that changes meanwhile: one after the other, because there is no other
// way.
#pragma once

#include <bpf/bpf.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "platform/linux/bpf/weir_abi.h"

namespace weir {

// Each key once. All keys first, then what is done with them: the walk starts over where the last
// one was removed.
template <class Key>
std::vector<Key> keys_of(int map) {
  std::vector<Key> keys;
  Key key{}, *previous = nullptr;
  while (keys.size() < WEIR_ACCOUNTS + WEIR_TASKS && !bpf_map_get_next_key(map, previous, &key)) {
    keys.push_back(key);
    previous = &key;
  }
  const auto order = [](const Key& a, const Key& b) { return std::memcmp(&a, &b, sizeof a); };
  std::sort(keys.begin(), keys.end(), [&](const Key& a, const Key& b) { return order(a, b) < 0; });
  keys.erase(std::unique(keys.begin(), keys.end(),
                         [&](const Key& a, const Key& b) { return order(a, b) == 0; }),
             keys.end());
  return keys;
}

}  // namespace weir
