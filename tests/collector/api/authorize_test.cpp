// Every method and every principal: who may call what.
#include "collector/api/authorize.h"

#include <gtest/gtest.h>

#include <string>

namespace weir {
namespace {

constexpr Caller kNobody{};
constexpr Caller kHost{Role::host, "7c9e6679"};
constexpr Caller kAdministrator{Role::administrator, "admin"};

bool is_of(const MethodRow& row, std::string_view service) {
  return row.method.starts_with(service);
}

TEST(authorize, every_method_and_every_principal) {
  ASSERT_GE(method_rows().size(), 23u);
  for (const MethodRow& row : method_rows()) {
    bool enrolment = is_of(row, "weir.v1.EnrolService/");
    bool agents = is_of(row, "weir.v1.AgentService/");
    EXPECT_EQ(authorize(kNobody, row.method, ""), enrolment) << row.method;
    EXPECT_EQ(authorize(kHost, row.method, kHost.name), enrolment || agents) << row.method;
    EXPECT_EQ(authorize(kAdministrator, row.method, ""), !agents) << row.method;
  }
}

TEST(authorize, a_host_speaks_for_itself_only) {
  EXPECT_TRUE(authorize(kHost, "weir.v1.AgentService/Connect", "7c9e6679"));
  EXPECT_FALSE(authorize(kHost, "weir.v1.AgentService/Connect", "another"));
  EXPECT_FALSE(authorize(kHost, "weir.v1.AgentService/Connect", ""));
}

TEST(authorize, a_role_without_a_name_is_nobody) {
  EXPECT_FALSE(authorize({Role::administrator, ""}, "weir.v1.HostAdminService/ListHosts", ""));
  EXPECT_FALSE(authorize({Role::host, ""}, "weir.v1.AgentService/Connect", ""));
}

TEST(authorize, what_has_no_row_is_denied) {
  for (const char* method : {"", "weir.v1.HostAdminService/RunCommand", "weir.v1.HostAdminService",
                             "/weir.v1.HostAdminService/ListHosts", "grpc.health.v1.Health/Check"})
    EXPECT_FALSE(authorize(kAdministrator, method, "")) << method;
}

}  // namespace
}  // namespace weir
