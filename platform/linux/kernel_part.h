// The kernel part seen from user space: loads, attaches, pins and adopts the BPF programs of bpf/,
// and reads and writes their tables. No libbpf type leaks from here.
// Thread: one owner; rings() may be read by another process. Not copyable, movable.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/event/address.h"
#include "platform/linux/bpf/weir_abi.h"

namespace weir {

// Which tasks the host-wide tracepoints may add to the task table.
enum class KernelScope : std::uint8_t {
  cgroup,       // every task in the cgroup (weir run)
  known_trees,  // nobody: only children of tasks that put_task() named (weir exec)
};

// A place that an administrator blocked (weir_state.shuts).
struct KernelShut {
  std::uint32_t slot = 0;  // below WEIR_SHUTS; each once
  std::uint64_t until_boot_ns = 0;
  std::optional<std::uint32_t> person{};  // nothing: everybody
  std::optional<Prefix> prefix{};         // nothing: a name. With nothing beyond its length
  // Of a name: destination keys of what goes there.
  std::vector<std::uint64_t> names{};
};

struct KernelOptions {
  std::string cgroup;  // directory in a cgroup2 mount; "": its root (cgroup2_root())
  std::string
      pin_dir;  // directory in a bpffs; pins go to PIN_DIR/weir/<layout>/. "": nothing is pinned
  KernelScope scope = KernelScope::cgroup;
  // Executables whose children start new trees, if they were started by a launcher themselves (or
  // are found at start). PID 1 always is one.
  std::vector<std::string> launchers;
  bool scan = true;          // put the tasks that already run in the cgroup into the task table
  bool bind_sockets = true;  // and give their open sockets to their trees
  // Isolated from the first packet on; only where nothing is adopted, which says it itself.
  std::uint64_t isolated_until_boot_ns = 0;
  std::vector<KernelShut> shuts;  // blocked from the first packet on; likewise
  bool own_machine = false;       // a test in an emulator: it may attach to the root of all cgroups
  std::uint32_t max_accounts = WEIR_ACCOUNTS;  // smaller ones are for tests
  std::uint32_t max_tasks = WEIR_TASKS;
  std::uint32_t max_holds = WEIR_HOLDS;
  std::uint32_t events_bytes = 0;  // of the engine's ring; 0: as it is built
  std::uint64_t counted_families = WEIR_COUNTED_FAMILIES;  // others are for tests
};

// A network device of this network namespace.
struct Device {
  std::uint32_t index = 0;
  std::string name;
  bool ethernet = false;  // its frames have a link header
  bool inside = false;    // what leaves by it has not reached a wire: a tunnel
};

// Those through which bytes leave the machine: with a driver of hardware, or, in a namespace that
// has none (a container), all but the loopback. And the ways into tunnels, where what is forwarded
// can still be read. With `named`: these alone, as far as they are there.
std::vector<Device> devices_to_the_world(std::span<const std::string> named);

// Bytes since the floor was laid. `seen`: what it let pass, as long as it can be on the wire.
struct WireBytes {
  std::uint32_t devices = 0;  // that are counted now
  std::uint64_t sent = 0;     // by what the devices say
  std::uint64_t seen = 0;
  std::uint64_t unattributed = 0;  // of `sent`, of each device: beyond what was seen
};

// Tier 2: the program that refuses sockets of families which nobody charges.
inline constexpr const char* kLsmProgram = "weir_family";

struct KernelProgram {  // one line of `weir doctor`
  std::string name;
  bool required = false;
  bool loaded = false;
  bool attached = false;
  std::string lost;     // what is missing without it
  std::string problem;  // why it isn't loaded or attached, "" if it is
};

// A hook or a pin of ours that somebody with root's rights has taken away.
struct Removed {
  enum class What : std::uint8_t { hook, program, pins };  // `program`: another's stood at our hook
  What what = What::hook;
  std::string name;         // of the program, and its device; of the first of `pins`
  std::uint32_t count = 1;  // pins
  std::string problem;      // why it is not back, "" if it is
};

struct KernelAccount {
  weir_account_key key{};
  weir_account value{};
};

struct KernelTask {
  std::uint32_t pid = 0;
  weir_task value{};
};

// One row of the limit table. `window_ns` 0: a total. Otherwise burst is half of `bytes` and the
// other half refills over the window, so that no window of that length passes more than `bytes`.
// Per destination a part of that is for flows that wait for their name (docs/decisions/0016). Per
// flow: what one socket sends, always a total (docs/decisions/0041).
weir_limit limit_row(std::uint64_t bytes, std::int64_t window_ns, weir_per per,
                     std::uint32_t flags = 0, std::uint32_t labels = 0);

inline bool has_unnamed_part(std::uint32_t per) {
  return per >= WEIR_PER_PERSON_DEST && per <= WEIR_PER_HOST_DEST;
}
// What stands in account keys for this row.
inline std::uint32_t account_number(const weir_limit& limit, std::uint32_t row) {
  return limit.account != 0 ? limit.account : row;
}

// The row that an account's number belongs to, or WEIR_LIMITS.
inline std::uint32_t row_of_account(std::span<const weir_limit> rows, std::uint32_t account) {
  for (std::uint32_t row = 0; row < rows.size(); row++)
    if (rows[row].per != WEIR_PER_NONE && account_number(rows[row], row) == account) return row;
  return WEIR_LIMITS;
}

// The part of a row that an account is of: its number of bytes (of a window: the burst) and refill.
struct AccountPart {
  std::uint64_t bytes = 0;
  std::uint64_t q4 = 0;                                                // 1/16 ns a byte; 0: a total
  std::uint64_t most() const { return q4 != 0 ? bytes * q4 : bytes; }  // in units of the word
};
inline AccountPart part_of(const weir_limit& row, std::uint32_t per) {  // of an account's `per`
  if ((per & WEIR_PER_UNNAMED) != 0) return {row.unnamed_bytes, row.unnamed_ns_per_byte_q4};
  return {row.bytes, row.ns_per_byte_q4};
}
// What it may take without being listed on the disk.
inline std::uint64_t unlisted_of(const weir_limit& row, std::uint32_t per) {
  const AccountPart part = part_of(row, per);
  if ((per & WEIR_PER_OVERFLOW) != 0) return 0;
  const std::uint64_t share = part.most() / WEIR_UNLISTED_SHARE;
  return part.q4 != 0 ? share : std::min<std::uint64_t>(share, WEIR_UNLISTED_OF_TOTAL);
}

// What the disk says of an account: it has spent at most so much, of a window: of its burst.
// Accounts of rows with WEIR_LIMIT_KEPT; the row is told by its name, which lasts longer than its
// place.
struct KeptAccount {
  std::uint64_t row_name = 0;
  std::uint32_t per = 0;  // as in weir_account_key
  std::uint32_t pad = 0;
  std::uint64_t who = 0, dest = 0;
  std::uint64_t bytes = 0;
};

// What was spent before this boot, or before pins were released (docs/decisions/0030).
struct KernelPast {
  std::span<const KeptAccount> accounts;
  bool known = false;  // there was something to say; else this is the first start here
  bool lost = false;   // and it can't be read: whatever is not known to be free is spent
};

// A policy as the kernel part's tables hold it.
struct KernelPolicy {
  std::span<const weir_limit> rows;
  std::span<const std::pair<Prefix, weir_prefix>> prefixes;
  weir_state state{};  // as set_state() takes it, but for the generation
  // Of tables that begin empty; accounts of rows that the policy has not are left out.
  const KernelPast* past = nullptr;
};

// What a person may send although rows of the policy are set aside (WEIR_LIMIT_GRANTED).
struct KernelException {
  std::uint32_t number = 0;  // of this one alone while it lasts; never 0
  std::uint32_t person = 0;
  std::uint64_t bytes = 0;  // at most WEIR_MOST_GRANTED
  std::uint64_t until_boot_ns = 0;
};
// A flow that waits for an answer.
struct KernelHold {
  std::uint64_t cookie = 0;
  weir_hold flow{};
};
// The row of a rule that holds.
weir_limit hold_row(std::uint64_t goes_on_ns = 0);
// Closes the streams that wait by the tables that are pinned there: what they hold must not leave
// when the pins go. How many.
std::size_t end_pinned_holds(const std::string& pin_dir);

// The row that every table has after the policy's.
weir_limit exceptions_row();
// How much of a granted account is left.
std::uint64_t left_of(const weir_account& granted);
// Nothing more is charged to it: it refused a packet, so its rest is less than one, and the flows
// are back at their ordinary rows.
bool is_used_up(const weir_account& granted);

// What a prefix of an answer is under a policy of these prefixes, while its name is blocked.
weir_prefix shut_prefix(std::span<const std::pair<Prefix, weir_prefix>> prefixes,
                        const Prefix& place, std::uint64_t name, std::uint64_t unclassified);

// The destination key that the kernel uses where neither verdict nor prefix gives one: the /24 or
// /48.
std::uint64_t default_destination(const IpAddress& address);

Result<std::string> cgroup2_root();  // mount point, from /proc/self/mountinfo

struct KernelState;  // kernel_state.h

class KernelPart {
 public:
  // Loads every program that this kernel takes and attaches it. Fails only if a required program
  // (egress, sock_create, connect, fork, exit) doesn't load; programs() says what the others cost.
  // With a pin_dir that holds pins of this layout these are adopted: accounts go on, no packet
  // slips by. With pins of another layout nothing leaves until replace() (state().swapping).
  static Result<KernelPart> load(const KernelOptions& options);
  // Tries to load each program and attaches none: for `weir doctor`, also where load() fails.
  static std::vector<KernelProgram> probe();
  // Tier 2. An Error says why this host has none.
  static Result<void> try_lsm();
  // Removes every pin below pin_dir/weir (all layouts). Links that nobody else holds end with it.
  static Result<void> release(const std::string& pin_dir);
  // What a guard of other tables (WEIR_LAYOUT) pinned: it can be neither adopted nor changed.
  static Result<void> forget_other_layouts(const std::string& pin_dir);

