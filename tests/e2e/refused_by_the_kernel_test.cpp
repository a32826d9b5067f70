// A command that the kernel's tables do not take is refused with the reason, and nothing of it is
// in force: not in the kernel, not on the disk, not in what is told.
#include <fmt/format.h>
#include <linux/bpf.h>
#include <sys/syscall.h>

#include "agent/guard/exceptions.h"
#include "core/base/command_id.h"
#include "platform/files/fd.h"
#include "proto/map/command_proto.h"
#include "tests/e2e/guarded_host.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

using Body = v1::CommandBody;

class RefusedByTheKernel : public GuardedHost {
 protected:
  void SetUp() override {
    GuardedHost::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    start();
    ASSERT_EQ(next_state(), "4 0  0") << errors();
    offer({.number = 1});
    ASSERT_EQ(next_state(), "1 1  0") << errors();
  }
  // From now on no program can write to that table any more; the kernel's own still do.
  void freeze(const std::string& table) const {
    const std::string path =
        fmt::format("{}/weir/{}/maps/{}", (base_ / "bpf").string(), WEIR_LAYOUT, table);
    bpf_attr attributes{};
    attributes.pathname = reinterpret_cast<std::uint64_t>(path.c_str());
    const Fd map(static_cast<int>(::syscall(SYS_bpf, BPF_OBJ_GET, &attributes, sizeof attributes)));
    ASSERT_TRUE(map) << path;
    attributes = {};
    attributes.map_fd = static_cast<std::uint32_t>(map.get());
    ASSERT_EQ(::syscall(SYS_bpf, BPF_MAP_FREEZE, &attributes, sizeof attributes), 0)
        << std::strerror(errno);
  }
  static std::string id_text(std::uint8_t seed) {
    CommandIdBytes id{};
    id.fill(seed);
    return text_of_command_id(id);
  }
  std::string send(Body::Verb verb, std::uint8_t id, Body body) {
    const std::int64_t now = std::time(nullptr);
    body.set_verb(verb);
    body.set_host_id(kHostId);
    body.set_not_before_wall_s(now - 60);
    body.set_expires_wall_s(now + 3'600);
    body.set_id(id_text(id));
    const std::string bytes = body.SerializeAsString();
    wire::OfferCommand message;
    message.id.fill(id);
    message.body_size = bytes.size();
    message.signatures = 1;
    Signer signer(1);
    message.signature[0].key = policy_key_id(signer.key);
    const std::vector<std::uint8_t> covered = signed_bytes_of(kCommandPurpose, bytes_of(bytes));
    ::crypto_sign_detached(message.signature[0].signature.data(), nullptr, covered.data(),
                           covered.size(), signer.secret.data());
    hand_over("command", message, bytes);
    return next_state();
  }
  std::string block(std::uint8_t id, const std::string& where) {
    Body body;
    body.set_lease_s(3'600);
    body.mutable_destination()->set_address(where);
    return send(Body::block_destination, id, body);
  }
  std::string except(std::uint8_t id, const std::string& request = "") {
    Body body;
    v1::Exception& exception = *body.mutable_exception();
    exception.add_sets_aside("pushed");
    exception.mutable_person()->mutable_user()->set_uid(4'242);
    exception.mutable_destination()->set_address("192.0.2.7");
    exception.set_bytes(1 << 20);
    exception.set_request_id(request);
    body.set_lease_s(3'600);
    return send(Body::except, id, body);
  }
  std::string undo(std::uint8_t id, std::uint8_t lease) {
    Body body;
    body.set_lease_id(id_text(lease));
    return send(Body::undo, id, body);
  }
  std::unique_ptr<ExceptionTable> on_the_disk() const {
    std::stringstream text;
    text << std::ifstream(state() / "exceptions", std::ios::binary).rdbuf();
    const std::string bytes = text.str();
    auto table = std::make_unique<ExceptionTable>(ExceptionTable::none());
    if (bytes.empty()) return table;
    Result<ExceptionTable> read = ExceptionTable::read(bytes_of(bytes));
    EXPECT_TRUE(read) << (read ? "" : read.error().sentence);
    if (read) *table = *read;
    return table;
  }
  std::size_t blocks_in_the_kernel() const {
    Result<PinnedTables> tables = read_pinned((base_ / "bpf").string());
    if (!tables) return 99;
    return static_cast<std::size_t>(
        std::ranges::count_if(tables->shut_until_boot_ns, [](auto until) { return until != 0; }));
  }
  void restart_guard() {
    const pid_t before = guard();
    ::kill(before, SIGKILL);
    ASSERT_TRUE(await([&] { return guard() != 0 && guard() != before; }));
    EXPECT_EQ(next_state(), "1 1  0") << errors();
  }
};

TEST_F(RefusedByTheKernel, a_block_is_refused_and_those_of_before_hold) {
  ASSERT_EQ(block(1, "192.0.2.1"), "command 1  ") << errors();
  freeze("shut");
  EXPECT_EQ(block(2, "192.0.2.2"),
            "command 2 command_failed cannot block 192.0.2.2/32: Operation not permitted");
  EXPECT_EQ(block(2, "192.0.2.2").substr(0, 24), "command 2 command_failed")
      << "it is no id that was used up";
  EXPECT_EQ(on_the_disk()->blocks.blocks, 1u);
  EXPECT_EQ(blocks_in_the_kernel(), 1u);
  EXPECT_NE(status().find("BLOCKED by an administrator: 192.0.2.1"), std::string::npos) << status();
  EXPECT_EQ(status().find("192.0.2.2"), std::string::npos) << status();
  EXPECT_EQ(undo(3, 2), "command 2 command_no_lease ");
  EXPECT_EQ(undo(4, 1).substr(0, 24), "command 2 command_failed") << "it can't be taken out";
  EXPECT_EQ(blocks_in_the_kernel(), 1u);
  restart_guard();
  EXPECT_EQ(on_the_disk()->blocks.blocks, 1u);
  EXPECT_EQ(blocks_in_the_kernel(), 1u);
}

TEST_F(RefusedByTheKernel, an_exception_is_refused_and_none_is_undone_that_goes_on) {
  ASSERT_EQ(except(1), "command 1  ") << errors();
  freeze("accounts");
  EXPECT_EQ(undo(2, 1).substr(0, 24), "command 2 command_failed");
  EXPECT_EQ(on_the_disk()->leases, 1u);
  EXPECT_EQ(except(3, "0123"),
            "command 2 command_failed cannot open the account of an exception of person 4242: "
            "Operation not permitted");
  const auto table = on_the_disk();
  ASSERT_EQ(table->leases, 1u);
  EXPECT_EQ(text_of_command_id(table->lease[0].id), id_text(1)) << "the one of before goes on";
  ASSERT_EQ(table->answers, 1u);
  EXPECT_EQ(table->answer[0].outcome, RequestAnswer::refused) << "who asked is told";
}

TEST_F(RefusedByTheKernel, an_isolation_is_refused) {
  freeze("state");
  Body body;
  body.set_lease_s(3'600);
  EXPECT_EQ(send(Body::isolate, 1, body),
            "command 2 command_failed cannot write the kernel part's state: "
            "Operation not permitted");
  EXPECT_EQ(on_the_disk()->isolation.holds, 0u);
  EXPECT_EQ(status().find("ISOLATED"), std::string::npos) << status();
}

}  // namespace
}  // namespace weir
