// The API as the console door calls it: through the in-process channel, with a principal.
#include "tests/collector/services/services_fixture.h"
#include "weir/v1/enrol.grpc.pb.h"

namespace weir {
namespace {

using grpc::StatusCode;

std::string from_base64url(std::string text) {
  for (char& c : text) c = c == '-' ? '+' : c == '_' ? '/' : c;
  while (text.size() % 4 != 0) text += '=';
  std::string bytes(text.size(), '\0');
  int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                             reinterpret_cast<const unsigned char*>(text.data()),
                             static_cast<int>(text.size()));
  int padding = static_cast<int>(text.size() - text.find_last_not_of('=') - 1);
  bytes.resize(static_cast<std::size_t>(size - padding));
  return bytes;
}

TEST_F(ServicesTest, a_token_enrols_a_host_that_then_connects_with_its_certificate) {
  auto tokens = stub<v1::TokenAdminService>();
  v1::CreateTokenRequest create;
  create.set_group("desks");
  v1::CreateTokenResponse created;
  ASSERT_TRUE(call(&v1::TokenAdminService::Stub::CreateToken, *tokens, create, created).ok());
  EXPECT_EQ(created.token().created_by(), "admin");
  ASSERT_TRUE(created.text().starts_with("weir1."));
  v1::EnrolToken token;
  ASSERT_TRUE(token.ParseFromString(from_base64url(created.text().substr(6))));
  EXPECT_EQ(token.address(), "collector.example:8443");
  EXPECT_EQ(token.door_key_sha256(), std::string(32, 'k'));

  PrivateKey key = PrivateKey::generate();
  v1::EnrolRequest enrol;
  enrol.set_secret(token.secret());
  enrol.set_csr(new_request(key));
  enrol.set_hostname("desk-1");
  v1::EnrolResponse enrolled;
  auto enrolment_stub = stub<v1::EnrolService>();
  ASSERT_TRUE(call(&v1::EnrolService::Stub::Enrol, *enrolment_stub, enrol, enrolled).ok());
  EXPECT_EQ(enrolled.group(), "desks");
  ASSERT_EQ(enrolled.policy_keys_size(), 1);
  EXPECT_EQ(enrolled.policy_keys(0).public_key(), keys.public_key);
  EXPECT_EQ(call(&v1::EnrolService::Stub::Enrol, *enrolment_stub, enrol, enrolled).error_code(),
            StatusCode::PERMISSION_DENIED)
      << "the token is used up";

  auto leaf = X509Certificate::from_der(bytes_of(enrolled.certificate().chain(0)));
  auto ca = X509Certificate::from_der(bytes_of(enrolled.agent_ca(0)));
  Client client(door->port(), ca->pem(), {leaf->pem(), key.pem()});
  ASSERT_TRUE(client.greet());
  v1::ListHostsResponse list;
  auto admin = stub<v1::HostAdminService>();
  ASSERT_TRUE(
      call(&v1::HostAdminService::Stub::ListHosts, *admin, v1::ListHostsRequest(), list).ok());
  ASSERT_EQ(list.hosts_size(), 1);
  EXPECT_EQ(list.hosts(0).host().id(), enrolled.host_id());
  EXPECT_EQ(list.hosts(0).host().name(), "desk-1");
  EXPECT_EQ(list.hosts(0).state(), v1::HostInfo::online);
}

TEST_F(ServicesTest, tokens_are_listed_page_by_page_and_revoked) {
  auto tokens = stub<v1::TokenAdminService>();
  for (int n = 0; n < 5; ++n) (void)token();
  v1::ListTokensRequest request;
  request.set_limit(2);
  std::set<std::string> ids;
  v1::ListTokensResponse page;
  do {
    ASSERT_TRUE(call(&v1::TokenAdminService::Stub::ListTokens, *tokens, request, page).ok());
    for (const v1::TokenInfo& info : page.tokens()) EXPECT_TRUE(ids.insert(info.id()).second);
    request.set_page(page.next_page());
  } while (!page.next_page().empty());
  EXPECT_EQ(ids.size(), 5u);
  v1::RevokeTokenRequest revoke;
  revoke.set_id(*ids.begin());
  v1::RevokeTokenResponse revoked;
  ASSERT_TRUE(call(&v1::TokenAdminService::Stub::RevokeToken, *tokens, revoke, revoked).ok());
  EXPECT_TRUE(revoked.token().revoked());
  revoke.set_id("none");
  EXPECT_EQ(call(&v1::TokenAdminService::Stub::RevokeToken, *tokens, revoke, revoked).error_code(),
            StatusCode::NOT_FOUND);
}

TEST_F(ServicesTest, a_revoked_hosts_stream_ends) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  auto admin = stub<v1::HostAdminService>();
  v1::RevokeHostRequest request;
  request.set_id(agent.issued.host_id);
  v1::RevokeHostResponse response;
  ASSERT_TRUE(call(&v1::HostAdminService::Stub::RevokeHost, *admin, request, response).ok());
  EXPECT_EQ(response.host().state(), v1::HostInfo::revoked);
  EXPECT_EQ(client.end().error_code(), StatusCode::PERMISSION_DENIED);
}