  KernelPart(KernelPart&&) noexcept;
  KernelPart& operator=(KernelPart&&) noexcept;
  ~KernelPart();  // detaches what is not pinned

  const std::vector<KernelProgram>& programs() const;
  bool adopted() const;
  Result<void> has_lsm() const;  // as try_lsm(), of what is attached

  // Rows and state change for packets from now on. `rows` beyond its size are unused.
  Result<void> set_limits(std::span<const weir_limit> rows);
  Result<std::vector<weir_limit>> limits() const;  // as the table has them, all WEIR_LIMITS
  Result<void> set_state(
      const weir_state& state);  // `fixed`, `verdicts`, `blocks` are filled in here
  const weir_state& state() const;
  Result<void> overwrite_state(const weir_state& state);  // all of it; for tests of cut-off swaps

  // Puts this policy in the place of the one in the tables. Meanwhile nothing is charged: what
  // would be is lost (a stream sends it again). A row goes on with the accounts of the row of its
  // name, wherever that stood and whatever its bytes were; other rows start fresh. Verdicts and
  // prefixes of before are gone, but for what leads to a blocked name: its rows are those of the
  // policy's own prefix around it. An Error: the former one is in force still. A loader that is
  // killed in the middle leaves tables under which nothing leaves until its successor calls this.
  Result<void> replace(const KernelPolicy& policy);

