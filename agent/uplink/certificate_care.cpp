// When the host's certificate is renewed: see certificate_care.h.
#include "agent/uplink/certificate_care.h"

#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "agent/uplink/renewal.h"
#include "agent/uplink/say.h"

namespace weir {

// Held by both threads: the owner may end while the door is still silent.
struct CertificateCare::Request {
  std::mutex mutex;
  std::optional<DoorResult<Identity>> answer;
};

CertificateCare::CertificateCare(int folder, int wake) : folder_(folder), wake_(wake) {}
CertificateCare::~CertificateCare() = default;

std::optional<Identity> CertificateCare::tend(const Identity& identity, std::int64_t now_ms,
                                              std::int64_t wall_s) {
  if (!request_) {
    if (!asked_ && (wall_s < identity.host.renew_after_s || now_ms < again_ms_))
      return std::nullopt;
    request_ = std::make_shared<Request>();
    std::thread([request = request_, identity, folder = folder_, wake = wake_] {
      auto answer = renew(folder, identity);
      {
        std::lock_guard lock(request->mutex);
        request->answer = std::move(answer);
      }
      const std::uint64_t one = 1;
      (void)!::write(wake, &one, sizeof one);
    }).detach();
    return std::nullopt;
  }
  std::optional<DoorResult<Identity>> answer;
  {
    std::lock_guard lock(request_->mutex);
    if (!request_->answer) return std::nullopt;
    answer = std::move(request_->answer);
  }
  request_.reset();
  asked_ = false;
  ++tries_;
  if (*answer) {
    refusal_.clear();
    pause_ms_ = kFailedAgainMs;
    again_ms_ =
        now_ms + kFailedAgainMs;  // one that is due at once again is not asked for in a loop
    say("the host's certificate was renewed");
    return std::move(**answer);
  }
  refusal_ = for_the_log(answer->error().sentence);
  say("the host's certificate was not renewed: " + refusal_);
  if (answer->error().kind == DoorFailure::Kind::refused) {
    again_ms_ = now_ms + kRefusedAgainMs;
  } else {
    again_ms_ = now_ms + pause_ms_;
    pause_ms_ = std::min(2 * pause_ms_, kFailedAgainMostMs);
  }
  return std::nullopt;
}

}  // namespace weir
