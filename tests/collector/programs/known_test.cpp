// What colleagues use, from three hosts' usage rows to a signed policy that calls it known: by the
// real collector and weirctl. Nothing of it loosens a desk before an administrator signs it.
#include "proto/map/envelope_proto.h"
#include "proto/map/policy_proto.h"
#include "tests/collector/programs/programs_fixture.h"

namespace weir {
namespace {

class KnownPlaces : public ProgramsTest {
 protected:
  // A host of the group "desks" that tells what its person used.
  std::unique_ptr<Client> tell(std::uint32_t uid, const std::vector<std::string>& proven,
                               const std::vector<std::string>& said = {}) {
    std::unique_ptr<Client> client = connect(enrol("desk-" + std::to_string(uid)));
    EXPECT_TRUE(client->greet());
    std::vector<v1::Record> records;
    const auto add = [&](const std::string& destination, bool name_proven) {
      v1::UsageRow& row = *records.emplace_back().mutable_usage();
      row.mutable_person()->mutable_user()->set_uid(uid);
      row.set_program("/usr/bin/firefox");
      row.set_destination(destination);
      row.set_trust(v1::Trust::unknown);
      row.set_name_proven(name_proven);
    };
    for (const std::string& name : proven) add(name, true);
    for (const std::string& name : said) add(name, false);
    EXPECT_TRUE(client->send_records(v1::Lane::telemetry, 1, records));
    EXPECT_TRUE(client->acknowledged(records.size(), v1::Lane::telemetry));
    return client;
  }
  std::string path(const std::string& name) const { return folder.path() + "/" + name; }
  void write_policy(const std::string& known) {
    std::ofstream(path("policy.yaml"))
        << "apiVersion: weir/v1\nname: desks\nmode: enforce\n"
           "networks: {office: {interface: tun0}}\n"
           "resolvers: [{address: 10.0.0.53, via: office}]\n"
           "destinations: {known: ["
        << known
        << "]}\nrules:\n  - {id: all, when: {trust: unknown}, then: {limit: {bytes: 1MiB, per: "
           "person}}}\n";
  }
};

TEST_F(KnownPlaces, what_three_colleagues_used_with_proof_is_a_list_that_is_signed) {
  auto first = tell(1001, {"press.example", "mine.example"}, {"claimed.example"});
  auto second = tell(1002, {"press.example", "github.io"}, {"claimed.example"});
  const std::vector<std::string> ask{"policy", "known", "--group", "desks"};
  Ran known = ctl(ask);
  EXPECT_EQ(known.status, 0) << known.err;
  EXPECT_EQ(known.err, "0 domains out of 6 rows\n") << "two are not enough";
  auto third = tell(1003, {"press.example"}, {"claimed.example"});
  known = ctl(ask);
  EXPECT_EQ(known.status, 0) << known.err;
  EXPECT_EQ(known.err, "1 domains out of 8 rows\n");
  EXPECT_TRUE(known.out.starts_with("# Domains that at least 3 persons of group desks used"));
  EXPECT_TRUE(known.out.ends_with("\npress.example # 3\n")) << known.out;
  EXPECT_EQ(known.out.find("claimed"), std::string::npos);
  EXPECT_EQ(ctl({"policy", "known", "--group", "labs"}).err, "0 domains out of 0 rows\n");
  EXPECT_EQ(ctl({"policy", "known", "--group", "desks", "--persons", "1"}).status, 2)
      << "what one person uses is theirs";

  // The desk is loosened by what is signed, and by nothing else.
  write_policy("{list: used.txt}, {domain: shop.example}");
  Ran published = ctl({"policy", "publish", path("policy.yaml"), "--group", "desks"});
  EXPECT_EQ(published.status, 2);
  EXPECT_NE(published.err.find("/used.txt: there is no such file"), std::string::npos)
      << published.err;
  std::ofstream(path("used.txt")) << known.out;
  const std::string lint = fmt::format("{} policy lint {} 2>{}", WEIRCTL, path("policy.yaml"),
                                       path("lint.err"));  // it takes no --config
  EXPECT_EQ(std::system(lint.c_str()), 0);
  EXPECT_EQ(content(path("lint.err")),
            path("policy.yaml") + ": 1 rules, 2 known domains, no fault\n");
  published = ctl({"policy", "publish", path("policy.yaml"), "--group", "desks"});
  EXPECT_EQ(published.status, 0) << published.err;
  v1::ConnectResponse response;
  while (!response.has_policy() && first->read(response)) {
  }
  auto envelope = envelope_from_bytes(bytes_of(response.policy().envelope()));
  ASSERT_TRUE(envelope) << envelope.error().sentence;
  auto policy = policy_from_bytes(bytes_of(envelope->policy));
  ASSERT_TRUE(policy) << policy.error().sentence;
  EXPECT_EQ(policy->known, "press.example\nshop.example\n");
}

TEST_F(KnownPlaces, a_list_of_fifty_thousand_reaches_a_host_whole) {
  std::unique_ptr<Client> client = connect(enrol("desk"));
  ASSERT_TRUE(client->greet());
  {
    std::ofstream list(path("popular.txt"));
    for (int n = 0; n < 50'000; ++n) list << "name" << n << ".com\n";
  }
  write_policy("{list: popular.txt}");
  const Ran published = ctl({"policy", "publish", path("policy.yaml"), "--group", "desks"});
  EXPECT_EQ(published.status, 0) << published.err;
  v1::ConnectResponse response;
  while (!response.has_policy() && client->read(response)) {
  }
  auto envelope = envelope_from_bytes(bytes_of(response.policy().envelope()));
  ASSERT_TRUE(envelope) << envelope.error().sentence;
  auto policy = policy_from_bytes(bytes_of(envelope->policy));
  ASSERT_TRUE(policy) << policy.error().sentence;
  EXPECT_EQ(std::count(policy->known.begin(), policy->known.end(), '\n'), 50'000);
  RecordProperty("policy_bytes", static_cast<int>(envelope->policy.size()));
}

}  // namespace
}  // namespace weir