TEST_F(ServicesTest, a_request_with_an_unknown_field_is_refused_however_deep_it_stands) {
  auto admin = stub<v1::ReportAdminService>();
  v1::ListReportsRequest request;
  v1::ReportFilter& filter = *request.mutable_filter();
  filter.GetReflection()->MutableUnknownFields(&filter)->AddVarint(99, 1);
  v1::ListReportsResponse response;
  EXPECT_EQ(
      call(&v1::ReportAdminService::Stub::ListReports, *admin, request, response).error_code(),
      StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServicesTest, a_draft_is_linted_with_places_and_allowed_values) {
  auto admin = stub<v1::PolicyAdminService>();
  v1::LintPolicyRequest request;
  request.set_yaml("apiVersion: weir/v1\nname: x\nmode: sometimes\nrules: [{id: a, then: log}]\n");
  v1::LintPolicyResponse response;
  ASSERT_TRUE(call(&v1::PolicyAdminService::Stub::LintPolicy, *admin, request, response).ok());
  ASSERT_GE(response.problems_size(), 1);
  EXPECT_EQ(response.problems(0).line(), 3u);
  EXPECT_EQ(response.problems(0).field(), "mode");
  EXPECT_NE(response.problems(0).sentence().find("observe"), std::string::npos);
  EXPECT_FALSE(response.has_policy());
  request.set_yaml("apiVersion: weir/v1\nname: x\nmode: observe\nrules: [{id: a, then: log}]\n");
  ASSERT_TRUE(call(&v1::PolicyAdminService::Stub::LintPolicy, *admin, request, response).ok());
  EXPECT_EQ(response.problems_size(), 0) << response.ShortDebugString();
  EXPECT_EQ(response.policy().name(), "x");
}

TEST_F(ServicesTest, a_status_waits_until_the_hosts_have_answered) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  auto admin = stub<v1::PolicyAdminService>();
  v1::PublishPolicyRequest publish;
  publish.set_group("desks");
  *publish.mutable_policy() = policy(3);
  v1::PublishPolicyResponse published;
  ASSERT_TRUE(call(&v1::PolicyAdminService::Stub::PublishPolicy, *admin, publish, published).ok());
  EXPECT_EQ(published.hosts(), 1u);
  std::thread host([&] {
    v1::ConnectResponse response;
    EXPECT_TRUE(client.read(response) && response.has_policy());
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    v1::ConnectRequest state;
    state.mutable_policy_state()->set_number(3);
    state.mutable_policy_state()->set_state(v1::PolicyState::effective);
    EXPECT_TRUE(client.send(state));
  });
  v1::GetPolicyStatusRequest request;
  request.set_group("desks");
  request.set_wait(true);
  v1::GetPolicyStatusResponse status;
  ASSERT_TRUE(call(&v1::PolicyAdminService::Stub::GetPolicyStatus, *admin, request, status).ok());
  host.join();
  EXPECT_EQ(status.desired(), 3u);
  EXPECT_EQ(status.effective(), 1u);
  EXPECT_EQ(status.pending(), 0u);
  v1::GetPolicyRequest get;
  get.set_group("desks");
  v1::GetPolicyResponse got;
  ASSERT_TRUE(call(&v1::PolicyAdminService::Stub::GetPolicy, *admin, get, got).ok());
  EXPECT_EQ(got.policy().SerializeAsString(), publish.policy().SerializeAsString());
  EXPECT_EQ(got.published_by(), "admin");
}

