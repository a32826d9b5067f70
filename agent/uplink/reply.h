// A certificate as the door answers with it, checked before it is taken: ours by its key, and not
// over yet. Thread: any.
#pragma once

#include "agent/uplink/identity.h"
#include "agent/uplink/keys.h"
#include "core/base/result.h"

namespace weir {

namespace v1 {
class Certificate;
}

// Fills key_pem, certificate_pem, certificate_end_s and host.renew_after_s.
Result<void> take_certificate(const v1::Certificate& certificate, const HostKey& key,
                              Identity& identity);

}  // namespace weir
