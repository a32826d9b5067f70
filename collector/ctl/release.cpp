// `weirctl hosts release`: see release.h.
#include "collector/ctl/release.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>

#include "collector/ctl/ask.h"
#include "collector/ctl/session.h"
#include "collector/ctl/sign.h"
#include "core/base/hex.h"
#include "core/base/sha256.h"
#include "core/base/spoken.h"
#include "core/policy/release.h"
#include "core/policy/signature.h"
#include "platform/files/small_file.h"
#include "proto/map/text.h"
#include "weir/v1/policy.pb.h"

namespace weir {
namespace {

constexpr std::size_t kMaxReleases = 1u << 20;  // some 8,000 lines; who needs more puts it aside

int failed(int status, const std::string& sentence) {
  fmt::print(stderr, "weirctl: {}\n", sentence);
  return status;
}

std::string time_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// What was signed stands beside the key that signed it: the reason can't travel in an answer that
// is read aloud.
Result<void> write_down(const std::string& config, const ChallengeBytes& challenge,
                        const AdminFile& admin, const std::string& reason) {
  const std::string path = config + ".releases";
  Result<std::optional<std::string>> before = read_small_file(kWorkingFolder, path, kMaxReleases);
  if (!before) return tl::unexpected(before.error());
  const auto digest = sha256(challenge);
  return replace_file(
      kWorkingFolder, path,
      before->value_or("") + fmt::format("{} host mark {} release {} key {}: {}\n", time_now(),
                                         text_of_mark(challenge_of(challenge).host),
                                         hex_of(Bytes(digest).first(16)), admin.policy_key_id,
                                         shown(reason)));
}

}  // namespace

CLI::App* add_release(CLI::App& hosts, ReleaseWords& words) {
  CLI::App* verb = hosts.add_subcommand(
      "release", "answer a host's challenge (`weir release` there); needs no collector");
  verb->add_option("CHALLENGE", words.challenge, "as it was read to you, in groups")->required();
  verb->add_option("--host", words.host, "the id of the host that you mean: no other is released");
  verb->add_option("--reason", words.reason, "for the record beside admin.json");
  verb->add_flag("--yes", words.yes, "sign it without a question at the terminal");
  add_ctl_options(*verb, words.options);
  return verb;
}

int answer_challenge(const ReleaseWords& words) {
  ChallengeBytes challenge{};
  const Result<std::vector<std::uint8_t>> read =
      read_spoken(fmt::format("{}", fmt::join(words.challenge, " ")), challenge.size());
  if (!read) return failed(kExitUsage, "the challenge: " + read.error().sentence);
  std::copy(read->begin(), read->end(), challenge.begin());
  const auto host = challenge_of(challenge).host;
  const std::string mark = text_of_mark(host);
  if (!words.host.empty() && host_mark(words.host) != host)
    return failed(kExitFailed,
                  fmt::format("that challenge is of the host with the mark {}, and {} has {}: "
                              "nothing was signed",
                              mark, shown(words.host), text_of_mark(host_mark(words.host))));
  const Result<AdminFile> admin = read_admin(words.options.config);
  if (!admin)
    return failed(kExitUsage, fmt::format("{}: {}", words.options.config, admin.error().sentence));
  if (!agreed(fmt::format("Sign for the host with the mark {}: enforce nothing there for {} hours, "
                          "and end its isolation?",
                          mark, kReleaseS / 3'600),
              words.yes))
    return kExitFailed;
  v1::PolicySignature signature;
  const std::string covered(text_of(challenge));
  if (auto made = sign_bytes(kReleasePurpose, covered, unhex(admin->policy_secret_key), signature);
      !made)
    return failed(kExitFailed, made.error().sentence);
  if (auto kept = write_down(words.options.config, challenge, *admin, words.reason); !kept)
    return failed(kExitFailed, kept.error().sentence + "; so nothing is answered");
  fmt::print("{}\n", spoken(bytes_of(signature.signature())));
  fmt::print(stderr,
             "host mark {}: read this to who called, group by group; there `weir release --answer "
             "-` takes it. It is written down in {}.releases\n",
             mark, words.options.config);
  return kExitDone;
}

}  // namespace weir
