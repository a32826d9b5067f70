// Looks a flow up in the catalogue.
#include "core/detect/upload_service.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weir {
namespace {

using By = UploadService::By;

// Categories of data/catalogue.txt whose services keep or pass on what is sent to them. The others
// (remote access, tunnels, encrypted DNS …) have detectors of their own.
constexpr std::array<std::pair<std::string_view, std::string_view>, 19> kTechniques = {{
    {"ai_chat", "T1567"},
    {"backup", "T1567.002"},
    {"cloud_storage", "T1567.002"},
    {"code_hosting", "T1567.001"},
    {"collab", "T1567"},
    {"disposable_mail", "T1567"},
    {"file_transfer", "T1567.002"},
    {"hosting", "T1567"},
    {"image_host", "T1567.002"},
    {"mail_api", "T1567"},
    {"messaging", "T1567"},
    {"object_storage", "T1567.002"},
    {"online_convert", "T1567"},
    {"paste", "T1567.003"},
    {"saas_doc", "T1567.002"},
    {"social", "T1567"},
    {"web_archive", "T1567"},
    {"webhook", "T1567.004"},
    {"webmail", "T1567"},
}};

}  // namespace

std::string_view upload_technique(std::string_view category) {
  const auto found = std::find_if(kTechniques.begin(), kTechniques.end(),
                                  [&](const auto& entry) { return entry.first == category; });
  return found == kTechniques.end() ? std::string_view() : found->second;
}

std::optional<UploadService> upload_service_of(const Flow& flow, const Catalogue& catalogue) {
  // A name that the client says outweighs what its resolver said of the address: fronts hold many.
  const FlowRecord& record = flow.record;
  const auto [name, by] =
      !record.server_name.empty() ? std::pair(&record.server_name, By::server_name)
      : !flow.http_host.empty()   ? std::pair(&flow.http_host, By::http_host)
                                  : std::pair(&flow.resolved_name, By::resolved_name);
  bool takes = false;
  const Service* named = name->empty() ? nullptr : catalogue.find_name(*name, &takes);
  if (named != nullptr && !upload_technique(named->category).empty())
    return UploadService{named, *name, by, takes};
  const Service* service = catalogue.find_address(record.key.server.address);
  if (service != nullptr && !upload_technique(service->category).empty())
    return UploadService{service, "", By::address, false};
  return std::nullopt;
}

}  // namespace weir