  Result<void> put_prefix(const Prefix& prefix, const weir_prefix& value);
  Result<void> remove_prefix(const Prefix& prefix);
  // `via`: index of the interface that the verdict rests on, 0: none. Once a packet of the socket
  // leaves by another, the verdict is over for good and the address decides. `exception`: whose
  // account row WEIR_EXCEPTIONS of `limits` is; 0 without that row.
  Result<void> put_verdict(std::uint64_t cookie, std::uint64_t limits, std::uint64_t destination,
                           std::uint32_t via = 0, std::uint32_t exception = 0);
  // After a batch of verdicts: streams of this network namespace that waited for one of them send
  // at once, where this kernel can. Nothing to do if none waited. Elsewhere TCP's next try does it.
  void wake();
  Result<void> remove_verdict(std::uint64_t cookie);  // of a socket that closed
  // Where what no socket of a network protocol sent is charged: at these devices, and no others. An
  // Error is about one of them; the rest hold.
  Result<void> set_floor(std::span<const Device> devices);

  // Reads what the devices of the floor say that they have sent; once a second. And all of it.
  void look_at_wire();
  WireBytes wire() const;

  // Looks at every hook and every pin, and puts back what is gone. What can't be put back is told
  // once and tried again at each look. Nothing to do where the cgroup itself is gone. What load()
  // found gone of a former loader's is told by the first look. Pins let nothing out while we run:
  // they may be looked at less often.
  enum class Look { at_hooks, at_all };
  std::vector<Removed> mend(Look look = Look::at_all);

