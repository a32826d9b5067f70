// A host whose certificate is over: it may renew for 30 days, and speaks to nobody else.
#include "agent/uplink/keys.h"
#include "collector/fleet/certificates.h"
#include "collector/fleet/crypto.h"
#include "collector/store/fleet_store.h"
#include "platform/files/small_file.h"
#include "tests/agent/uplink/programs/desk.h"

namespace weir {
namespace {

class Expired : public CollectorAndDesk {
 protected:
  // As if the host had been away for so long: its certificate is one that the collector made and
  // knows, and that ended then.
  void expire(std::int64_t ago_s) {
    collector->program.end(SIGTERM);
    const std::int64_t now = ::time(nullptr), end = now - ago_s;
    int folder = ::open((desk->state / "identity").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    auto identity = read_identity(folder);
    ASSERT_TRUE(identity && *identity);
    auto authority = Authority::from_pem(content(collector->data / "ca/authority.pem"),
                                         content(collector->data / "ca/authority.key"));
    ASSERT_TRUE(authority) << authority.error().sentence;
    auto key = HostKey::from_pem((*identity)->key_pem);
    const std::string request = key->request();
    auto csr = CertificateRequest::from_der(bytes_of(request));
    ASSERT_TRUE(csr);
    X509Certificate certificate = authority->issue_host(*csr, host_id, {end - 7 * 86'400, end});
    auto store = FleetStore::open(collector->data);
    ASSERT_TRUE(store) << store.error().sentence;
    ASSERT_TRUE((*store)->renew(bytes_of(random_bytes(16)),
                                {.serial = certificate.serial(),
                                 .host = 1,
                                 .key = certificate.key_sha256(),
                                 .not_after_s = end},
                                now));
    store->reset();
    ASSERT_TRUE(replace_file(folder, "certificate.pem", certificate.pem(), kUplinkUser));
    HostFacts facts = (*identity)->host;
    facts.renew_after_s = end - 7 * 86'400 / 3;
    ASSERT_TRUE(replace_file(folder, "host.json", to_json(facts), kUplinkUser));
    ::close(folder);
    collector->start();
  }
  bool says(const char* words) {
    return soon([&] { return content(desk->log()).find(words) != std::string::npos; }, 15);
  }
};

TEST_F(Expired, a_host_that_was_away_for_29_days_renews_and_reports) {
  expire(29 * 86'400);
  desk->report(SpoolLane::alert, 5);
  desk->start();
  EXPECT_TRUE(says("was renewed")) << content(desk->log());
  EXPECT_TRUE(soon([&] { return desk->all_acknowledged(); })) << content(desk->log());
}

TEST_F(Expired, a_host_that_was_away_for_31_days_says_so_and_sends_nothing) {
  expire(31 * 86'400);
  desk->report(SpoolLane::alert, 5);
  desk->start();
  EXPECT_TRUE(says("was not renewed")) << content(desk->log());
  EXPECT_TRUE(says("has expired")) << content(desk->log());
  std::this_thread::sleep_for(std::chrono::seconds(2));
  EXPECT_TRUE(desk->uplink.runs());
  EXPECT_EQ(desk->acknowledged(SpoolLane::alert), 0u);
  const std::string log = content(desk->log());
  EXPECT_EQ(log.find("was not renewed"), log.rfind("was not renewed")) << "tried daily, no oftener";
}

TEST_F(Expired, a_revoked_host_is_neither_renewed_nor_heard) {
  int folder = ::open((desk->state / "identity").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  auto identity = read_identity(folder);
  ASSERT_TRUE(identity && *identity);
  HostFacts facts = (*identity)->host;
  facts.renew_after_s = 1;
  ASSERT_TRUE(replace_file(folder, "host.json", to_json(facts), kUplinkUser));
  ::close(folder);
  v1::RevokeHostRequest request;
  request.set_id(host_id);
  request.set_reason("left");
  collector->ask<v1::RevokeHostResponse>("HostAdminService/RevokeHost", request);
  desk->report(SpoolLane::alert, 5);
  desk->start();
  EXPECT_TRUE(says("not renewed: the host is revoked")) << content(desk->log());
  EXPECT_TRUE(says("no stream to the collector: the host is revoked")) << content(desk->log());
  EXPECT_EQ(desk->acknowledged(SpoolLane::alert), 0u);
}

TEST_F(Expired, a_host_that_is_not_renewed_says_why_in_its_health) {
  int folder = ::open((desk->state / "identity").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  auto identity = read_identity(folder);
  ASSERT_TRUE(identity && *identity);
  HostFacts facts = (*identity)->host;
  facts.renew_after_s = 1;
  facts.door_key_sha256[0] ^= 1;  // another stands at the door
  ASSERT_TRUE(replace_file(folder, "host.json", to_json(facts), kUplinkUser));
  ::close(folder);
  desk->report(SpoolLane::alert, 5);
  desk->start();
  EXPECT_TRUE(says("was not renewed")) << content(desk->log());
  EXPECT_TRUE(soon([&] { return desk->all_acknowledged(); })) << "the certificate is still good";
  EXPECT_TRUE(soon([&] {
    v1::GetHostRequest request;
    request.set_id(host_id);
    auto host = collector->ask<v1::GetHostResponse>("HostAdminService/GetHost", request);
    return host.health().health().degraded_size() == 1 &&
           host.health().health().degraded(0).code() == "certificate_not_renewed";
  }));
}

}  // namespace
}  // namespace weir
