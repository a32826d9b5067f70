// Two levels of token buckets: see handshakes.h.
#include "platform/doorman/handshakes.h"

#include <algorithm>
#include <iterator>

namespace weir {

double Handshakes::Bucket::of(std::int64_t now_ms, const Rate& rate) {
  const double passed_s = static_cast<double>(std::max<std::int64_t>(now_ms - at_ms, 0)) / 1'000;
  left = std::min(rate.at_once, left + passed_s * rate.each_s);
  at_ms = now_ms;
  return left;
}

Handshakes::Handshakes(Rate of_all, Rate of_address)
    : of_all_(of_all), of_address_(of_address), all_{of_all.at_once, 0} {}

bool Handshakes::take(const std::string& address, std::int64_t now_ms) {
  if (!any(now_ms)) return false;
  auto row = rows_.find(address);
  if (row == rows_.end() && rows_.size() < kMaxRows)
    row = rows_.emplace(address, Bucket{of_address_.at_once, now_ms}).first;
  if (row != rows_.end()) {
    if (row->second.of(now_ms, of_address_) < 1) return false;
    row->second.left -= 1;
  }
  all_.left -= 1;
  return true;
}

void Handshakes::give_back(const std::string& address, std::int64_t now_ms) {
  all_.left = std::min(of_all_.at_once, all_.of(now_ms, of_all_) + 1);
  auto row = rows_.find(address);
  if (row == rows_.end()) return;
  row->second.left = std::min(of_address_.at_once, row->second.of(now_ms, of_address_) + 1);
}

void Handshakes::sweep(std::int64_t now_ms) {
  for (auto row = rows_.begin(); row != rows_.end();)
    row = row->second.of(now_ms, of_address_) < of_address_.at_once ? std::next(row)
                                                                    : rows_.erase(row);
}

}  // namespace weir
