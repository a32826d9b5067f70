// The caller's side of `weir my-events` and `weir request`: see asked.h. Has no rights.
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "agent/run/asked.h"
#include "agent/run/exec_served.h"

namespace weir {
namespace {

constexpr int kFailed = 1, kUnreachable = 5;
constexpr timeval kAnswerTime{40, 0};

// A stranger's is none.
Fd connected(const std::string& socket) {
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket.c_str(), sizeof address.sun_path - 1);
  ucred server{};
  socklen_t size = sizeof server;
  if (!fd ||
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &server, &size) != 0 || server.uid != 0)
    return {};
  return fd;
}

}  // namespace

bool agent_answers(const std::string& socket) {
  return static_cast<bool>(connected(socket));
}

int ask_agent(const AskMessage& message, const std::string& socket) {
  const Fd fd = connected(socket);
  if (!fd) {
    fmt::print(stderr, "weir: no agent of this host answers at {}: `weir run` serves this\n",
               socket);
    return kUnreachable;
  }
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerTime, sizeof kAnswerTime);
  if (::send(fd.get(), &message, sizeof message, MSG_NOSIGNAL) != sizeof message) {
    fmt::print(stderr, "weir: the agent takes no more callers now\n");
    return kFailed;
  }
  std::vector<char> piece(kMostPiece);
  std::string text;
  for (;;) {
    const ssize_t got = ::recv(fd.get(), piece.data(), piece.size(), 0);
    if (got <= 0) {
      fmt::print(stderr, "weir: the agent went away without an answer\n");
      return kFailed;
    }
    AskEnd end;
    if (got == sizeof end) {
      std::memcpy(&end, piece.data(), sizeof end);
      if (end.magic == kAskMagic) {
        fmt::print(end.status == 0 ? stdout : stderr, "{}", text);
        return static_cast<int>(end.status);
      }
    }
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace weir