// The host's part is played here; tests/e2e/fleet has a real one.
class Assignment : public ServicesTest {
 protected:
  void SetUp() override {
    ServicesTest::SetUp();
    agent.emplace(enrol());
    host_id = agent->issued.host_id;
    client =
        std::make_unique<Client>(door->port(), authority.certificate().pem(), identity_of(*agent));
    admin = stub<v1::PolicyAdminService>();
    ASSERT_TRUE(fleet_publish("desks", 3));
    ASSERT_TRUE(fleet_publish("labs", 3));
    ASSERT_TRUE(client->hello() && next().has_welcome() && next().has_policy());
    tell("desks", "desks");
  }
  void TearDown() override {
    client.reset();
    admin.reset();
    ServicesTest::TearDown();
  }
  bool fleet_publish(const std::string& group, std::uint32_t number) {
    v1::PublishPolicyRequest publish;
    publish.set_group(group);
    *publish.mutable_policy() = policy(number, group);
    v1::PublishPolicyResponse published;
    return call(&v1::PolicyAdminService::Stub::PublishPolicy, *admin, publish, published).ok();
  }
  v1::ConnectResponse next() {
    v1::ConnectResponse response;
    EXPECT_TRUE(client->read(response));
    return response;
  }
  // Policy 3 of `policy_group` is in force; `group` "": an agent of before.
  void tell(const std::string& group, const std::string& policy_group) {
    v1::ConnectRequest request;
    v1::PolicyState& state = *request.mutable_policy_state();
    v1::PolicyEnvelope envelope;
    EXPECT_TRUE(envelope.ParseFromString(policy(3, policy_group).envelope()));
    const Digest digest = sha256_of({bytes_of(envelope.policy())});
    state.set_number(3);
    state.set_digest(digest.data(), digest.size());
    state.set_state(v1::PolicyState::effective);
    state.set_group(group);
    if (!group.empty()) state.set_policy_group(policy_group);
    EXPECT_TRUE(client->send(request));
  }
  void answer(const std::string& id, v1::CommandResult::Outcome outcome, const char* why = "") {
    v1::ConnectRequest request;
    request.mutable_command_result()->set_id(id);
    request.mutable_command_result()->set_outcome(outcome);
    if (*why != 0) request.mutable_command_result()->add_why()->set_code(why);
    EXPECT_TRUE(client->send(request));
  }
  v1::AssignPolicyRequest request_of(const std::string& group) {
    v1::AssignPolicyRequest assign;
    assign.set_host_id(host_id);
    assign.set_group(group);
    v1::CommandBody body;
    body.set_verb(v1::CommandBody::join_group);
    body.set_host_id(host_id);
    body.set_expires_wall_s(now_s() + 60);
    body.set_id(std::string(31, 'a') + std::to_string(++ids));
    body.mutable_join()->set_group(group);
    body.mutable_join()->set_decided_wall_ms(now_s() * 1'000 + ids);
    sign(body, *assign.mutable_command());
    return assign;
  }
  void sign(const v1::CommandBody& body, v1::Command& command) {
    command.set_id(body.id());
    command.set_body(body.SerializeAsString());
    command.clear_signatures();
    v1::PolicySignature& signature = *command.add_signatures();
    signature.set_key_id(key_id);
    signature.set_signature(
        sign_ed25519(keys.secret_key, "weir command v1", bytes_of(command.body())));
  }
  grpc::Status assign(const v1::AssignPolicyRequest& request, v1::AssignPolicyResponse& answer) {
    return call(&v1::PolicyAdminService::Stub::AssignPolicy, *admin, request, answer);
  }
  std::string group() { return hosts->find(host_id, now_s())->row.group; }
  std::string counts(const std::string& of) {
    RolloutStatus status = rollout->status(of, now_s());
    return fmt::format("{} {} {}", status.effective, status.refused, status.pending);
  }

  std::optional<Agent> agent;
  std::string host_id;
  std::unique_ptr<Client> client;
  std::unique_ptr<v1::PolicyAdminService::Stub> admin;
  int ids = 0;
};

TEST_F(Assignment, an_assigned_host_gets_its_new_groups_policy) {
  ASSERT_TRUE(soon([&] { return counts("desks") == "1 0 0"; }));
  const v1::AssignPolicyRequest request = request_of("labs");
  v1::AssignPolicyResponse assigned;
  std::thread host([&] {
    EXPECT_EQ(next().command().id(), request.command().id());
    EXPECT_EQ(group(), "desks") << "until it says otherwise";
    tell("labs", "desks");
    answer(request.command().id(), v1::CommandResult::done);
    EXPECT_TRUE(next().has_policy()) << "of the same number, and the same text";
  });
  ASSERT_TRUE(assign(request, assigned).ok());
  host.join();
  EXPECT_EQ(assigned.result().outcome(), v1::CommandResult::done);
  EXPECT_EQ(assigned.host().group(), "labs");
  EXPECT_EQ(counts("desks"), "0 0 0");
  EXPECT_EQ(counts("labs"), "0 0 1") << "the number says nothing of another group's policy";
  EXPECT_EQ(rollout->status("labs", now_s()).highest, 0u);
  tell("labs", "labs");
  EXPECT_TRUE(soon([&] { return counts("labs") == "1 0 0"; }));
  EXPECT_EQ(Hosts(*fleet).find(host_id, now_s())->row.group, "labs") << "it outlives a restart";
}

TEST_F(Assignment, a_host_of_before_refuses_it_and_stays_where_it_is) {
  const v1::AssignPolicyRequest request = request_of("labs");
  v1::AssignPolicyResponse assigned;
  tell("", "desks");
  std::thread host([&] {
    EXPECT_TRUE(next().has_command());
    answer(request.command().id(), v1::CommandResult::refused, "command_unknown_part");
  });
  ASSERT_TRUE(assign(request, assigned).ok());
  host.join();
  EXPECT_EQ(assigned.result().outcome(), v1::CommandResult::refused);
  EXPECT_EQ(assigned.host().group(), "desks");
  EXPECT_EQ(counts("desks"), "1 0 0");
  EXPECT_EQ(counts("labs"), "0 0 0");
}

TEST_F(Assignment, what_is_not_signed_for_this_host_and_group_is_refused_here) {
  v1::AssignPolicyResponse assigned;
  auto refused = [&](const v1::AssignPolicyRequest& request, StatusCode code) {
    grpc::Status status = assign(request, assigned);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
  };
  v1::AssignPolicyRequest request = request_of("labs");
  request.clear_command();
  refused(request, StatusCode::INVALID_ARGUMENT);
  request = request_of("labs");
  request.set_group("sales");
  refused(request, StatusCode::INVALID_ARGUMENT);
  request = request_of("labs");
  request.mutable_command()->mutable_signatures(0)->mutable_signature()->at(3) ^= 1;
  refused(request, StatusCode::PERMISSION_DENIED);
  request = request_of("labs");
  request.set_host_id("another");
  refused(request, StatusCode::NOT_FOUND);
  v1::CommandBody body;
  ASSERT_TRUE(body.ParseFromString(request.command().body()));
  request.set_host_id(host_id);
  body.set_host_id("another");
  sign(body, *request.mutable_command());
  refused(request, StatusCode::INVALID_ARGUMENT);
  body.set_host_id(host_id);
  body.set_verb(v1::CommandBody::send_health);
  body.clear_join();
  sign(body, *request.mutable_command());
  refused(request, StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(group(), "desks");
}

TEST_F(Assignment, a_host_that_says_it_joined_what_nobody_ordered_is_not_believed) {
  tell("labs", "labs");
  EXPECT_TRUE(soon([&] { return counts("desks") == "0 0 1"; }));
  EXPECT_EQ(group(), "desks");
  EXPECT_EQ(counts("labs"), "0 0 0");
}

TEST_F(ServicesTest, reports_are_listed_shown_and_watched_as_they_come) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  auto admin = stub<v1::ReportAdminService>();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  auto watch = admin->WatchReports(&context, v1::WatchReportsRequest());
  v1::WatchReportsResponse seen;
  ASSERT_TRUE(watch->Read(&seen));
  EXPECT_FALSE(seen.has_report()) << "a sign of life says that it watches";
  const std::string start = seen.resume();
  ASSERT_TRUE(client.reports(1, 3));
  for (const char* id : {"r1", "r2", "r3"}) {
    ASSERT_TRUE(watch->Read(&seen));
    EXPECT_EQ(seen.report().id(), id);
    EXPECT_EQ(seen.report().host().id(), agent.issued.host_id);
  }
  context.TryCancel();
  EXPECT_EQ(watch->Finish().error_code(), StatusCode::CANCELLED);

  grpc::ClientContext again;
  v1::WatchReportsRequest resume;
  resume.set_resume(start);
  auto resumed = admin->WatchReports(&again, resume);
  for (const char* id : {"", "r1", "r2"}) {
    ASSERT_TRUE(resumed->Read(&seen));
    EXPECT_EQ(seen.report().id(), id) << "nothing is missed in between";
  }
  again.TryCancel();
  (void)resumed->Finish();

  v1::ListReportsRequest list;
  list.set_limit(2);
  v1::ListReportsResponse page;
  ASSERT_TRUE(call(&v1::ReportAdminService::Stub::ListReports, *admin, list, page).ok());
  ASSERT_EQ(page.reports_size(), 2);
  EXPECT_EQ(page.reports(0).id(), "r3");
  list.set_page(page.next_page());
  ASSERT_TRUE(call(&v1::ReportAdminService::Stub::ListReports, *admin, list, page).ok());
  ASSERT_EQ(page.reports_size(), 1);
  EXPECT_EQ(page.reports(0).id(), "r1");
  list.set_page("nonsense");
  EXPECT_EQ(call(&v1::ReportAdminService::Stub::ListReports, *admin, list, page).error_code(),
            StatusCode::INVALID_ARGUMENT);

  v1::GetReportRequest get;
  get.set_id("r2");
  v1::GetReportResponse got;
  ASSERT_TRUE(call(&v1::ReportAdminService::Stub::GetReport, *admin, get, got).ok());
  EXPECT_EQ(got.explanation().report().id(), "r2");
  EXPECT_GE(got.explanation().steps_size(), 1);
  get.set_id("none");
  EXPECT_EQ(call(&v1::ReportAdminService::Stub::GetReport, *admin, get, got).error_code(),
            StatusCode::NOT_FOUND);
}

TEST_F(ServicesTest, a_draft_is_tried_on_what_the_groups_hosts_reported) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  ASSERT_TRUE(client.reports(1, 3));
  ASSERT_TRUE(client.acknowledged(3));
  auto admin = stub<v1::PolicyAdminService>();
  v1::ReplayPolicyRequest request;
  to_proto(*default_policy(), *request.mutable_policy());
  request.set_group("desks");
  request.mutable_from()->set_seconds(1);
  v1::ReplayPolicyResponse response;
  ASSERT_TRUE(call(&v1::PolicyAdminService::Stub::ReplayPolicy, *admin, request, response).ok());
  EXPECT_EQ(response.reports(), 3u);
  EXPECT_FALSE(response.cut());
  request.mutable_from()->set_seconds(2'000'000'000);
  ASSERT_TRUE(call(&v1::PolicyAdminService::Stub::ReplayPolicy, *admin, request, response).ok());
  EXPECT_EQ(response.reports(), 0u) << "all are older";
  request.mutable_from()->set_seconds(1);
  request.set_group("labs");
  ASSERT_TRUE(call(&v1::PolicyAdminService::Stub::ReplayPolicy, *admin, request, response).ok());
  EXPECT_EQ(response.reports(), 0u) << "of another group";
  request.mutable_policy()->mutable_rules()->Add()->add_limits(7);
  EXPECT_EQ(
      call(&v1::PolicyAdminService::Stub::ReplayPolicy, *admin, request, response).error_code(),
      StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServicesTest, evidence_is_walked_and_a_changed_row_is_named) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  for (auto [first, count] : {std::pair{1, 4}, {5, 2}, {7, 1}, {8, 2}}) {
    ASSERT_TRUE(client.reports(static_cast<std::uint64_t>(first), count));
    ASSERT_TRUE(client.acknowledged(static_cast<std::uint64_t>(first + count - 1)));
  }
  auto admin = stub<v1::EvidenceAdminService>();
  v1::VerifyEvidenceRequest request;
  request.set_host_id(agent.issued.host_id);
  v1::VerifyEvidenceResponse response;
  ASSERT_TRUE(
      call(&v1::EvidenceAdminService::Stub::VerifyEvidence, *admin, request, response).ok());
  EXPECT_EQ(response.records(), 9u);
  EXPECT_EQ(response.breaks_size(), 0) << response.ShortDebugString();
  {
    auto db = Database::open(day_path(folder.path(), fleet->days()[0]), Database::Mode::write);
    Statement row(*db, "SELECT records FROM batches WHERE first = 1");
    ASSERT_TRUE(row.next());
    std::string records = row.text(0);
    row.reset();
    records.back() ^= 1;  // of 4's body
    Statement change(*db, "UPDATE batches SET records = ?1 WHERE first = 1");
    ASSERT_TRUE(change.bind(bytes_of(records)).run());
    ASSERT_TRUE(
        db->run("DELETE FROM batches WHERE first = 7;"
                "UPDATE batches SET records = substr(records, 1, length(records) - 1), count = 2 "
                "WHERE first = 8"));
  }
  ASSERT_TRUE(
      call(&v1::EvidenceAdminService::Stub::VerifyEvidence, *admin, request, response).ok());
  ASSERT_EQ(response.breaks_size(), 3) << response.ShortDebugString();
  EXPECT_EQ(response.breaks(0).at().sequence(), 5u) << "4 was changed: 5 no longer follows it";
  EXPECT_EQ(response.breaks(1).at().sequence(), 8u) << "7 was taken out";
  EXPECT_EQ(response.breaks(2).at().sequence(), 9u) << "9 was cut short";
}

TEST_F(ServicesTest, a_list_over_a_time_that_was_removed_says_so) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  for (std::uint64_t n = 1; n <= 3; ++n, now_ns += kDayNs) {
    ASSERT_TRUE(client.reports(n, 1));
    ASSERT_TRUE(client.acknowledged(n));
  }
  auto admin = stub<v1::ReportAdminService>();
  v1::ListReportsRequest request;
  v1::ListReportsResponse response;
  ASSERT_TRUE(call(&v1::ReportAdminService::Stub::ListReports, *admin, request, response).ok());
  EXPECT_EQ(response.reports_size(), 3);
  EXPECT_FALSE(response.has_removed_before());
  ASSERT_TRUE(fleet->forget_days(20'001));
  ASSERT_TRUE(call(&v1::ReportAdminService::Stub::ListReports, *admin, request, response).ok());
  EXPECT_EQ(response.reports_size(), 2);
  EXPECT_EQ(response.removed_before().seconds(), 20'001 * 86'400);
  request.mutable_filter()->mutable_from()->set_seconds(20'001 * 86'400);
  ASSERT_TRUE(call(&v1::ReportAdminService::Stub::ListReports, *admin, request, response).ok());
  EXPECT_FALSE(response.has_removed_before()) << "nobody asked for what was before";
  request.clear_filter();
  request.set_limit(1);
  ASSERT_TRUE(call(&v1::ReportAdminService::Stub::ListReports, *admin, request, response).ok());
  EXPECT_FALSE(response.has_removed_before()) << "there is more that was not";
}

TEST_F(ServicesTest, the_services_end_with_watches_open) {
  auto admin = stub<v1::ReportAdminService>();
  grpc::ClientContext context;
  auto watch = admin->WatchReports(&context, v1::WatchReportsRequest());
  v1::WatchReportsResponse seen;
  ASSERT_TRUE(watch->Read(&seen));
  std::thread ends([&] { services->stop(); });
  while (watch->Read(&seen)) {
  }
  EXPECT_FALSE(watch->Finish().ok());
  ends.join();
}

}  // namespace
}  // namespace weir
