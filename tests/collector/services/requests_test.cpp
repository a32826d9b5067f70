// Requests for exceptions: from a host's record to an administrator's decision and back to the
// host.
#include <google/protobuf/util/message_differencer.h>

#include <future>

#include "tests/collector/services/services_fixture.h"

namespace weir {
namespace {

using grpc::StatusCode;
using Body = v1::CommandBody;

v1::ExceptionRequest question(const std::string& id, std::uint32_t uid = 1'000) {
  v1::ExceptionRequest request;
  request.set_id(id);
  request.mutable_person()->mutable_user()->set_uid(uid);
  request.mutable_destination()->set_name("partner.example");
  request.set_rule("unknown-places");
  request.set_justification("the quarter's figures");
  request.set_bytes(64 << 10);
  request.set_duration_s(3'600);
  return request;
}

class RequestsTest : public ServicesTest {
 protected:
  void SetUp() override {
    ServicesTest::SetUp();
    now_ns = now_s() * 1'000'000'000;  // the services look at the real clock
    agent = enrol();
    admin = stub<v1::RequestAdminService>();
    client.emplace(door->port(), authority.certificate().pem(), identity_of(agent));
    ASSERT_TRUE(client->greet());
  }
  void TearDown() override {
    client.reset();
    admin.reset();
    ServicesTest::TearDown();
  }

  // As the agent tells it, in the audit lane.
  void ask(const std::vector<v1::ExceptionRequest>& questions) {
    std::vector<v1::Record> sent;
    for (const v1::ExceptionRequest& one : questions)
      *sent.emplace_back().mutable_exception_request() = one;
    ASSERT_TRUE(client->send_records(v1::Lane::audit, next, sent));
    next += questions.size();
    ASSERT_TRUE(client->acknowledged(next - 1, v1::Lane::audit));
  }
  std::vector<v1::RequestInfo> list(v1::RequestInfo::State state = {}, const std::string& id = "") {
    v1::ListRequestsRequest request;
    std::vector<v1::RequestInfo> all;
    request.set_state(state);
    request.set_id(id);
    do {
      v1::ListRequestsResponse page;
      EXPECT_TRUE(call(&v1::RequestAdminService::Stub::ListRequests, *admin, request, page).ok());
      all.insert(all.end(), page.requests().begin(), page.requests().end());
      request.set_page(page.next_page());
    } while (!request.page().empty());
    return all;
  }
  Body approval(const v1::ExceptionRequest& asked, int command) {
    Body body;
    body.set_verb(Body::except);
    body.set_host_id(agent.issued.host_id);
    body.set_expires_wall_s(now_s() + 3'600);
    body.set_lease_s(3'600);
    body.set_id(fmt::format("{:032x}", command));
    v1::Exception& exception = *body.mutable_exception();
    exception.set_id("e1");
    exception.set_request_id(asked.id());
    exception.add_sets_aside(asked.rule());
    *exception.mutable_person() = asked.person();
    *exception.mutable_destination() = asked.destination();
    exception.set_bytes(asked.bytes());
    exception.mutable_until()->set_seconds(now_s() + 3'600);
    return body;
  }
  Body denial(const v1::ExceptionRequest& asked, int command) {
    Body body;
    body.set_verb(Body::deny_request);
    body.set_host_id(agent.issued.host_id);
    body.set_expires_wall_s(now_s() + 3'600);
    body.set_id(fmt::format("{:032x}", command));
    body.mutable_exception()->set_request_id(asked.id());
    return body;
  }
  v1::DecideRequestRequest decision(const std::string& id, const Body& body) {
    v1::DecideRequestRequest request;
    request.set_id(id);
    request.set_approve(body.verb() == Body::except);
    request.set_note("for the audit");
    request.mutable_command()->set_id(body.id());
    request.mutable_command()->set_body(body.SerializeAsString());
    v1::PolicySignature& signature = *request.mutable_command()->add_signatures();
    signature.set_key_id(key_id);
    signature.set_signature(
        sign_ed25519(keys.secret_key, "weir command v1", bytes_of(request.command().body())));
    return request;
  }
  grpc::Status decide(const v1::DecideRequestRequest& request) {
    return call(&v1::RequestAdminService::Stub::DecideRequest, *admin, request, answer);
  }
  // The host reads what was decided and answers it, while the administrator waits.
  grpc::Status decide(const v1::DecideRequestRequest& request, v1::CommandResult::Outcome outcome) {
    auto decided = std::async(std::launch::async, [&] { return decide(request); });
    v1::ConnectResponse response;
    EXPECT_TRUE(client->read(response));
    told = response.command();
    v1::ConnectRequest result;
    result.mutable_command_result()->set_id(told.id());
    result.mutable_command_result()->set_outcome(outcome);
    if (outcome == v1::CommandResult::refused)
      result.mutable_command_result()->add_why()->set_code("command_not_built");
    EXPECT_TRUE(client->send(result));
    return decided.get();
  }

  Agent agent{PrivateKey::generate(), {}};
  std::optional<Client> client;
  std::unique_ptr<v1::RequestAdminService::Stub> admin;
  std::uint64_t next = 1;
  v1::DecideRequestResponse answer;
  v1::Command told;  // to the host
};

TEST_F(RequestsTest, what_a_person_asks_is_listed_under_the_host_that_told_it) {
  v1::ExceptionRequest asked = question("r-1");
  ask({asked});
  std::vector<v1::RequestInfo> found = list(v1::RequestInfo::open);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(found[0].request(), asked));
  EXPECT_EQ(found[0].host().id(), agent.issued.host_id);
  EXPECT_EQ(found[0].state(), v1::RequestInfo::open);
  EXPECT_GT(found[0].ends().seconds(), now_s() + 3'600);
  EXPECT_EQ(list({}, "r-1").size(), 1u);
  EXPECT_EQ(list({}, "r-2").size(), 0u);
  EXPECT_EQ(list(v1::RequestInfo::denied).size(), 0u);
}

TEST_F(RequestsTest, a_page_goes_on_where_the_one_before_ended) {
  for (int n = 1; n <= 5; ++n) ask({question(fmt::format("r-{}", n))});
  v1::ListRequestsRequest request;
  request.set_limit(2);
  std::string seen;
  do {
    v1::ListRequestsResponse response;
    ASSERT_TRUE(call(&v1::RequestAdminService::Stub::ListRequests, *admin, request, response).ok());
    for (const v1::RequestInfo& info : response.requests()) seen += info.request().id() + " ";
    request.set_page(response.next_page());
  } while (!request.page().empty());
  EXPECT_EQ(seen, "r-5 r-4 r-3 r-2 r-1 ");
  request.set_page("nonsense");
  v1::ListRequestsResponse response;
  EXPECT_EQ(
      call(&v1::RequestAdminService::Stub::ListRequests, *admin, request, response).error_code(),
      StatusCode::INVALID_ARGUMENT);
}

TEST_F(RequestsTest, an_approval_reaches_the_host_as_it_was_signed_and_its_answer_comes_back) {
  const v1::ExceptionRequest asked = question("r-1");
  ask({asked});
  const v1::DecideRequestRequest request = decision("r-1", approval(asked, 1));
  grpc::Status status = decide(request, v1::CommandResult::done);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(told.SerializeAsString(), request.command().SerializeAsString());
  EXPECT_EQ(answer.request().state(), v1::RequestInfo::approved);
  EXPECT_EQ(answer.request().decided_by(), "admin");
  EXPECT_EQ(answer.request().note(), "for the audit");
  EXPECT_EQ(answer.request().exception().bytes(), 64u << 10);
  EXPECT_EQ(answer.request().result().outcome(), v1::CommandResult::done);

  EXPECT_TRUE(decide(request).ok()) << "the same again asks again";
  EXPECT_EQ(answer.request().result().outcome(), v1::CommandResult::done);
  status = decide(decision("r-1", denial(asked, 2)));
  EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(status.error_message(), "admin has approved the request already");
  EXPECT_EQ(list(v1::RequestInfo::approved).size(), 1u);
}

TEST_F(RequestsTest, a_denial_is_recorded_and_the_host_is_told) {
  const v1::ExceptionRequest asked = question("r-1");
  ask({asked});
  ASSERT_TRUE(decide(decision("r-1", denial(asked, 1)), v1::CommandResult::done).ok());
  Body body;
  ASSERT_TRUE(body.ParseFromString(told.body()));
  EXPECT_EQ(body.verb(), Body::deny_request);
  EXPECT_EQ(answer.request().state(), v1::RequestInfo::denied);
  EXPECT_FALSE(answer.request().has_exception());
  EXPECT_EQ(decide(decision("r-1", approval(asked, 2))).error_message(),
            "admin has denied the request already");
}

TEST_F(RequestsTest, what_its_host_refused_can_be_decided_anew) {
  const v1::ExceptionRequest asked = question("r-1");
  ask({asked});
  ASSERT_TRUE(decide(decision("r-1", approval(asked, 1)), v1::CommandResult::refused).ok());
  EXPECT_EQ(answer.request().result().outcome(), v1::CommandResult::refused);
  EXPECT_FALSE(answer.request().result().why(0).text().empty());
  ASSERT_TRUE(decide(decision("r-1", approval(asked, 2)), v1::CommandResult::done).ok());
  EXPECT_EQ(answer.request().result().outcome(), v1::CommandResult::done);
}

TEST_F(RequestsTest, a_host_that_is_away_is_told_when_it_is_back) {
  const v1::ExceptionRequest asked = question("r-1");
  ask({asked});
  client.reset();
  auto decided =
      std::async(std::launch::async, [&] { return decide(decision("r-1", approval(asked, 1))); });
  ASSERT_TRUE(soon([&] { return list(v1::RequestInfo::approved).size() == 1; }));
  client.emplace(door->port(), authority.certificate().pem(), identity_of(agent));
  ASSERT_TRUE(client->greet());
  v1::ConnectResponse response;
  ASSERT_TRUE(client->read(response));
  EXPECT_EQ(response.command().id(), fmt::format("{:032x}", 1));
  v1::ConnectRequest result;
  result.mutable_command_result()->set_id(response.command().id());
  result.mutable_command_result()->set_outcome(v1::CommandResult::done);
  ASSERT_TRUE(client->send(result));
  ASSERT_TRUE(decided.get().ok());
  EXPECT_EQ(answer.request().result().outcome(), v1::CommandResult::done);
}

TEST_F(RequestsTest, what_is_not_for_this_request_is_refused_and_decides_nothing) {
  const v1::ExceptionRequest asked = question("r-1"), other = question("r-2", 1'001);
  ask({asked, other});
  const Body good = approval(asked, 1);
  auto wrong = [&](const std::function<void(Body&)>& change) {
    Body body = good;
    change(body);
    grpc::Status status = decide(decision("r-1", body));
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
    return status.error_message();
  };
  v1::Exception* e = nullptr;
  auto exception = [&](const std::function<void()>& change) {
    return wrong([&](Body& body) {
      e = body.mutable_exception();
      change();
    });
  };
  EXPECT_EQ(wrong([](Body& body) { body.set_host_id("another"); }),
            "the command is for another host");
  EXPECT_EQ(exception([&] { e->set_request_id("r-2"); }), "the command is about another request");
  EXPECT_EQ(exception([&] { *e->mutable_person() = other.person(); }),
            "the exception is for another person than the request");
  EXPECT_EQ(exception([&] { e->mutable_destination()->set_name("elsewhere.example"); }),
            "the exception is for another destination than the request");
  EXPECT_EQ(exception([&] { e->add_sets_aside("tunnels"); }),
            "the exception is from other rules than the request's");
  EXPECT_EQ(exception([&] { e->set_bytes(asked.bytes() + 1); }),
            "the exception is for 65537 bytes, 65536 were asked for");
  EXPECT_EQ(exception([&] { e->clear_bytes(); }),
            "the exception says no number of bytes, the request does");
  EXPECT_EQ(exception([&] { e->set_customers(5); }), "nobody asked for customers");
  EXPECT_EQ(wrong([](Body& body) { body.set_lease_s(7'200); }),
            "the exception is for 7200 s, 3600 were asked for");
  EXPECT_EQ(exception([&] { e->mutable_until()->set_seconds(now_s() - 1); }),
            "the exception has ended already");
  EXPECT_EQ(wrong([](Body& body) { body.set_verb(Body::send_health); }),
            "a denial comes with a command that tells it (deny_request)");
  v1::DecideRequestRequest other_verb = decision("r-1", denial(asked, 1));
  other_verb.set_approve(true);
  EXPECT_EQ(decide(other_verb).error_message(), "an approval comes with an exception (except)");
  v1::DecideRequestRequest denied = decision("r-1", good);
  denied.set_approve(false);
  EXPECT_EQ(decide(denied).error_message(),
            "a denial comes with a command that tells it (deny_request)");
  v1::DecideRequestRequest unsigned_one = decision("r-1", good);
  unsigned_one.mutable_command()->clear_signatures();
  EXPECT_EQ(decide(unsigned_one).error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(decide(decision("r-3", good)).error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(list(v1::RequestInfo::open).size(), 2u);
  EXPECT_TRUE(commands->of_host(host(agent)->row.number, now_s()).empty());

  Body more = good;
  more.mutable_exception()->set_bytes(1 << 20);
  v1::DecideRequestRequest said = decision("r-1", more);
  said.set_beyond_asked(true);
  EXPECT_TRUE(decide(said, v1::CommandResult::done).ok()) << "the administrator said so";
}

TEST_F(RequestsTest, a_flood_ends_its_own_oldest_and_hides_nobody_else) {
  Agent quiet = enrol();
  {
    Client other(door->port(), authority.certificate().pem(), identity_of(quiet));
    ASSERT_TRUE(other.greet());
    v1::Record record;
    *record.mutable_exception_request() = question("quiet");
    ASSERT_TRUE(other.send_records(v1::Lane::audit, 1, {record}));
    ASSERT_TRUE(other.acknowledged(1, v1::Lane::audit));
  }
  ask({question("neighbour", 1'001)});
  std::vector<v1::ExceptionRequest> flood;
  for (int n = 0; n < 300; ++n) flood.push_back(question(fmt::format("flood-{}", n), 1'002));
  ask(flood);
  std::vector<v1::RequestInfo> open = list(v1::RequestInfo::open);
  ASSERT_EQ(open.size(), kMaxOpenOfPerson + 2);
  EXPECT_EQ(open.front().request().id(), "flood-299");
  EXPECT_EQ(open[kMaxOpenOfPerson].request().id(), "neighbour");
  EXPECT_EQ(open.back().request().id(), "quiet");
  EXPECT_EQ(records->counters().requests.displaced, 300 - kMaxOpenOfPerson);
  EXPECT_EQ(list(v1::RequestInfo::expired).size(), kMaxEndedOfHost) << "of the ended some are kept";
  EXPECT_EQ(list(v1::RequestInfo::expired)[0].note(), "newer requests took its place");

  flood.clear();
  for (std::uint32_t n = 0; n < 100; ++n) flood.push_back(question(fmt::format("many-{}", n), n));
  ask(flood);
  EXPECT_EQ(list(v1::RequestInfo::open).size(), kMaxOpenOfHost + 1) << "of many persons too";
  EXPECT_EQ(decide(decision("many-67", approval(question("many-67", 67), 1))).error_message(),
            "the request has expired: newer requests took its place");
}

TEST_F(RequestsTest, a_record_that_is_no_request_or_another_lane_s_asks_for_nothing) {
  v1::ExceptionRequest large = question("large");
  large.set_justification(std::string(10'000, 'x'));
  ask({question(""), question("Not An Id"), large, question(std::string(33, 'a'))});
  EXPECT_TRUE(list().empty());
  EXPECT_EQ(rows({host(agent)->row.number, StoreLane::audit}, 1), "1:4 2:4 3:4 4:4")
      << "stored as they came, and marked";
  Client alerts(door->port(), authority.certificate().pem(), identity_of(agent));
  ASSERT_TRUE(alerts.greet());
  v1::Record record;
  *record.mutable_exception_request() = question("r-1");
  ASSERT_TRUE(alerts.send_records(v1::Lane::alert, 1, {record}));
  ASSERT_TRUE(alerts.acknowledged(1));
  EXPECT_TRUE(list().empty());
}

}  // namespace
}  // namespace weir
