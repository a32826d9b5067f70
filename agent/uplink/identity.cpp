// STATE/identity: see identity.h.
#include "agent/uplink/identity.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "agent/uplink/keys.h"

namespace weir {
namespace {

constexpr char kKey[] = "key.pem", kNextKey[] = "key.next.pem", kCertificate[] = "certificate.pem",
               kAuthority[] = "ca.pem", kHost[] = "host.json";

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

tl::unexpected<Error> failed(const std::string& name, const char* what) {
  return fail(fmt::format("{}: can't be {}: {}", name, what, std::strerror(errno)));
}

std::string hex_of(const std::array<std::uint8_t, 32>& bytes) {
  std::string text;
  for (std::uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
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
    auto text = read_small_file(folder, name);
    if (!text) return tl::unexpected(text.error());
    if (!*text) continue;
    Result<HostKey> key = HostKey::from_pem(**text);
    if (!key || !key->made(certificate)) continue;
    if (name == kNextKey && ::renameat(folder, kNextKey, folder, kKey) != 0)
      return failed(kKey, "replaced");
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

Result<void> replace_file(int folder, const std::string& name, const std::string& text,
                          std::int64_t owner) {
  const std::string beside = name + ".new";
  ::unlinkat(folder, beside.c_str(), 0);
  File file(
      ::openat(folder, beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (file.fd() < 0) return failed(name, "made");
  auto user = static_cast<uid_t>(owner);
  if (owner >= 0 && ::fchown(file.fd(), user, user) != 0) return failed(name, "given away");
  for (std::size_t at = 0; at < text.size();) {
    ssize_t written = ::write(file.fd(), text.data() + at, text.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return failed(name, "written");
    at += static_cast<std::size_t>(written);
  }
  if (::fsync(file.fd()) != 0) return failed(name, "written");
  if (::renameat(folder, beside.c_str(), folder, name.c_str()) != 0)
    return failed(name, "replaced");
  File again(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (again.fd() < 0 || ::fsync(again.fd()) != 0) return failed(name, "kept");
  return {};
}

Result<std::optional<std::string>> read_small_file(int folder, const std::string& name) {
  File file(::openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file.fd() < 0) {
    if (errno == ENOENT) return std::optional<std::string>();
    return failed(name, "read");
  }
  std::string text(kMaxIdentityFile + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    ssize_t got = ::read(file.fd(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(name, "read");
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > kMaxIdentityFile) return fail(fmt::format("{}: larger than 64 KiB", name));
  text.resize(size);
  return std::optional<std::string>(std::move(text));
}

Result<std::optional<Identity>> read_identity(int folder) {
  auto host = read_small_file(folder, kHost);
  if (!host) return tl::unexpected(host.error());
  if (!*host) return std::optional<Identity>();
  Result<HostFacts> facts = facts_from_json(**host);
  if (!facts) return tl::unexpected(facts.error());
  Identity identity{.host = std::move(*facts)};
  auto certificate = read_small_file(folder, kCertificate),
       ca = read_small_file(folder, kAuthority);
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
  if (::renameat(folder, kNextKey, folder, kKey) != 0) return failed(kKey, "replaced");
  return replace_file(folder, kHost, to_json(renewed.host));
}

}  // namespace weir
