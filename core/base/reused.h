// A list that is filled again and again: clear() keeps the elements, and what they hold, for the
// next ones. Whoever takes an element over sets all of it.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace weir {

template <class T>
class Reused {
 public:
  void clear() { size_ = 0; }
  // The next element: a new one, or one of an earlier use as that left it.
  T& next() {
    if (size_ == kept_.size()) kept_.emplace_back();
    return kept_[size_++];
  }
  void push_back(T value) { next() = std::move(value); }
  void pop_back() { --size_; }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](std::size_t i) { return kept_[i]; }
  const T& operator[](std::size_t i) const { return kept_[i]; }
  const T& front() const { return kept_[0]; }
  const T& back() const { return kept_[size_ - 1]; }
  const T* data() const { return kept_.data(); }
  const T* begin() const { return kept_.data(); }
  const T* end() const { return kept_.data() + size_; }

 private:
  std::vector<T> kept_;
  std::size_t size_ = 0;
};

}  // namespace weir
