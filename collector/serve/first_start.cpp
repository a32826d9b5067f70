// First start and every other one.
#include "collector/serve/first_start.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "collector/api/admin_file.h"
#include "collector/fleet/crypto.h"
#include "collector/fleet/enrolment.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kYear = 365 * 86'400;
constexpr std::int64_t kAuthorityLife = 10 * kYear;
constexpr std::int64_t kConsoleLife = 10 * kYear;  // clients pin the key, not the dates
constexpr std::int64_t kPolicyKeyLife = 10 * kYear;
constexpr std::size_t kSecretBytes = 32;
constexpr char kSetUp[] = "set_up";  // note: the authority's key, once all of DIR is there

Result<std::string> must_read(const std::string& path) {
  Result<std::optional<std::string>> text = read_private_file(path);
  if (!text) return tl::unexpected(text.error());
  if (!*text) return fail(fmt::format("{}: is missing: put it back from a copy", path));
  return std::move(**text);
}

Result<void> write_pair(const std::string& folder, const std::string& name,
                        const std::string& certificate, const std::string& key) {
  if (Result<void> made = make_private_folder(folder); !made) return made;
  if (Result<void> made = create_private_file(folder + "/" + name + ".key", key); !made)
    return made;
  return create_private_file(folder + "/" + name + ".pem", certificate);
}

Result<void> write_admin_file(const std::string& folder, FleetStore& store,
                              const Digest& console_key, std::int64_t now_s) {
  const std::string secret = random_bytes(kSecretBytes);
  const Ed25519Pair policy = new_ed25519();
  const Digest digest = sha256_of({bytes_of(policy.public_key)});
  const std::string key_id(digest.begin(), digest.begin() + 8);
  AdminFile file{.address = "unknown",
                 .door_key_sha256 = hex(console_key),
                 .principal = "admin",
                 .secret = hex(bytes_of(secret)),
                 .policy_key_id = hex(bytes_of(key_id)),
                 .policy_public_key = hex(bytes_of(policy.public_key)),
                 .policy_secret_key = hex(bytes_of(policy.secret_key))};
  if (!store.add_secret(sha256_of({bytes_of(secret)}), file.principal) ||
      !store.add_policy_key({key_id, policy.public_key, now_s + kPolicyKeyLife}))
    return fail(store.sentence());
  return create_private_file(folder + "/admin.json", admin_file_text(file));
}

// Everything but the store, which is there. What an earlier first start left unfinished goes: no
// door was open, so nobody holds anything of it.
Result<void> set_up(const FolderOptions& options, FleetStore& store, std::int64_t now_s) {
  const std::string& folder = options.folder;
  std::error_code ignored;
  for (const char* part : {"/ca", "/console", "/admin.json"})
    fs::remove_all(folder + part, ignored);
  Authority authority = Authority::create({now_s - kClockSlack_s, now_s + kAuthorityLife});
  PrivateKey key = PrivateKey::generate();
  Result<X509Certificate> console =
      self_signed(key, options.name, {now_s - kClockSlack_s, now_s + kConsoleLife});
  if (!console) return tl::unexpected(console.error());
  Result<void> made =
      write_pair(folder + "/ca", "authority", authority.certificate().pem(), authority.key_pem());
  if (made) made = write_pair(folder + "/console", "door", console->pem(), key.pem());
  if (made) made = write_admin_file(folder, store, console->key_sha256(), now_s);
  if (!made) return made;
  if (!store.set_note(kSetUp, hex(authority.certificate().key_sha256())))
    return fail(store.sentence());
  return {};
}

Result<Authority> read_authority(const std::string& folder, FleetStore& store) {
  const std::string path = folder + "/ca/authority";
  Result<std::string> certificate = must_read(path + ".pem"), key = must_read(path + ".key");
  if (!certificate) return tl::unexpected(certificate.error());
  if (!key) return tl::unexpected(key.error());
  Result<Authority> authority = Authority::from_pem(*certificate, *key);
  if (!authority) return fail(fmt::format("{}: {}", path, authority.error().sentence));
  if (hex(authority->certificate().key_sha256()) != store.note(kSetUp))
    return fail(fmt::format("{}: is not the authority that this store's hosts trust", path));
  return authority;
}

Result<void> read_console(const FolderOptions& options, DataFolder& data) {
  const std::string own = options.folder + "/console/door";
  const bool brought = !options.console_cert.empty();
  const std::string& certificate_file = brought ? options.console_cert : own + ".pem";
  const std::string& key_file = brought ? options.console_cert : own + ".key";
  Result<std::string> certificate = must_read(certificate_file), key = must_read(key_file);
  if (!certificate) return tl::unexpected(certificate.error());
  if (!key) return tl::unexpected(key.error());
  Result<X509Certificate> leaf = X509Certificate::from_pem(*certificate);
  if (!leaf) return fail(fmt::format("{}: {}", certificate_file, leaf.error().sentence));
  Result<PrivateKey> read = PrivateKey::from_pem(*key);
  if (!read) return fail(fmt::format("{}: {}", key_file, read.error().sentence));
  if (!leaf->matches(*read))
    return fail(fmt::format("{}: key and certificate do not belong together", certificate_file));
  data.console_key_sha256 = leaf->key_sha256();
  data.console_certificate = std::move(*certificate);
  data.console_key = read->pem();
  return {};
}

}  // namespace

Result<DataFolder> open_data_folder(const FolderOptions& options, std::int64_t now_s) {
  const std::string& folder = options.folder;
  if (Result<void> made = make_private_folder(folder); !made) return tl::unexpected(made.error());
  Result<FolderLock> lock = FolderLock::take(folder);
  if (!lock) return tl::unexpected(lock.error());
  std::error_code ignored;
  if (!fs::exists(folder + "/store.db", ignored))
    for (const char* part : {"/ca", "/console", "/admin.json"})
      if (fs::exists(folder + part, ignored))
        return fail(
            fmt::format("{}/store.db: is missing, but {}{} is there: put it back from a "
                        "copy, or name another folder",
                        folder, folder, part));
  Result<std::unique_ptr<FleetStore>> store = FleetStore::open(folder);
  if (!store) return tl::unexpected(store.error());
  if (!(*store)->note(kSetUp)) {
    if (Result<void> done = set_up(options, **store, now_s); !done)
      return tl::unexpected(done.error());
  }
  Result<Authority> authority = read_authority(folder, **store);
  if (!authority) return tl::unexpected(authority.error());
  DataFolder data{
      .lock = std::move(*lock), .store = std::move(*store), .authority = std::move(*authority)};
  if (Result<void> read = read_console(options, data); !read) return tl::unexpected(read.error());
  return data;
}

Result<void> write_address(const std::string& folder, const std::string& address,
                           const Digest& console_key_sha256) {
  const std::string path = folder + "/admin.json";
  Result<std::optional<std::string>> text = read_private_file(path);
  if (!text) return tl::unexpected(text.error());
  if (!*text) return {};  // the administrator took it away: as it should be
  Result<AdminFile> file = read_admin_file_text(**text);
  if (!file) return fail(fmt::format("{}: {}", path, file.error().sentence));
  const std::string pin = hex(console_key_sha256);
  if (file->address == address && file->door_key_sha256 == pin) return {};
  file->address = address;
  file->door_key_sha256 = pin;
  return replace_private_file(path, admin_file_text(*file));
}

}  // namespace weir
