// ReportAdminService: pages of reports, one with its path, and a watch of what comes.
#include <fmt/format.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <deque>
#include <mutex>
#include <set>

#include "collector/services/call.h"
#include "collector/services/messages.h"
#include "collector/services/pulse.h"
#include "collector/services/services.h"
#include "collector/store/day_file.h"
#include "weir/v1/admin.grpc.pb.h"

namespace weir {
namespace {

constexpr std::chrono::seconds kSignOfLife{15};
constexpr std::size_t kMaxWatches = 256;
constexpr std::uint32_t kWatchPage = 50;  // reports that one watch holds in memory

class ReportAdmin final : public v1::ReportAdminService::CallbackService {
 public:
  ReportAdmin(ServiceParts parts, Pulse& pulse) : parts_(std::move(parts)), pulse_(pulse) {
    pulse.add([this](bool ending) { feed(ending); });
  }

  grpc::ServerUnaryReactor* ListReports(grpc::CallbackServerContext* context,
                                        const v1::ListReportsRequest* request,
                                        v1::ListReportsResponse* response) override {
    return answer(context, *request, [&] { return list(*request, *response); });
  }

  grpc::ServerUnaryReactor* GetReport(grpc::CallbackServerContext* context,
                                      const v1::GetReportRequest* request,
                                      v1::GetReportResponse* response) override {
    return answer(context, *request, [&]() -> Reply<void> {
      Result<std::optional<StoredReport>> stored = parts_.reports.newest(request->id());
      if (!stored) return refuse(Refusal::Kind::unavailable, stored.error().sentence);
      v1::Report report;
      if (!*stored || !to_proto(**stored, parts_.hosts, report))
        return refuse(Refusal::Kind::not_found,
                      fmt::format("there is no report {}{}", request->id(),
                                  parts_.store.forgotten_before() == 0
                                      ? ""
                                      : "; it may have been removed by its age"));
      add_texts(report);
      explain_path(report, *response->mutable_explanation());
      return {};
    });
  }

  grpc::ServerWriteReactor<v1::WatchReportsResponse>* WatchReports(
      grpc::CallbackServerContext* context, const v1::WatchReportsRequest* request) override;

 private:
  class Watch;

  Reply<void> list(const v1::ListReportsRequest& request, v1::ListReportsResponse& response) {
    auto query = query_of(request.filter(), parts_.hosts, wall_now_s());
    if (!query) return tl::unexpected(query.error());
    RecordPosition before{INT64_MAX, INT64_MAX};
    if (!request.page().empty()) {
      Reply<RecordPosition> place = place_of(request.page());
      if (!place) return tl::unexpected(place.error());
      before = *place;
    }
    if (!*query) return {};
    const std::uint32_t limit = page_limit(request.limit());
    Result<std::vector<StoredReport>> found = parts_.reports.list(**query, before, limit);
    if (!found) return refuse(Refusal::Kind::unavailable, found.error().sentence);
    for (const StoredReport& stored : *found) {
      v1::Report report;
      if (!to_proto(stored, parts_.hosts, report)) continue;
      add_texts(report);
      *response.add_reports() = std::move(report);
    }
    if (ReportReader::is_full(*found, limit)) {
      response.set_next_page(place_text(found->back().at));
    } else if (const std::int64_t before_ns = parts_.store.forgotten_before() * kDayNs;
               before_ns > (*query)->from_ns && before_ns > 0) {
      response.mutable_removed_before()->set_seconds(before_ns / 1'000'000'000);
    }
    return {};
  }

  void feed(bool ending);

  const ServiceParts parts_;
  Pulse& pulse_;
  std::mutex mutex_;  // guards the watches
  std::set<Watch*> watches_;
  bool ended_ = false;
};

// Holds at most one page; a client that reads slowly holds up itself alone.
class ReportAdmin::Watch final : public grpc::ServerWriteReactor<v1::WatchReportsResponse> {
 public:
  explicit Watch(ReportAdmin& service) : service_(service) {}

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(service_.mutex_);
    writing_ = false;
    if (!ok) return finish(grpc::Status::CANCELLED);
    write_next();
    if (!writing_) service_.pulse_.poke();
  }
  void OnCancel() override {
    std::lock_guard lock(service_.mutex_);
    finish(grpc::Status::CANCELLED);
  }
  void OnDone() override {
    {
      std::lock_guard lock(service_.mutex_);
      service_.watches_.erase(this);
    }
    delete this;
  }

