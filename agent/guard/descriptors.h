// Numbers of the descriptors that the programs hand down: fixed, so that nothing has to be told.
// `weir run` sets up those of the guard, the guard's spawner those of the engine. Where one is not
// wanted it is open on /dev/null.
#pragma once

namespace weir::fds {

// guard
inline constexpr int kFlatPolicy = 3;  // sealed memory: agent/guard/flat_policy.h
inline constexpr int kPolicy = 4;      // sealed memory: weir.v1.Policy, which the guard never reads
inline constexpr int kReady = 5;       // pipe: one byte once enforcement is in force

// guard and engine, at the same numbers
inline constexpr int kRecord = 6;    // event log
inline constexpr int kReports = 7;   // state: reports, for `weir why`
inline constexpr int kUsage = 8;     // state: usage rows
inline constexpr int kSessions = 9;  // state: logins, su, sudo
inline constexpr int kUtmp = 10;     // read only: who is logged in
// With a collector; else /dev/null, and the engine keeps no spool.
inline constexpr int kSpool = 11;         // folder of the spool: the engine's to write
inline constexpr int kAcknowledged = 12;  // read only: what the uplink says may be forgotten
inline constexpr int kNews = 13;          // eventfd: bumped after each commit of the spool
inline constexpr int kLast = kNews;       // of what both have

// guard, with a collector; else /dev/null
inline constexpr int kTrust = 14;  // read only: agent/guard/trust.h
inline constexpr int kKept = 15;   // read only: the last good signed policy, compiled.h
inline constexpr int kKeep = 16;   // socketpair: what `weir run` keeps on the disk, keeping.h
// spawner, for the uplink: what is to be its kUplinkSpool … kUplinkIdentity
inline constexpr int kSpawnSpool = 17;
inline constexpr int kSpawnAcknowledged = 18;
inline constexpr int kSpawnIdentity = 19;
inline constexpr int kSpawnCgroup = 20;  // cgroup.procs of its own cgroup
inline constexpr int kDone = 21;         // guard, read only: commands of before, done_commands.h
inline constexpr int kExceptions = 22;   // guard, read only: of before, exceptions.h
inline constexpr int kRequests = 23;     // socketpair: what persons ask for, from `weir run`
// Also without a collector; /dev/null where nothing is kept (`weir exec`).
inline constexpr int kAccounts = 24;  // guard, read only: what was spent before, kept_accounts.h
inline constexpr int kKeepAccounts = 25;  // socketpair: what is spent, for `weir run` to write
inline constexpr int kReleases = 26;      // socketpair, with a collector: spoken answers, release.h
inline constexpr int kAnswers = 27;       // socketpair: persons' answers, from `weir run`
inline constexpr int kGuardLast = kAnswers;

// engine
inline constexpr int kGuard = 3;  // socketpair
inline constexpr int kSource =
    5;  // ring of the kernel part, or a packet socket where there is none

// compile child, and those that read a command or a set of keys: the answer goes to kRecord
inline constexpr int kCompileEnvelope = 3;  // sealed memory

// uplink: arguments are `--collector HOST:PORT`; standard error is the guard's
inline constexpr int kUplinkGuard = 3;         // socketpair: agent/guard/uplink_messages.h
inline constexpr int kUplinkSpool = 4;         // folder, read only
inline constexpr int kUplinkAcknowledged = 5;  // read and write
inline constexpr int kUplinkIdentity = 6;      // folder STATE/identity, its own
inline constexpr int kUplinkNews = 7;          // eventfd: the engine committed records
inline constexpr int kUplinkLast = kUplinkNews;

}  // namespace weir::fds
