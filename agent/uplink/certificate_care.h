// When the host's certificate is renewed, and what comes of it. The request itself runs on a thread
// of its own: the door may take long to answer. No clock: times are arguments. Thread: one owner.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "agent/uplink/identity.h"

namespace weir {

inline constexpr std::int64_t kRefusedAgainMs = 86'400'000;  // an administrator has to act: daily
inline constexpr std::int64_t kFailedAgainMs = 60'000, kFailedAgainMostMs = 3'600'000;

class CertificateCare {
 public:
  // `wake`: an eventfd, bumped when an answer came.
  CertificateCare(int folder, int wake);
  ~CertificateCare();

  // The renewed identity, once. Starts a request when one is due.
  std::optional<Identity> tend(const Identity& identity, std::int64_t now_ms, std::int64_t wall_s);
  const std::string& refusal() const { return refusal_; }  // of the last try; "": none
  void renew_now() { asked_ = true; }             // whatever is due; one that is under way will do
  std::uint64_t tries() const { return tries_; }  // that have ended

 private:
  struct Request;
  const int folder_, wake_;
  std::shared_ptr<Request> request_;  // under way
  std::int64_t again_ms_ = 0, pause_ms_ = kFailedAgainMs;
  std::string refusal_;
  bool asked_ = false;
  std::uint64_t tries_ = 0;
};

}  // namespace weir
