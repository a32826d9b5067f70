// Messages over a local socket that bring a descriptor along, and what is passed so. Thread: any.
#pragma once

#include <sys/types.h>

#include <cstddef>

#include "core/base/bytes.h"
#include "platform/files/fd.h"

namespace weir {

// One message with `fd`, which stays the sender's; -1: with none. `flags`: of sendmsg. False: it
// did not go out whole; errno says why.
bool send_with(int socket, Bytes message, int fd, int flags);

// One message that waits, and the one descriptor that came with it. The answer is recvmsg's.
ssize_t receive_with(int socket, void* buffer, std::size_t size, Fd& passed);

// All of it; false: errno says why.
bool write_all(int fd, Bytes bytes);

// Memory that holds `bytes` and that nobody can change any more, ourselves included. Empty: errno
// says why.
Fd sealed_memory(const char* name, Bytes bytes);

}  // namespace weir
