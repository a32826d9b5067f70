// A collector and desks as programs of their own, in a network namespace of the test's own: what is
// killed here is a real process, what is counted stands in the collector's store.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "agent/engine/seal.h"
#include "agent/guard/descriptors.h"
#include "agent/guard/uplink_messages.h"
#include "agent/spool/spool.h"
#include "agent/uplink/enrol.h"
#include "agent/uplink/user.h"
#include "collector/api/admin_file.h"
#include "collector/store/day_file.h"
#include "proto/connect/client.h"
#include "tests/collector/store/stored_records.h"
#include "weir/v1/admin.pb.h"
#include "weir/v1/agent.pb.h"

namespace weir {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}
inline bool soon(const std::function<bool()>& holds, double within_s = 30) {
  for (auto start = Clock::now(); seconds_since(start) < within_s;) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return holds();
}
inline std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A child with these descriptors at these numbers; it ends with the test.
class Program {
 public:
  Program() = default;
  Program(Program&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Program& operator=(Program&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~Program() { end(SIGKILL); }

  void start(const std::vector<std::string>& command, const std::map<int, int>& descriptors,
             const fs::path& errors) {
    end(SIGKILL);
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    constexpr int kScratch = 64;
    int log = ::open(errors.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(log, STDERR_FILENO);
    for (auto [number, fd] : descriptors) ::dup2(fd, number + kScratch);
    for (auto [number, fd] : descriptors) ::dup2(number + kScratch, number);
    for (int fd = 3; fd < 1'024; ++fd)
      if (descriptors.count(fd) == 0) ::close(fd);
    // A sanitizer's quarantine is no memory of ours.
    ::setenv("ASAN_OPTIONS", "quarantine_size_mb=1:detect_leaks=0", 1);
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    ::execv(words[0], words.data());
    ::_exit(127);
  }
  int end(int signal) {
    if (pid_ <= 0) return -1;
    ::kill(pid_, signal);
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }
  bool runs() const {
    return pid_ > 0 && ::kill(pid_, 0) == 0 && ::waitpid(pid_, nullptr, WNOHANG) == 0;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

class Collector {
 public:
  explicit Collector(const fs::path& base, int agents = 9443, int console = 8443)
      : data(base), agents_(agents), console_(console) {
    fs::create_directories(data.parent_path());
  }
  void start() {
    std::size_t before = content(log()).size();
    program.start(
        {WEIR_COLLECTOR, "serve", "--data", data, "--listen", fmt::format("127.0.0.1:{}", agents_),
         "--console", fmt::format("127.0.0.1:{}", console_)},
        {}, log());
    ASSERT_TRUE(
        soon([&] { return content(log()).find("ready\n", before) != std::string::npos; }, 60))
        << content(log());
  }
  std::string address() const { return fmt::format("127.0.0.1:{}", agents_); }
  fs::path log() const { return data.string() + ".log"; }
  AdminFile admin() const {
    auto read = read_admin_file_text(content(data / "admin.json"));
    EXPECT_TRUE(read);
    return read ? *read : AdminFile{};
  }
  // As an administrator does.
  template <class Response, class Request>
  Response ask(const char* method, const Request& request) {
    AdminFile file = admin();
    Door door{file.address, {}, file.secret};
    for (std::size_t n = 0; n < door.key_sha256.size(); ++n)
      door.key_sha256[n] =
          static_cast<std::uint8_t>(std::stoi(file.door_key_sha256.substr(2 * n, 2), nullptr, 16));
    auto answer =
        ConnectClient(door).unary(std::string("weir.v1.") + method, request.SerializeAsString());
    EXPECT_TRUE(answer) << method << ": " << answer.error().sentence;
    Response response;
    EXPECT_TRUE(answer && response.ParseFromString(*answer));
    return response;
  }
  std::string token(std::uint32_t uses = 1, std::uint32_t lifetime_s = 600) {
    v1::CreateTokenRequest request;
    request.set_group("desks");
    request.set_max_uses(uses);
    request.set_lifetime_s(lifetime_s);
    return ask<v1::CreateTokenResponse>("TokenAdminService/CreateToken", request).text();
  }

  // Of what stands in the store; only while no collector runs, or for numbers that may be old.
  struct Stored {
    std::uint64_t records = 0, last = 0, twice = 0, gaps = 0, flagged = 0, out_of_order = 0;
  };
  Stored stored(SpoolLane lane) const {
    Stored found;
    if (!fs::exists(data / "days")) return found;
    std::vector<fs::path> days;
    for (const auto& entry : fs::directory_iterator(data / "days"))
      if (entry.path().extension() == ".db") days.push_back(entry.path());
    std::sort(days.begin(), days.end());
    for (const fs::path& day : days) {
      auto db = Database::open(day, Database::Mode::write);
      EXPECT_TRUE(db);
      if (!db) continue;
      EXPECT_TRUE(each_stored_record(*db, [&](const StoredRecord& at) {
        if (static_cast<int>(at.key.lane) != static_cast<int>(lane) + 1) return;
        ++found.records;
        found.flagged += at.record.flags != 0;
        if (at.sequence == found.last) ++found.twice;
        if (at.sequence < found.last) ++found.out_of_order;
        if (at.sequence > found.last + 1) ++found.gaps;
        found.last = std::max(found.last, at.sequence);
      }));
    }
    return found;
  }

  const fs::path data;
  Program program;

 private:
  int agents_, console_;
};

class Desk {
 public:
  explicit Desk(const fs::path& base, SpoolLimits limits = {}) : state(base) {
    fs::create_directories(state / "spool");
    ::chmod(state.c_str(), 0700);
    ::umask(027);
    EXPECT_EQ(::chown((state / "spool").c_str(), kEngineUser, kUplinkUser), 0);
    ::chmod((state / "spool").c_str(), 02750);
    spool_ = ::open((state / "spool").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    acknowledged_ = ::open((state / "acknowledged").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    news_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    auto opened = SpoolWriter::open(spool_, limits, 1'700'000'000'000'000'000);
    EXPECT_TRUE(opened) << opened.error().sentence;
    writer.emplace(std::move(*opened));
  }
  ~Desk() {
    uplink.end(SIGKILL);
    for (int fd : {spool_, acknowledged_, news_, guard}) ::close(fd);
  }

  DoorResult<HostFacts> enrol_with(const std::string& text) {
    auto token = read_token(text);
    EXPECT_TRUE(token) << token.error().sentence;
    return enrol(*token, {.hostname = "desk", .version = "0.1.0", .machine_id = state.string()},
                 state, kUplinkUser);
  }

  void start(const std::string& collector = "") {
    uplink.end(SIGKILL);
    ::close(guard);
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    guard = pair[0];
    sequence_ = 0;
    tell(wire::PolicyStateMessage::State::built_in, 0);
    int identity = ::open((state / "identity").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    std::vector<std::string> command{WEIR_UPLINK};
    if (!collector.empty()) command.insert(command.end(), {"--collector", collector});
    uplink.start(command,
                 {{fds::kUplinkGuard, pair[1]},
                  {fds::kUplinkSpool, spool_},
                  {fds::kUplinkAcknowledged, acknowledged_},
                  {fds::kUplinkIdentity, identity},
                  {fds::kUplinkNews, news_}},
                 log());
    ::close(pair[1]);
    ::close(identity);
  }
  // As the guard.
  void tell(wire::PolicyStateMessage::State in_force, std::uint32_t number) {
    wire::PolicyStateMessage state_message;
    state_message.state = static_cast<std::uint32_t>(in_force);
    state_message.number = number;
    tell(state_message);
  }
  void tell(wire::PolicyStateMessage state_message) {
    Bytes bytes = wire::seal(state_message, sequence_);
    EXPECT_EQ(::send(guard, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // As the engine: `count` records of a lane, committed.
  void report(SpoolLane lane, int count, std::size_t padding = 200) {
    for (int n = 0; n < count; ++n) {
      v1::Record record;
      v1::Report& one = *record.mutable_report();
      one.set_id(fmt::format("{}-{}", static_cast<int>(lane), ++made_));
      one.mutable_time()->set_seconds(1'800'000'000);
      one.set_capture(std::string(padding, 'x'));
      const std::string bytes = record.SerializeAsString();
      writer->append(lane, bytes_of(bytes));
    }
    auto committed = writer->commit();
    EXPECT_TRUE(committed) << committed.error().sentence;
    const std::uint64_t one = 1;
    (void)!::write(news_, &one, sizeof one);
  }
  SpoolPositions acknowledged() const {
    auto read = read_acknowledged(acknowledged_);
    return read ? *read : SpoolPositions{};
  }
  bool all_acknowledged() const {
    SpoolPositions now = acknowledged(), last = writer->last();
    for (std::size_t n = 0; n < kSpoolLanes; ++n)
      if (last[n].sequence != 0 && now[n] != last[n]) return false;
    return true;
  }
  std::uint64_t acknowledged(SpoolLane lane) const {
    return acknowledged()[static_cast<std::size_t>(lane)].sequence;
  }
  int news() const { return news_; }
  fs::path log() const { return state.string() + ".log"; }
  std::size_t rss_bytes() const {
    std::ifstream file(fmt::format("/proc/{}/statm", uplink.pid()));
    std::size_t size = 0, pages = 0;
    file >> size >> pages;
    return pages * 4'096;
  }

  const fs::path state;
  Program uplink;
  std::optional<SpoolWriter> writer;
  int guard = -1;

 private:
  int spool_ = -1, acknowledged_ = -1, news_ = -1;
  std::uint32_t sequence_ = 0;
  std::uint64_t made_ = 0;
};

class FleetOfPrograms : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0)
      GTEST_SKIP() << "needs root: the uplink gives up root's rights, in a namespace of its own";
    if (!fs::exists(WEIR_COLLECTOR)) GTEST_SKIP() << "needs weir-collector built";
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq lo{};
    std::snprintf(lo.ifr_name, sizeof lo.ifr_name, "lo");
    lo.ifr_flags = IFF_UP;
    ASSERT_EQ(::ioctl(fd, SIOCSIFFLAGS, &lo), 0);
    ::close(fd);
    std::string pattern = (fs::temp_directory_path() / "weir-uplink-XXXXXX").string();
    base = ::mkdtemp(pattern.data());
    fs::permissions(base, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  }
  void TearDown() override {
    std::error_code ignored;
    if (!base.empty() && !HasFailure()) fs::remove_all(base, ignored);
  }
  fs::path base;
};

// With one collector that runs, and one desk that is enrolled there.
class CollectorAndDesk : public FleetOfPrograms {
 protected:
  void SetUp() override {
    FleetOfPrograms::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    collector.emplace(base / "collector");
    collector->start();
    desk.emplace(base / "desk", limits);
    auto host = desk->enrol_with(collector->token());
    ASSERT_TRUE(host) << host.error().sentence;
    host_id = host->host_id;
  }
  SpoolLimits limits;
  std::string host_id;
  std::optional<Collector> collector;
  std::optional<Desk> desk;
};

}  // namespace weir
