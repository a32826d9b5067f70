// See lsm.h and WEIR_TRY_PROTOCOL.
#include "platform/linux/lsm.h"

#include <sys/socket.h>

#include <cerrno>

#include "platform/files/fd.h"
#include "platform/linux/bpf/weir_abi.h"

namespace weir {

bool lsm_answers() {
  const Fd none(::socket(AF_UNSPEC, SOCK_DGRAM | SOCK_CLOEXEC, WEIR_TRY_PROTOCOL));
  return !none && errno == WEIR_TRY_ANSWER;
}

}  // namespace weir
