// Values by a 64-bit key: one array of keys, values in slots that never move and are used again.
// Made for tables that are asked once a packet: a search reads one cache line, nothing is allocated
// for a key once the table has grown. Who fills it bounds it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "core/base/result.h"

namespace weir {

// Where a key's value is. Serial numbers would stand in one long run, so keys are mixed; 0 is no
// key.
class KeyIndex {
 public:
  static constexpr std::uint32_t kNone = 0xffffffff;

  std::uint32_t find(std::uint64_t key) const {
    if (buckets_.empty()) return kNone;
    for (std::size_t i = home(key);; i = (i + 1) & mask()) {
      if (buckets_[i].key == key) return buckets_[i].slot;
      if (buckets_[i].key == 0) return kNone;
    }
  }
  void insert(std::uint64_t key, std::uint32_t slot) {  // a key that is not there
    WEIR_CHECK(key != 0);
    if (size_ * 2 >= buckets_.size()) grow();
    place({key, slot});
    ++size_;
  }
  void erase(std::uint64_t key) {  // a key that is there
    std::size_t hole = home(key);
    while (buckets_[hole].key != key) hole = (hole + 1) & mask();
    // Moves back what stands behind the hole on its account, so that no mark is left.
    for (std::size_t i = (hole + 1) & mask(); buckets_[i].key != 0; i = (i + 1) & mask()) {
      if (((i - home(buckets_[i].key)) & mask()) < ((i - hole) & mask())) continue;
      buckets_[hole] = buckets_[i];
      hole = i;
    }
    buckets_[hole] = {};
    --size_;
  }
  std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kFirstBuckets = 64;
  struct Bucket {
    std::uint64_t key = 0;
    std::uint32_t slot = kNone;
  };
  std::size_t mask() const { return buckets_.size() - 1; }
  std::size_t home(std::uint64_t key) const {  // Knuth's multiplicative hash: 2^64 / golden ratio
    return static_cast<std::size_t>(key * 0x9e3779b97f4a7c15ULL >> 32) & mask();
  }
  void place(const Bucket& bucket) {
    std::size_t i = home(bucket.key);
    while (buckets_[i].key != 0) i = (i + 1) & mask();
    buckets_[i] = bucket;
  }
  void grow() {
    std::vector<Bucket> old(buckets_.empty() ? kFirstBuckets : buckets_.size() * 2);
    old.swap(buckets_);
    for (const Bucket& bucket : old)
      if (bucket.key != 0) place(bucket);
  }

  std::vector<Bucket> buckets_;  // open addressing, a power of two, at most half full
  std::size_t size_ = 0;
};

template <class Value>
class KeyedTable {
 public:
  Value* find(std::uint64_t key) {
    const std::uint32_t slot = index_.find(key);
    return slot == KeyIndex::kNone ? nullptr : &entries_[slot].value;
  }
  Value& at(std::uint64_t key) {  // a key that is there
    Value* const found = find(key);
    WEIR_CHECK(found != nullptr);
    return *found;
  }
  Value& operator[](std::uint64_t key) {
    if (Value* const found = find(key)) return *found;
    std::uint32_t slot = static_cast<std::uint32_t>(entries_.size());
    if (free_.empty()) {
      entries_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    index_.insert(key, slot);
    entries_[slot].key = key;
    return entries_[slot].value;
  }
  void erase(std::uint64_t key) {
    const std::uint32_t slot = index_.find(key);
    if (slot == KeyIndex::kNone) return;
    index_.erase(key);
    std::destroy_at(&entries_[slot]);  // cheaper than moving an empty entry onto it
    std::construct_at(&entries_[slot]);
    free_.push_back(slot);
  }
  // Some other key gives way: each in turn, by slot.
  void erase_any() {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      hand_ = (hand_ + 1) % entries_.size();
      if (entries_[hand_].key != 0) return erase(entries_[hand_].key);
    }
  }
  std::size_t size() const { return index_.size(); }
  std::vector<std::uint64_t> keys() const {  // in no order
    std::vector<std::uint64_t> out;
    out.reserve(size());
    for (const Entry& entry : entries_)
      if (entry.key != 0) out.push_back(entry.key);
    return out;
  }

 private:
  struct Entry {
    std::uint64_t key = 0;  // 0: free
    Value value{};
  };
  KeyIndex index_;
  std::deque<Entry> entries_;
  std::vector<std::uint32_t> free_;
  std::size_t hand_ = 0;
};

}  // namespace weir