  // The tree loses `target` (0 everything, 53 DNS, else a destination key) until then.
  Result<void> put_block(std::uint64_t tree, std::uint64_t target, std::uint64_t until_boot_ns);
  Result<void> remove_block(std::uint64_t tree, std::uint64_t target);
  std::size_t expire_blocks(std::uint64_t now_boot_ns);  // removes rows that ended; how many

  // Until then nothing leaves but to the refuges, and what the home cgroup sends; 0: ends that. An
  // Error: it is as before.
  Result<void> isolate(std::uint64_t until_boot_ns);
  // Places that are blocked from now on, instead of those before: each of its slot until its time.
  // One that stays is at no moment open. An Error: those of before hold, and no other.
  Result<void> set_shuts(std::span<const KernelShut> shuts);
  std::vector<KernelShut> shuts() const;  // as the tables have them, those that ended too
  // Prefixes whose destination key is a blocked name's.
  std::vector<std::pair<Prefix, weir_prefix>> shut_prefixes() const;
  // Flows whose verdict says that they go to a blocked name: by their cookies, its key.
  std::unordered_map<std::uint64_t, std::uint64_t> shut_verdicts() const;
  // Until then accounts and blocks count and tell, and refuse nothing; 0: ends that. The kernel's
  // own time ends it, whoever lives.
  Result<void> observe(std::uint64_t until_boot_ns);
  // Where an isolated host may still send, instead of where it could before. A prefix within
  // another that may take all may take all too. An Error: more than WEIR_REFUGES, or no memory.
  Result<void> set_refuges(std::span<const std::pair<Prefix, std::uint32_t>> refuges);

  // Flows that wait for an answer. `account`: the row's number in account keys.
  std::vector<KernelHold> holds() const;
  // Until then nothing of that tree waits for this row there. Those that do go on once they are
  // forgotten, and wake() was called.
  Result<void> answer_hold(std::uint32_t account, std::uint64_t tree, std::uint64_t destination,
                           std::uint64_t until_boot_ns);
  bool forget_hold(std::uint64_t cookie);             // false: it was not there
  std::uint32_t row_of(std::uint32_t account) const;  // WEIR_LIMITS: no row's any more
  std::uint32_t account_of(std::uint32_t row) const;

  // Opens the account of an exception: `bytes` of row WEIR_EXCEPTIONS for that person's flows whose
  // verdict names it. An Error if it is there already: what was spent stays spent.
  Result<void> grant(const KernelException& exception);
  Result<void> end_grant(std::uint32_t person, std::uint32_t exception);
  // What is left of it; nothing: there is none.
  std::optional<std::uint64_t> left_of_grant(std::uint32_t person, std::uint32_t exception) const;

