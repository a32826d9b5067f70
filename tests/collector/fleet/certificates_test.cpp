// The short way to what a stream needs of a certificate says what the long way says.
#include "collector/fleet/certificates.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

constexpr std::int64_t kNow = 1'800'000'000;

class CertificatesTest : public ::testing::Test {
 protected:
  X509Certificate issue(const std::string& id, std::int64_t until) {
    auto request = CertificateRequest::from_der(bytes_of(new_request(key)));
    return authority.issue_host(*request, id, {kNow, until});
  }
  PrivateKey key = PrivateKey::generate();
  Authority authority = Authority::create({kNow - 60, kNow + 1'000'000});
};

TEST_F(CertificatesTest, a_hosts_certificate_tells_its_id_and_its_end) {
  constexpr std::int64_t kYear2055 = 2'682'374'400;  // times are written otherwise from 2050 on
  for (std::int64_t until : {kNow + 7 * 86'400, kYear2055}) {
    X509Certificate made = issue("0b0e1d0c-1111-2222-3333-444455556666", until);
    auto read = read_host_certificate(made.pem());
    ASSERT_TRUE(read);
    EXPECT_EQ(read->host_id, "0b0e1d0c-1111-2222-3333-444455556666");
    EXPECT_EQ(read->host_id, made.host_id());
    EXPECT_EQ(read->not_after_s, until);
    EXPECT_EQ(read->not_after_s, made.not_after_s());
  }
}

TEST_F(CertificatesTest, a_certificate_of_no_host_has_no_id) {
  auto door = read_host_certificate(
      authority.issue_server(key, "collector.example", {kNow, kNow + 60}).pem());
  ASSERT_TRUE(door);
  EXPECT_EQ(door->host_id, "");
  auto own = read_host_certificate(authority.certificate().pem());
  ASSERT_TRUE(own);
  EXPECT_EQ(own->host_id, "");
}

TEST_F(CertificatesTest, what_is_no_certificate_is_none) {
  EXPECT_FALSE(read_host_certificate(""));
  EXPECT_FALSE(read_host_certificate("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"));
  EXPECT_FALSE(read_host_certificate(key.pem()));
}

// Each byte of it changed in turn: never more than the long way reads, never another id that it
// does not read too.
TEST_F(CertificatesTest, a_damaged_certificate_is_read_as_the_long_way_reads_it_or_not_at_all) {
  const std::string pem = issue("0b0e1d0c-1111-2222-3333-444455556666", kNow + 60).pem();
  int read_anyway = 0;
  for (std::size_t at = pem.find('\n') + 1; at < pem.rfind("-----END"); at += 3) {
    std::string damaged = pem;
    damaged[at] = damaged[at] == 'A' ? 'B' : 'A';
    auto quick = read_host_certificate(damaged);
    auto whole = X509Certificate::from_pem(damaged);
    if (!quick || !whole) continue;
    ++read_anyway;
    EXPECT_EQ(quick->host_id, whole->host_id()) << at;
    EXPECT_EQ(quick->not_after_s, whole->not_after_s()) << at;
  }
  EXPECT_GT(read_anyway, 20) << "most of it is key and signature";
}

}  // namespace
}  // namespace weir
