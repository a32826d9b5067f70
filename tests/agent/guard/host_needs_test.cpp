// What a policy asks of its host: each program that it rests on and that is not there is named.
#include "agent/guard/host_needs.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace weir {
namespace {

constexpr const char* kAll[] = {"weir_exec",        "weir_tcp_sendmsg", "weir_ingress",
                                "weir_wake",        "weir_keep",        "weir_open",
                                "weir_floor",       "weir_floor_ip",    "weir_setsockopt",
                                "weir_family_sent", kLsmProgram};

weir_limit row_per(std::uint32_t per) {
  weir_limit row{};
  row.bytes = 1 << 20;
  row.per = per;
  row.name = 7;
  return row;
}

struct Asked {
  FlatHeader header;
  Asked() {
    header.enforce = 1;
    header.limits = 1;
    header.table[0] = row_per(WEIR_PER_PERSON);
  }
  FlatPolicy policy() const {
    FlatPolicy flat;
    flat.header = &header;
    return flat;
  }
};

struct Host {
  std::vector<KernelProgram> programs;
  HostHas has;
  Host() {
    for (const char* name : kAll) programs.push_back({name, false, true, true, "", ""});
    has.programs = programs;
  }
  Host& without(std::string_view name, const std::string& problem = "Invalid argument") {
    KernelProgram& program = *std::ranges::find(programs, name, &KernelProgram::name);
    program.loaded = program.attached = false;
    program.problem = problem;
    return *this;
  }
};

using Lacks = std::vector<std::string>;

TEST(host_needs, a_host_that_has_all_takes_any_policy) {
  Asked asked;
  asked.header.state.charged_only = asked.header.proves_names = 1;
  asked.header.table[asked.header.limits++] = row_per(WEIR_PER_NONE);
  asked.header.table[1].flags = WEIR_LIMIT_HOLD;
  EXPECT_EQ(lacks_of(asked.policy(), Host().has), Lacks());
  EXPECT_TRUE(check_host(asked.policy(), Host().has));
}

TEST(host_needs, what_enforce_rests_on_is_named_with_the_part_of_the_policy) {
  const Asked asked;
  const auto lack = [&](const char* program) {
    return lacks_of(asked.policy(), Host().without(program).has);
  };
  EXPECT_EQ(lack("weir_exec"), Lacks{"mode: enforce: weir_exec: Invalid argument"});
  EXPECT_EQ(lack("weir_ingress"), Lacks{"mode: enforce: weir_ingress: Invalid argument"});
  EXPECT_EQ(lack("weir_floor"), Lacks{"then: limit: weir_floor: Invalid argument"});
  EXPECT_EQ(lack("weir_floor_ip"), Lacks{"then: limit: weir_floor_ip: Invalid argument"});
  EXPECT_EQ(lack("weir_setsockopt"), Lacks{"then: limit: weir_setsockopt: Invalid argument"});
  EXPECT_EQ(lack("weir_keep"), Lacks{"then: limit: weir_keep: Invalid argument"});
}

// Kernels without them are taken as ever: what they cost is a report or a moment, or has another
// way (docs/decisions/0043).
TEST(host_needs, what_has_another_way_is_no_lack) {
  const Asked asked;
  for (const char* program :
       {"weir_tcp_sendmsg", "weir_family_sent", "weir_open", "weir_wake", kLsmProgram})
    EXPECT_EQ(lacks_of(asked.policy(), Host().without(program).has), Lacks()) << program;
}

TEST(host_needs, a_part_that_is_not_in_the_policy_asks_for_nothing) {
  Asked tree;
  tree.header.table[0] = row_per(WEIR_PER_TREE);  // ends with the boot anyway
  EXPECT_EQ(lacks_of(tree.policy(), Host().without("weir_keep").has), Lacks());
  Asked observes;
  observes.header.enforce = 0;
  observes.header.table[0].flags = WEIR_LIMIT_OBSERVE;
  Host none;
  for (const char* program : kAll) none.without(program);
  EXPECT_EQ(lacks_of(observes.policy(), none.has), Lacks());
  Asked blocks;  // findings only
  blocks.header.limits = 0;
  EXPECT_EQ(lacks_of(blocks.policy(), Host().without("weir_floor").without("weir_keep").has),
            Lacks());
}

TEST(host_needs, a_part_of_a_machine_has_no_devices_and_one_command_no_disk) {
  const Asked asked;
  Host host;
  host.without("weir_floor").without("weir_setsockopt");
  host.has.floor_problem = "cannot attach to the device eth0: No space left on device";
  EXPECT_EQ(lacks_of(asked.policy(), host.has).size(), 3u);
  host.has.floor = false;
  EXPECT_EQ(lacks_of(asked.policy(), host.has), Lacks());
  Host forgets;
  forgets.without("weir_keep").has.keeps = false;
  EXPECT_EQ(lacks_of(asked.policy(), forgets.has), Lacks());
}

TEST(host_needs, what_is_held_names_and_sockets_are_told_in_the_policys_words) {
  Asked asked;
  asked.header.table[0].flags = WEIR_LIMIT_HOLD;
  asked.header.proves_names = asked.header.state.charged_only = 1;
  const Host host =
      Host()
          .without("weir_wake")
          .without("weir_ingress")
          .without(kLsmProgram, "the kernel takes it and does not call it: lsm= lacks bpf");
  EXPECT_EQ(
      lacks_of(asked.policy(), {host.programs}),
      (Lacks{"resolvers: weir_ingress: Invalid argument", "then: hold: weir_wake: Invalid argument",
             "defaults: other_families: prevent: BPF LSM: the kernel takes it and does not "
             "call it: lsm= lacks bpf"}));
  const Result<void> can = check_host(asked.policy(), {host.programs});
  ASSERT_FALSE(can);
  EXPECT_NE(can.error().sentence.find("Invalid argument; then: hold: weir_wake"), std::string::npos)
      << can.error().sentence;
}

// It was loaded, and could not be put in its place.
TEST(host_needs, a_program_that_was_not_attached_is_one_that_is_not_there) {
  const Asked asked;
  Host host;
  KernelProgram& ingress = *std::ranges::find(host.programs, "weir_ingress", &KernelProgram::name);
  ingress.attached = false;  // a probe attaches none
  EXPECT_EQ(lacks_of(asked.policy(), host.has), Lacks());
  ingress.problem = "cannot attach weir_ingress: Argument list too long";
  EXPECT_EQ(lacks_of(asked.policy(), host.has),
            Lacks{"mode: enforce: weir_ingress: cannot attach weir_ingress: Argument list too "
                  "long"});
  host.programs.clear();
  EXPECT_EQ(lacks_of(asked.policy(), {host.programs})[0],
            "mode: enforce: weir_exec: this kernel does not take it");
}

}  // namespace
}  // namespace weir
