// Tokens become certificates, certificates become newer ones, and nothing else does.
#include "collector/fleet/enrolment.h"

#include <thread>

#include "collector/fleet/crypto.h"
#include "tests/collector/fleet/fleet_fixture.h"

namespace weir {
namespace {

using Kind = Refusal::Kind;

class EnrolmentTest : public FleetTest {
 protected:
  RenewalRequest renewal(const PrivateKey& old_key, const std::string& old_certificate,
                         const PrivateKey& next) {
    RenewalRequest request{.csr = new_request(next),
                           .old_certificate = old_certificate,
                           .nonce = random_bytes(kNonceBytes)};
    request.proof = old_key.sign(bytes_of(proof_text(request)));
    return request;
  }
  static std::string proof_text(const RenewalRequest& request) {
    return std::string("weir renew v1") + '\0' + request.nonce + request.csr;
  }
};

TEST_F(EnrolmentTest, a_token_and_a_request_give_a_certificate_that_names_the_host) {
  Agent agent = enrol();
  auto certificate = X509Certificate::from_der(bytes_of(agent.issued.chain.at(0)));
  ASSERT_TRUE(certificate);
  EXPECT_EQ(certificate->host_id(), agent.issued.host_id);
  EXPECT_TRUE(authority.issued(*certificate));
  EXPECT_TRUE(certificate->matches(agent.key));
  EXPECT_EQ(certificate->not_after_s(), kNow + 7 * 86'400);
  EXPECT_EQ(agent.issued.renew_after_s, kNow + 7 * 86'400 * 2 / 3);
  EXPECT_EQ(agent.issued.group, "desks");
  EXPECT_EQ(hosts->find(agent.issued.host_id, kNow)->row.name, "desk");
}

TEST_F(EnrolmentTest, of_1000_redemptions_of_one_token_at_once_exactly_one_gets_a_certificate) {
  std::string secret = token();
  PrivateKey key = PrivateKey::generate();
  std::string csr = new_request(key);
  std::atomic<int> issued = 0, denied = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 20; ++t)
    threads.emplace_back([&] {
      for (int n = 0; n < 50; ++n) {
        auto answer = enrolment->enrol({.secret = secret, .csr = csr}, kNow);
        if (answer) ++issued;
        if (!answer && answer.error().kind == Kind::denied) ++denied;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(issued, 1);
  EXPECT_EQ(denied, 999);
  EXPECT_EQ(fleet->hosts().size(), 1u);
}

TEST_F(EnrolmentTest, wrong_used_expired_and_revoked_tokens_are_denied_with_the_same_sentence) {
  std::string csr = new_request(PrivateKey::generate());
  std::string used = token(), revoked = token();
  ASSERT_TRUE(enrolment->enrol({.secret = used, .csr = csr}, kNow));
  for (const TokenRow& row : fleet->tokens("", 10))
    if (row.uses == 0) fleet->revoke_token(row.id);
  std::string expired = token();
  std::vector<Reply<IssuedCertificate>> answers;
  answers.push_back(enrolment->enrol({.secret = std::string(16, 'x'), .csr = csr}, kNow));
  answers.push_back(enrolment->enrol({.secret = "short", .csr = csr}, kNow));
  answers.push_back(enrolment->enrol({.secret = used, .csr = csr}, kNow));
  answers.push_back(enrolment->enrol({.secret = revoked, .csr = csr}, kNow));
  answers.push_back(enrolment->enrol({.secret = expired, .csr = csr}, kNow + 3'600));
  for (const auto& answer : answers) {
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, Kind::denied);
    EXPECT_EQ(answer.error().sentence, answers[0].error().sentence);
  }
}

TEST_F(EnrolmentTest, a_bad_request_uses_no_token_up) {
  std::string secret = token();
  std::string good = new_request(PrivateKey::generate());
  std::string forged = good;
  forged.back() = static_cast<char>(forged.back() ^ 1);
  for (const std::string& csr :
       {std::string(), std::string("text"), std::string(5'000, 'x'), good + "x",
        good.substr(0, good.size() - 1), forged, rsa_request(), p384_request()}) {
    auto answer = enrolment->enrol({.secret = secret, .csr = csr}, kNow);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, Kind::invalid) << answer.error().sentence;
  }
  EXPECT_EQ(fleet->tokens("", 10)[0].uses, 0u);
  EXPECT_TRUE(enrolment->enrol({.secret = secret, .csr = good}, kNow));
}

TEST_F(EnrolmentTest, tokens_have_limits) {
  EXPECT_FALSE(enrolment->create_token("", 1, 60, "admin", kNow));
  EXPECT_FALSE(enrolment->create_token("no spaces", 1, 60, "admin", kNow));
  EXPECT_FALSE(enrolment->create_token("desks", kMaxTokenUses + 1, 60, "admin", kNow));
  EXPECT_FALSE(enrolment->create_token("desks", 1, 86'401, "admin", kNow));
  EXPECT_EQ(enrolment->create_token("desks", 0, 0, "admin", kNow)->row.max_uses, 1u);
}

TEST_F(EnrolmentTest, the_old_key_renews_and_the_old_certificate_still_names_the_host) {
  Agent agent = enrol();
  PrivateKey next = PrivateKey::generate();
  auto renewed = enrolment->renew(renewal(agent.key, agent.issued.chain[0], next), kNow + 400'000);
  ASSERT_TRUE(renewed) << renewed.error().sentence;
  EXPECT_EQ(renewed->host_id, agent.issued.host_id);
  auto certificate = X509Certificate::from_der(bytes_of(renewed->chain[0]));
  EXPECT_TRUE(certificate->matches(next));
  EXPECT_EQ(certificate->not_after_s(), kNow + 400'000 + kCertificateLife_s);
  EXPECT_EQ(fleet->hosts()[0].certificate_expires_s, certificate->not_after_s());
}

TEST_F(EnrolmentTest, an_expired_certificate_renews_for_30_days_and_no_longer) {
  Agent agent = enrol();
  PrivateKey next = PrivateKey::generate();
  const std::int64_t end = kNow + kCertificateLife_s + kRenewExpired_s;
  EXPECT_FALSE(enrolment->renew(renewal(agent.key, agent.issued.chain[0], next), end + 1));
  EXPECT_TRUE(enrolment->renew(renewal(agent.key, agent.issued.chain[0], next), end));
}

TEST_F(EnrolmentTest, a_renewal_is_refused_without_its_proof) {
  Agent agent = enrol(), other = enrol();
  PrivateKey next = PrivateKey::generate();
  auto denied = [&](const RenewalRequest& request) {
    auto answer = enrolment->renew(request, kNow);
    EXPECT_FALSE(answer);
    return !answer ? answer.error().sentence : "";
  };
  EXPECT_NE(denied(renewal(other.key, agent.issued.chain[0], next)).find("proof"),
            std::string::npos);
  RenewalRequest exchanged = renewal(agent.key, agent.issued.chain[0], next);
  exchanged.csr = new_request(PrivateKey::generate());
  EXPECT_NE(denied(exchanged).find("proof"), std::string::npos);
  RenewalRequest twice = renewal(agent.key, agent.issued.chain[0], next);
  EXPECT_TRUE(enrolment->renew(twice, kNow));
  EXPECT_EQ(denied(twice), "the nonce was used before");
  RenewalRequest short_nonce = renewal(agent.key, agent.issued.chain[0], next);
  short_nonce.nonce = "n";
  EXPECT_NE(denied(short_nonce).find("nonce"), std::string::npos);
}

TEST_F(EnrolmentTest, a_certificate_that_we_did_not_issue_renews_nothing) {
  Agent agent = enrol();
  PrivateKey key = PrivateKey::generate();
  auto csr = CertificateRequest::from_der(bytes_of(new_request(key)));
  Validity life{kNow - 60, kNow + 3'600};
  // Of a foreign authority that bears the same name; and one by ours for a host that is not there.
  Authority foreign = Authority::create(life);
  for (const X509Certificate& made : {foreign.issue_host(*csr, agent.issued.host_id, life),
                                      authority.issue_host(*csr, "no-such-host", life)}) {
    auto answer = enrolment->renew(renewal(key, made.der(), key), kNow);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, Kind::denied);
  }
  EXPECT_FALSE(enrolment->renew(renewal(key, authority.certificate().der(), key), kNow));
  EXPECT_FALSE(enrolment->renew(renewal(key, std::string(9'000, 'x'), key), kNow));
}

TEST_F(EnrolmentTest, a_certificate_that_a_restored_store_does_not_know_still_renews) {
  Agent agent = enrol();
  auto db = Database::open(folder.path() + "/store.db", Database::Mode::write);
  ASSERT_TRUE(db && db->run("DELETE FROM certificates"));
  auto renewed =
      enrolment->renew(renewal(agent.key, agent.issued.chain[0], PrivateKey::generate()), kNow);
  ASSERT_TRUE(renewed) << renewed.error().sentence;
  EXPECT_EQ(renewed->host_id, agent.issued.host_id);
}

TEST_F(EnrolmentTest, a_revoked_host_renews_nothing) {
  Agent agent = enrol();
  ASSERT_TRUE(hosts->revoke(agent.issued.host_id, "left the house"));
  auto answer =
      enrolment->renew(renewal(agent.key, agent.issued.chain[0], PrivateKey::generate()), kNow);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().sentence, "the host is revoked");
}

TEST_F(EnrolmentTest, a_certificate_with_another_or_a_second_name_is_no_host) {
  PrivateKey key = PrivateKey::generate();
  Validity life{kNow - 60, kNow + 3'600};
  EXPECT_EQ(authority.issue_server(key, "desk.example", life).host_id(), "");
  EXPECT_EQ(authority.certificate().host_id(), "");
}

TEST_F(EnrolmentTest, keys_and_certificates_read_back_as_written) {
  auto again = Authority::from_pem(authority.certificate().pem(), authority.key_pem());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->certificate().key_sha256(), authority.certificate().key_sha256());
  EXPECT_FALSE(Authority::from_pem(authority.certificate().pem(), PrivateKey::generate().pem()));
  EXPECT_FALSE(Authority::from_pem("nonsense", authority.key_pem()));
}

// ---- hosts
// ---------------------------------------------------------------------------------------

TEST_F(EnrolmentTest, a_host_is_silent_60_s_after_its_last_word) {
  Agent agent = enrol();
  std::uint32_t number = hosts->find(agent.issued.host_id, kNow)->row.number;
  hosts->connected(number, "1.0", "desk", 1, kNow);
  EXPECT_EQ(hosts->find(number, kNow + 500)->state, HostState::online) << "its stream is open";
  hosts->disconnected(number, kNow + 500);
  EXPECT_EQ(hosts->find(number, kNow + 560)->state, HostState::online);
  EXPECT_EQ(hosts->find(number, kNow + 561)->state, HostState::silent);
  EXPECT_EQ(hosts->find(number, kNow + kCertificateLife_s)->state, HostState::expired);
}

TEST_F(EnrolmentTest, what_a_host_says_of_itself_is_written_behind_and_undoes_no_revocation) {
  Agent agent = enrol();
  auto host = hosts->find(agent.issued.host_id, kNow);
  std::vector<HostRow> told{host->row};  // read before the revocation, written after it
  told[0].version = "2.0";
  ASSERT_TRUE(hosts->revoke(agent.issued.host_id, "lost"));
  ASSERT_TRUE(fleet->save_told(told));
  EXPECT_EQ(fleet->hosts()[0].version, "2.0");
  EXPECT_TRUE(fleet->hosts()[0].revoked);
  hosts->connected(host->row.number, "3.0", "desk-9", 2, kNow + 5);
  hosts->flush();
  EXPECT_EQ(fleet->hosts()[0].version, "3.0");
  EXPECT_EQ(fleet->hosts()[0].name, "desk-9");
  EXPECT_TRUE(fleet->hosts()[0].revoked);
}

TEST_F(EnrolmentTest, revoked_and_group_hold_after_a_restart) {
  Agent agent = enrol();
  ASSERT_TRUE(hosts->revoke(agent.issued.host_id, "lost"));
  ASSERT_TRUE(hosts->set_group(agent.issued.host_id, "labs"));
  EXPECT_FALSE(hosts->revoke("nobody", ""));
  Hosts again(*fleet);
  auto host = again.find(agent.issued.host_id, kNow);
  EXPECT_EQ(host->state, HostState::revoked);
  EXPECT_EQ(host->row.group, "labs");
  EXPECT_EQ(again.count("labs"), 0u) << "who is revoked is not counted";
}

}  // namespace
}  // namespace weir