 private:
  friend class ReportAdmin;

  // The service's lock is held.
  void write_next() {
    if (writing_ || finished_ || waiting_.empty()) return;
    message_ = std::move(waiting_.front());
    waiting_.pop_front();
    writing_ = true;
    last_ = std::chrono::steady_clock::now();
    StartWrite(&message_);
  }
  void add(const v1::Report* report) {
    v1::WatchReportsResponse& message = waiting_.emplace_back();
    if (report != nullptr) *message.mutable_report() = *report;
    message.set_resume(place_text(at_));
  }
  void finish(const grpc::Status& status) {
    if (finished_) return;
    finished_ = true;
    Finish(status);
  }

  ReportAdmin& service_;
  ReportQuery query_;
  RecordPosition at_;
  bool writing_ = false, finished_ = false;
  std::chrono::steady_clock::time_point last_{};
  std::deque<v1::WatchReportsResponse> waiting_;
  v1::WatchReportsResponse message_;
};

grpc::ServerWriteReactor<v1::WatchReportsResponse>* ReportAdmin::WatchReports(
    grpc::CallbackServerContext*, const v1::WatchReportsRequest* request) {
  auto* watch = new Watch(*this);  // deletes itself in OnDone
  Reply<void> good;
  auto query = query_of(request->filter(), parts_.hosts, wall_now_s());
  if (has_unknown_fields(*request))
    good =
        refuse(Refusal::Kind::invalid, "the request has a field that this collector does not know");
  else if (!query)
    good = tl::unexpected(query.error());
  else if (!*query)
    good = refuse(Refusal::Kind::not_found, "there is no such host");
  else
    watch->query_ = std::move(**query);
  if (request->resume().empty()) {
    if (Result<RecordPosition> last = parts_.reports.last())
      watch->at_ = *last;
    else
      good = refuse(Refusal::Kind::unavailable, last.error().sentence);
  } else if (Reply<RecordPosition> place = place_of(request->resume())) {
    watch->at_ = *place;
  } else {
    good = tl::unexpected(place.error());
  }
  std::lock_guard lock(mutex_);
  if (good && (ended_ || watches_.size() >= kMaxWatches))
    good = refuse(Refusal::Kind::full, "too many watches are open");
  watches_.insert(watch);
  if (!good) {
    watch->finish(status_of(good));
    return watch;
  }
  watch->add(nullptr);  // a first sign of life: from here on nothing is missed
  watch->write_next();
  return watch;
}

// On the pulse's thread, which alone reads for watches and moves their places.
void ReportAdmin::feed(bool ending) {
  std::lock_guard lock(mutex_);
  ended_ = ended_ || ending;
  const auto now = std::chrono::steady_clock::now();
  for (Watch* watch : watches_) {
    if (ending) watch->finish({grpc::StatusCode::UNAVAILABLE, "the collector ends"});
    if (watch->finished_ || watch->writing_ || !watch->waiting_.empty()) continue;
    Result<std::vector<StoredReport>> found =
        parts_.reports.after(watch->query_, watch->at_, kWatchPage);
    if (!found) {
      watch->finish({grpc::StatusCode::UNAVAILABLE, found.error().sentence});
      continue;
    }
    for (const StoredReport& stored : *found) {
      watch->at_ = stored.at;
      v1::Report report;
      if (!to_proto(stored, parts_.hosts, report)) continue;
      add_texts(report);
      watch->add(&report);
    }
    if (watch->waiting_.empty() && now - watch->last_ >= kSignOfLife) watch->add(nullptr);
    watch->write_next();
  }
}

}  // namespace

std::unique_ptr<grpc::Service> make_report_admin(const ServiceParts& parts, Pulse& pulse) {
  return std::make_unique<ReportAdmin>(parts, pulse);
}

}  // namespace weir