  // Starts a tree at a process (0 for a field that is to be found out). Returns the tree's id.
  Result<std::uint64_t> put_task(std::uint32_t pid, std::uint32_t person = 0xffffffff,
                                 std::uint32_t flags = 0);
  // With known_trees: a socket of this cgroup that no task was seen to make (MPTCP subflows are
  // made by the kernel) belongs to this tree. Else what this cgroup sends is charged to nobody: it
  // has a bound of its own (UplinkCage).
  Result<void> set_home(const std::string& cgroup, std::uint64_t tree);
  // In the place of those before. One that is not there is left out: a program that is upgraded is
  // another file from then on.
  Result<void> set_launchers(std::span<const std::string> executables);
  // Tasks in scope, found in /proc: known ones keep what they are. Returns how many were added.
  Result<std::size_t> scan_tasks(bool bind_sockets);

  // How far accounts may get: those of rows with WEIR_LIMIT_KEPT, while packets are charged to
  // them. One that is gone is left out.
  void keep(std::span<const weir_keep> accounts);
  // Streams that were stopped because the disk did not vouch for more go on at once.
  void wake_early();
  // An account got beyond its mark since this was asked last. Known after poll_told().
  bool take_asked();

  Result<std::vector<KernelAccount>> accounts() const;
  std::optional<weir_account> account(const weir_account_key& key) const;
  // Keeps the table from filling up over months: removes accounts that nobody charged for `idle_ns`
  // and that a fresh one would equal (a window that is full again), or that no task can reach any
  // more (a tree without tasks). Looks once a minute, however often it is called; how many went.
  std::size_t forget_idle_accounts(std::uint64_t now_boot_ns,
                                   std::uint64_t idle_ns = 600'000'000'000);
  Result<void> forget_accounts_of_tree(std::uint64_t tree);  // after its last process and socket
  Result<void> forget_accounts_of_row(std::uint32_t row);    // the row means something else now
  Result<std::vector<KernelTask>> tasks() const;
  std::optional<weir_task> task(std::uint32_t pid) const;
  std::array<std::uint64_t, WEIR_COUNTERS> counters() const;

  // Over the TCP sockets of this network namespace that this kernel part knows, those that no
  // process holds any more included: bytes that their peers have not acknowledged; and the end of
  // those that have such bytes.
  Result<std::uint64_t> unsent() const;
  Result<std::size_t> destroy_sockets();

  // New descriptors of the rings' maps, for the caller to pass on and close. The engine reads
  // `events` by EventRing (platform/linux/event_ring.h).
  Result<int> events_fd() const;
  Result<int> told_fd() const;
  int told_poll_fd() const;  // readable when poll_told() has something
  // Calls back for every refusal in the ring `told`, and every flow that begins to wait for an
  // answer (WEIR_REC_HELD), without waiting. How many there were.
  std::size_t poll_told(const std::function<void(const weir_refused&)>& told);

 private:
  explicit KernelPart(std::unique_ptr<KernelState> state);
  std::unique_ptr<KernelState> state_;
};

// Closes a TCP socket (or UDP) of this network namespace by sock_diag: the peer gets a reset, the
// application ECONNABORTED at once, what is queued is thrown away. An error if it is gone already.
Result<void> destroy_socket(const weir_tuple& tuple, std::uint64_t cookie);

// Closes every TCP socket of this network namespace that was made in that cgroup (not those below
// it) and holds bytes that its peer has not acknowledged, also those that no process holds any
// more. Returns how many.
Result<std::size_t> destroy_sockets_of_cgroup(std::uint64_t cgroup_id);

// Addresses that TCP sockets made in that cgroup are connected to, or about to be.
std::vector<IpAddress> peers_of_cgroup(std::uint64_t cgroup_id);

// Bytes that TCP sockets made in that cgroup hold unacknowledged, those nobody holds included.
std::uint64_t unsent_of_cgroup(std::uint64_t cgroup_id);

}  // namespace weir
