// STATE/identity: see identity.h.
#include "agent/uplink/identity.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "agent/uplink/keys.h"
#include "core/base/hex.h"
#include "platform/files/small_file.h"

namespace weir {
namespace {

constexpr char kKey[] = "key.pem", kNextKey[] = "key.next.pem", kCertificate[] = "certificate.pem",
               kAuthority[] = "ca.pem", kHost[] = "host.json";

// A key and its chain have some KiB.
constexpr std::size_t kMaxFile = 64u << 10;

Result<std::optional<std::string>> read_part(int folder, const char* name) {
  return read_small_file(folder, name, kMaxFile);
}

Result<void> take_next_key(int folder) {
  if (::renameat(folder, kNextKey, folder, kKey) == 0) return {};
  return fail(fmt::format("{}: can't be replaced: {}", kKey, std::strerror(errno)));
}

bool from_hex(std::string_view text, std::array<std::uint8_t, 32>& bytes) {
  if (text.size() != 2 * bytes.size()) return false;
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const char* at = text.data() + 2 * n;
    auto [end, error] = std::from_chars(at, at + 2, bytes[n], 16);
    if (error != std::errc() || end != at + 2) return false;
  }
  return true;
}

bool take(const boost::json::object& object, std::string_view name, std::string& value) {
  const boost::json::value* found = object.if_contains({name.data(), name.size()});
  if (found == nullptr || !found->is_string()) return false;
  value = found->get_string();
  return !value.empty();
}

// The key of the certificate that stands; the one of an unfinished renewal takes its place.
Result<std::string> key_of(int folder, const std::string& certificate) {
  for (const char* name : {kKey, kNextKey}) {
    auto text = read_part(folder, name);
    if (!text) return tl::unexpected(text.error());
    if (!*text) continue;
    Result<HostKey> key = HostKey::from_pem(**text);
    if (!key || !key->made(certificate)) continue;
    if (name == kNextKey)
      if (auto taken = take_next_key(folder); !taken) return tl::unexpected(taken.error());
    return **text;
  }
  return fail("identity: no key belongs to the certificate: enrol anew");
}

}  // namespace

std::string to_json(const HostFacts& facts) {
  boost::json::object object{{"hostId", facts.host_id},
                             {"agentAddress", facts.agent_address},
                             {"agentServerName", facts.agent_server_name},
                             {"group", facts.group},
                             {"renewAfter", facts.renew_after_s},
                             {"doorAddress", facts.door_address},
                             {"doorKeySha256", hex_of(facts.door_key_sha256)}};
  return boost::json::serialize(object) + "\n";
}

Result<HostFacts> facts_from_json(const std::string& text) {
  boost::system::error_code damage;
  boost::json::value value = boost::json::parse(text, damage);
  const boost::json::object* object = damage ? nullptr : value.if_object();
  HostFacts facts;
  std::string digest;
  const boost::json::value* renew = object != nullptr ? object->if_contains("renewAfter") : nullptr;
  if (renew == nullptr || !renew->is_int64() || !take(*object, "hostId", facts.host_id) ||
      !take(*object, "agentAddress", facts.agent_address) ||
      !take(*object, "agentServerName", facts.agent_server_name) ||
      !take(*object, "group", facts.group) || !take(*object, "doorAddress", facts.door_address) ||
      !take(*object, "doorKeySha256", digest) || !from_hex(digest, facts.door_key_sha256))
    return fail("identity/host.json is damaged: enrol anew");
  facts.renew_after_s = renew->get_int64();
  return facts;
}

Result<std::optional<Identity>> read_identity(int folder) {
  auto host = read_part(folder, kHost);
  if (!host) return tl::unexpected(host.error());
  if (!*host) return std::optional<Identity>();
  Result<HostFacts> facts = facts_from_json(**host);
  if (!facts) return tl::unexpected(facts.error());
  Identity identity{.host = std::move(*facts)};
  auto certificate = read_part(folder, kCertificate), ca = read_part(folder, kAuthority);
  if (!certificate) return tl::unexpected(certificate.error());
  if (!ca) return tl::unexpected(ca.error());
  if (!*certificate || !*ca) return fail("identity: a certificate is missing: enrol anew");
  auto end = certificate_end_s(**certificate);
  if (!end) return fail("identity/certificate.pem is damaged: enrol anew");
  Result<std::string> key = key_of(folder, **certificate);
  if (!key) return tl::unexpected(key.error());
  identity.key_pem = std::move(*key);
  identity.certificate_pem = std::move(**certificate);
  identity.ca_pem = std::move(**ca);
  identity.certificate_end_s = *end;
  return std::optional<Identity>(std::move(identity));
}

Result<void> write_identity(int folder, const Identity& identity, std::int64_t owner) {
  const std::pair<const char*, const std::string> files[] = {
      {kKey, identity.key_pem},
      {kCertificate, identity.certificate_pem},
      {kAuthority, identity.ca_pem},
      {kHost, to_json(identity.host)}};
  for (const auto& [name, text] : files)
    if (Result<void> written = replace_file(folder, name, text, owner); !written) return written;
  return {};
}

Result<void> write_next_key(int folder, const std::string& key_pem) {
  return replace_file(folder, kNextKey, key_pem);
}

Result<void> take_renewed(int folder, const Identity& renewed) {
  if (auto written = replace_file(folder, kCertificate, renewed.certificate_pem); !written)
    return written;
  if (auto taken = take_next_key(folder); !taken) return taken;
  return replace_file(folder, kHost, to_json(renewed.host));
}

}  // namespace weir
