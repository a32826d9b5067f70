// Compiles a policy file in a child that gave up its rights first: see policy_child.h.
#include "agent/run/policy_child.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "agent/engine/seal.h"
#include "agent/guard/descriptors.h"
#include "agent/guard/flat_policy.h"
#include "agent/run/flatten.h"
#include "agent/run/policy_bytes.h"
#include "agent/run/process.h"
#include "agent/run/resolvers.h"
#include "core/policy/default_policy.h"
#include "core/policy/evaluate.h"
#include "core/policy/known_names.h"
#include "core/policy/surface/surface.h"
#include "platform/files/lists.h"
#include "platform/files/passing.h"
#include "platform/input/input.h"

namespace weir {
namespace {

constexpr int kRefused = 2, kAsksForLists = 3;
constexpr std::size_t kMaxSentence = 64 * 1024;  // twenty faults with their lines
constexpr std::size_t kMaxAnswer = 2 * sizeof(std::uint64_t) + kMaxFlatBytes + (1u << 20);

Result<std::string> read_file(const std::string& path) {
  Result<std::string> text = read_input(path, kMaxPolicyBytes);
  if (text && text->size() > kMaxPolicyBytes)
    return fail(fmt::format("{}: larger than {} bytes", path, kMaxPolicyBytes));
  return text;
}

Result<Policy> accept(Result<Policy> policy) {
  if (!policy || policy->mode != Mode::enforce) return policy;
  std::string sentences;
  for (const std::string& part : unenforceable(*policy))
    sentences += (sentences.empty() ? "" : "\n") + part;
  if (!sentences.empty())
    return fail(
        "mode enforce asks for what this version can't enforce; take it out, or use mode "
        "observe:\n" +
        sentences);
  return policy;
}

void ask_for(const std::vector<std::string>& lists) {
  if (lists.empty()) return;
  std::string names;
  for (const std::string& name : lists) names.append(name).append(1, '\n');
  ::_exit(write_all(fds::kRecord, bytes_of(names)) ? kAsksForLists : 1);
}

// In the child. Two sizes and two blocks, or a sentence and the status kRefused. A policy that
// names lists: their names, a line each, and kAsksForLists; then another child is started with
// them, for who has read the policy has given up the right to read files.
[[noreturn]] void compile_and_exit(const std::string& path, const std::vector<std::string>& lists,
                                   int answer) {
  ::dup2(answer, fds::kRecord);  // a number that the seal lets it write to
  ::syscall(SYS_close_range, fds::kRecord + 1, ~0u, 0);
  Result<std::string> text = path.empty() ? std::string() : read_file(path);
  const ListTexts texts = read_beside(path, lists, kMaxListBytes);
  std::vector<IpAddress> resolvers = host_resolvers();
  Result<SealReport> seal = seal_engine(kEngineUser);
  if (text && seal && lists.empty()) ask_for(lists_of(*text));
  Result<Policy> policy = fail("");
  if (!text)
    policy = tl::unexpected(text.error());
  else if (!seal)
    policy = tl::unexpected(seal.error());
  else
    policy =
        accept(path.empty() ? Result<Policy>(*default_policy()) : parse_policy(*text, path, texts));
  if (!policy) {
    const std::string& sentence = policy.error().sentence;
    write_all(fds::kRecord, bytes_of(std::string_view(sentence).substr(0, kMaxSentence)));
    ::_exit(kRefused);
  }
  std::vector<std::uint8_t> flat = flatten(*policy, resolvers);
  std::string bytes = bytes_of_policy(*policy);
  std::uint64_t sizes[2] = {flat.size(), bytes.size()};
  bool written =
      write_all(fds::kRecord, {reinterpret_cast<const std::uint8_t*>(sizes), sizeof sizes}) &&
      write_all(fds::kRecord, flat) && write_all(fds::kRecord, bytes_of(bytes));
  ::_exit(written ? 0 : 1);
}

Result<CompiledPolicy> split(const std::vector<std::uint8_t>& answer) {
  std::uint64_t sizes[2];
  if (answer.size() < sizeof sizes) return fail("the policy's compiler gave no answer");
  std::memcpy(sizes, answer.data(), sizeof sizes);
  if (sizes[0] > kMaxFlatBytes || sizes[1] > kMaxAnswer ||
      answer.size() != sizeof sizes + sizes[0] + sizes[1])
    return fail("the policy's compiler gave an answer that is cut");
  auto from = answer.begin() + sizeof sizes;
  auto middle = from + static_cast<std::ptrdiff_t>(sizes[0]);
  return CompiledPolicy{{from, middle}, {middle, answer.end()}};
}

struct Told {
  int status = 0;
  std::vector<std::uint8_t> bytes;
};

Result<Told> ask_child(const std::string& path, const std::vector<std::string>& lists) {
  Result<Pipe> pipe = Pipe::make();
  if (!pipe) return tl::unexpected(pipe.error());
  Result<Process> child = Process::fork([&] { compile_and_exit(path, lists, pipe->writer()); });
  if (!child) return tl::unexpected(child.error());
  pipe->close_writer();
  std::vector<std::uint8_t> answer;
  std::uint8_t piece[16384];
  for (ssize_t got; answer.size() <= kMaxAnswer;) {
    got = ::read(pipe->reader(), piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    answer.insert(answer.end(), piece, piece + got);
  }
  pipe->close_reader();
  return Told{child->wait(), std::move(answer)};
}

// As the child wrote them; the next one looks for them beside the policy, and nowhere else.
std::vector<std::string> names_in(const std::vector<std::uint8_t>& answer) {
  std::vector<std::string> names;
  std::string name;
  for (std::uint8_t c : answer) {
    if (c != '\n') {
      name += static_cast<char>(c);
    } else if (names.size() < kMaxLists) {
      names.push_back(std::exchange(name, ""));
    }
  }
  return names;
}

}  // namespace

Result<CompiledPolicy> compile_policy(const std::string& path) {
  Result<Told> told = ask_child(path, {});
  if (told && told->status == kAsksForLists) told = ask_child(path, names_in(told->bytes));
  if (!told) return tl::unexpected(told.error());
  const auto& [status, answer] = *told;
  if (status == 0) return split(answer);
  if (status == kRefused) return fail({answer.begin(), answer.end()});
  return fail(fmt::format("{}: its compiler ended with status {}", path, status));
}

}  // namespace weir
