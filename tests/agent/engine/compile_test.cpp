// What the compile child answers for an envelope: rows and bytes, or why not.
#include "agent/engine/compile.h"

#include <gtest/gtest.h>

#include "agent/guard/compiled.h"
#include "agent/guard/signed_reading.h"
#include "core/base/sha256.h"
#include "core/policy/default_policy.h"
#include "proto/map/envelope_proto.h"
#include "proto/map/policy_proto.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

using wire::Refusal;

Envelope good() {
  Policy policy = *default_policy();
  policy.number = 9;
  return {policy_bytes(policy), 9, 100, 200, "support", 0};
}

struct Answer {
  std::vector<std::uint8_t> bytes;
  CompiledEnvelope view;
};

Answer compiled(const std::string& bytes) {
  Answer answer{compile_envelope(bytes_of(bytes), {}), {}};
  auto view = read_compiled(answer.bytes);
  EXPECT_TRUE(view) << view.error().sentence;
  if (view) answer.view = *view;
  return answer;
}

Refusal refusal_of(const Envelope& envelope) {
  return compiled(envelope_bytes(envelope)).view.refusal();
}

TEST(compile, a_good_envelope_gives_its_terms_rows_and_bytes) {
  Envelope envelope = good();
  Answer answer = compiled(envelope_bytes(envelope));
  const CompiledHeader& header = *answer.view.header;
  EXPECT_EQ(answer.view.refusal(), Refusal::none);
  EXPECT_EQ(header.number, 9u);
  EXPECT_EQ(header.not_before_wall_s, 100);
  EXPECT_EQ(header.expires_wall_s, 200);
  EXPECT_EQ(answer.view.target(), "support");
  EXPECT_EQ(header.digest, sha256(bytes_of(envelope.policy)));
  EXPECT_EQ(answer.view.flat.header->policy_number, 9u);
  EXPECT_TRUE(policy_from_bytes(answer.view.policy));
}

TEST(compile, an_envelope_that_is_cut_anywhere_is_refused_or_says_less) {
  const std::string whole = envelope_bytes(good());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    Answer answer = compiled(whole.substr(0, size));
    EXPECT_TRUE(answer.view.refusal() == Refusal::damaged || answer.view.target() != "support" ||
                answer.view.header->expires_wall_s != 200)
        << size;
  }
}

TEST(compile, a_policy_of_another_number_than_its_envelope_is_refused) {
  Envelope envelope = good();
  envelope.number = 10;
  EXPECT_EQ(refusal_of(envelope), Refusal::damaged);
}

TEST(compile, garbage_inside_and_a_policy_beyond_its_size_are_refused) {
  Envelope envelope = good();
  envelope.policy = "no policy";
  EXPECT_EQ(refusal_of(envelope), Refusal::damaged);
  envelope.policy.assign(kMaxPolicyBytesInside + 1, 'x');
  EXPECT_EQ(refusal_of(envelope), Refusal::too_large);
}

TEST(compile, a_target_that_is_no_name_is_another_groups) {
  Envelope envelope = good();
  envelope.target.assign(kMaxGroup + 1, 'g');
  EXPECT_EQ(refusal_of(envelope), Refusal::other_group);
}

TEST(compile, a_command_s_reading_says_whether_the_name_of_its_exception_was_proven) {
  v1::CommandBody body;
  body.set_id(std::string(32, 'a'));
  body.set_verb(v1::CommandBody::except);
  body.set_host_id("host-1");
  body.set_expires_wall_s(100);
  body.set_lease_s(60);
  v1::Exception& exception = *body.mutable_exception();
  exception.add_sets_aside("uploads");
  exception.mutable_person()->mutable_user()->set_uid(1000);
  exception.set_bytes(1);
  exception.mutable_destination()->set_name("files.example");
  const auto proven = [&body] {
    const std::string bytes = body.SerializeAsString();
    Result<CommandReading> reading = read_command_reading(read_command(bytes_of(bytes)));
    EXPECT_TRUE(reading) << reading.error().sentence;
    EXPECT_EQ(reading->refusal, 0u) << reading->words.data();
    return reading->exception.proven;
  };
  EXPECT_EQ(proven(), 0u);
  exception.mutable_destination()->set_name_proven(true);
  EXPECT_EQ(proven(), 1u);
}

}  // namespace
}  // namespace weir
