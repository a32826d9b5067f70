// The collector's composition root.
#include "collector/serve/serve.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>

#include "collector/api/console_door.h"
#include "collector/fleet/agent_door.h"
#include "collector/fleet/crypto.h"
#include "collector/fleet/enrolment.h"
#include "collector/rollout/rollout.h"
#include "collector/serve/first_start.h"
#include "collector/services/services.h"
#include "collector/store/record_store.h"
#include "collector/store/report_reader.h"

namespace weir {
namespace {

constexpr std::int64_t kYear = 365 * 86'400;
// The agents' door has a key of this run only; agents know its name and the authority.
constexpr std::int64_t kDoorLife = 2 * kYear;

std::int64_t wall_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

struct HostPort {
  std::string host, port;
};

Result<HostPort> endpoint_of(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  const bool bracketed = address.starts_with("[");
  if (colon == std::string::npos || colon == 0 || colon + 1 == address.size() ||
      (bracketed && address[colon - 1] != ']') || (!bracketed && address.find(':') != colon))
    return fail(fmt::format("{}: is not HOST:PORT ([HOST]:PORT for IPv6)", address));
  return HostPort{address.substr(0, colon), address.substr(colon + 1)};
}

// How others reach what listens there.
std::string public_host(const ServeOptions& options, const HostPort& listens,
                        const std::string& machine) {
  if (!options.name.empty()) return options.name;
  if (listens.host == "0.0.0.0" || listens.host == "[::]") return machine;
  return listens.host;
}

std::string without_brackets(const std::string& host) {
  return host.starts_with("[") ? host.substr(1, host.size() - 2) : host;
}

AgentDoorOptions agent_door_options(const std::string& listen, const Authority& authority,
                                    const std::function<void(const std::string&)>& say) {
  const std::int64_t now_s = wall_ns() / 1'000'000'000;
  PrivateKey key = PrivateKey::generate();
  X509Certificate certificate =
      authority.issue_server(key, kAgentServerName, {now_s - kClockSlack_s, now_s + kDoorLife});
  return {.address = listen,
          .ca = authority.certificate().pem(),
          .certificate = certificate.pem(),
          .key = key.pem(),
          .say = say};
}

Result<std::unique_ptr<RecordStore>> open_records(
    FleetStore& store, ReportReader& reports, const ServeOptions& options,
    const std::function<void()>& came, const std::function<void(const std::string&)>& say) {
  return RecordStore::open(store,
                           {.folder = options.data,
                            .wall_ns = wall_ns,
                            .say = say,
                            .reports_came = came,
                            .keep_days = options.keep_days,
                            .forgot = [&reports](std::int64_t before) { reports.forget(before); }});
}

// A session is a secret: who has it is the principal that its hash is stored with.
Result<std::unique_ptr<ConsoleDoor>> open_console(
    const std::string& address, const DataFolder& data, grpc::Server& services,
    const std::function<void(const std::string&)>& say) {
  return start_console_door(
      {.address = address,
       .certificate = data.console_certificate,
       .key = data.console_key,
       .principal_by_secret =
           [&store = *data.store](const std::string& text) -> std::optional<std::string> {
         const std::string secret = unhex(text);
         if (secret.empty()) return std::nullopt;
         return store.principal(sha256_of({bytes_of(secret)}));
       },
       .say = say},
      services);
}

// What is published goes to the streams that are open.
void push_through(AgentDoor& door, Rollout& rollout, HostCommands& commands,
                  const std::function<void()>& poke) {
  rollout.published = [&door, poke](const std::string& group) {
    door.push_policy(group);
    poke();
  };
  rollout.rotated = [&door] { door.push_trust(); };
  commands.sent = [&door](std::uint32_t host) { door.push_commands(host); };
}

}  // namespace

Result<void> serve(const ServeOptions& options, const std::string& machine,
                   const std::function<void()>& ready, const std::function<void()>& wait,
                   const std::function<void(const std::string&)>& say) {
  Result<HostPort> listen = endpoint_of(options.listen), console = endpoint_of(options.console);
  if (!listen) return tl::unexpected(listen.error());
  if (!console) return tl::unexpected(console.error());
  const std::string console_host = public_host(options, *console, machine);
  Result<DataFolder> data = open_data_folder({.folder = options.data,
                                              .name = without_brackets(console_host),
                                              .console_cert = options.console_cert},
                                             wall_ns() / 1'000'000'000);
  if (!data) return tl::unexpected(data.error());
  FleetStore& store = *data->store;
  Hosts hosts(store);
  Enrolment enrolment(store, hosts, data->authority);
  Rollout rollout(store, hosts);
  HostCommands commands(store, wall_ns() / 1'000'000'000);
  ReportReader reports(store, options.data);
  std::atomic<Services*> watchers = nullptr;
  const auto poke = [&watchers] {
    if (Services* services = watchers.load()) services->poke();
  };
  Result<std::unique_ptr<RecordStore>> records = open_records(store, reports, options, poke, say);
  if (!records) return tl::unexpected(records.error());
  hosts.changed = commands.changed = poke;

  Result<std::unique_ptr<AgentDoor>> agents =
      AgentDoor::start(agent_door_options(options.listen, data->authority, say),
                       {hosts, **records, rollout, commands});
  if (!agents) return tl::unexpected(agents.error());
  AgentDoor& door = **agents;
  push_through(door, rollout, commands, poke);

  std::atomic<std::uint16_t> console_port = 0;
  Result<std::unique_ptr<Services>> services = Services::start(
      {.store = store,
       .hosts = hosts,
       .enrolment = enrolment,
       .rollout = rollout,
       .commands = commands,
       .reports = reports,
       .folder = options.data,
       .close_host = [&](std::uint32_t host, const std::string& s) { door.close_host(host, s); },
       .push_policy = [&](const std::string& group) { door.push_policy(group); },
       .console_host = console_host,
       .console_key_sha256 = std::string(text_of(data->console_key_sha256)),
       .console_port = console_port,
       .agent_address = fmt::format("{}:{}", public_host(options, *listen, machine), door.port()),
       .agent_ca = data->authority.certificate().der()});
  if (!services) return tl::unexpected(services.error());
  watchers = services->get();

  Result<std::unique_ptr<ConsoleDoor>> opened =
      open_console(options.console, *data, (*services)->server(), say);
  Result<void> result = tl::unexpected(opened ? Error{} : opened.error());
  if (opened) {
    console_port = (*opened)->port();
    result = write_address(options.data, fmt::format("{}:{}", console_host, console_port.load()),
                           data->console_key_sha256);
  }
  if (result) {
    say(fmt::format("agents: {}:{}; console: {}:{}", listen->host, door.port(), console->host,
                    console_port.load()));
    ready();
    wait();
  }
  // Front to back: nothing new comes in, what waits is answered, what was taken is written.
  if (opened) (*opened)->stop();
  watchers = nullptr;
  (*services)->stop();
  door.stop();
  records->reset();
  return result;
}

}  // namespace weir
