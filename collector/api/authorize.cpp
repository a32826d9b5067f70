// Who may call what: see authorize.h.
#include "collector/api/authorize.h"

#include <algorithm>

namespace weir {
namespace {

constexpr Role kAdmin = Role::administrator;

constexpr MethodRow kRows[] = {
    {"weir.v1.AgentService/Connect", Role::host},
    {"weir.v1.EnrolService/Enrol", Role::nobody},
    {"weir.v1.EnrolService/Renew", Role::nobody},
    {"weir.v1.TokenAdminService/CreateToken", kAdmin},
    {"weir.v1.TokenAdminService/ListTokens", kAdmin},
    {"weir.v1.TokenAdminService/RevokeToken", kAdmin},
    {"weir.v1.HostAdminService/ListHosts", kAdmin},
    {"weir.v1.HostAdminService/GetHost", kAdmin},
    {"weir.v1.HostAdminService/RevokeHost", kAdmin},
    {"weir.v1.HostAdminService/SendCommand", kAdmin},
    {"weir.v1.PolicyAdminService/LintPolicy", kAdmin},
    {"weir.v1.PolicyAdminService/ReplayPolicy", kAdmin},
    {"weir.v1.PolicyAdminService/PublishPolicy", kAdmin},
    {"weir.v1.PolicyAdminService/AssignPolicy", kAdmin},
    {"weir.v1.PolicyAdminService/GetPolicy", kAdmin},
    {"weir.v1.PolicyAdminService/GetPolicyStatus", kAdmin},
    {"weir.v1.PolicyAdminService/RollbackPolicy", kAdmin},
    {"weir.v1.PolicyAdminService/GetPolicyKeys", kAdmin},
    {"weir.v1.PolicyAdminService/RotatePolicyKeys", kAdmin},
    {"weir.v1.PolicyAdminService/ListUsedNames", kAdmin},
    {"weir.v1.ReportAdminService/ListReports", kAdmin},
    {"weir.v1.ReportAdminService/GetReport", kAdmin},
    {"weir.v1.ReportAdminService/WatchReports", kAdmin},
    {"weir.v1.RequestAdminService/ListRequests", kAdmin},
    {"weir.v1.RequestAdminService/DecideRequest", kAdmin},
    {"weir.v1.EvidenceAdminService/VerifyEvidence", kAdmin},
};

}  // namespace

std::span<const MethodRow> method_rows() {
  return kRows;
}

bool authorize(const Caller& caller, std::string_view method, std::string_view object) {
  const auto* row = std::ranges::find(kRows, method, &MethodRow::method);
  if (row == std::ranges::end(kRows)) return false;
  if (row->role == Role::nobody) return true;
  if (row->role != caller.role || caller.name.empty()) return false;
  return caller.role != Role::host || object == caller.name;
}

}  // namespace weir
