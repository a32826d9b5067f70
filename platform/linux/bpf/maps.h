/* The tables of the kernel part. Those that hold what was spent or who is who are pinned and
 * adopted by a restarted guard; sizes come from weir_abi.h, the loader may make them smaller for
 * tests. */
#ifndef WEIR_MAPS_H
#define WEIR_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "weir_abi.h"

typedef w_u8 u8;
typedef w_u16 u16;
typedef w_u32 u32;
typedef w_u64 u64;

#define WEIR_VERDICTS 65536u /* sockets with a verdict at once; more: they stay unclassified */
#define WEIR_HELD 4096u      /* sockets that wait for their verdict at once */
#define WEIR_FAMILIES 1024u  /* persons and families: a desk has a few of each */
#define WEIR_LAUNCHERS 256u  /* declared launchers: a desk has about twenty */
#define WEIR_CARRIED                                                           \
  4096u /* addresses that containers talk to; a forgotten one is charged again \
         */
#define WEIR_EVENTS_BYTES (8u << 20) /* 2 s of 2,000 new flows a second with a 2 KiB head each */
#define WEIR_TOLD_BYTES (256u << 10) /* 1,500 refusals that the guard has not read yet */

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, WEIR_LIMITS);
  __type(key, u32);
  __type(value, struct weir_limit);
} limits SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEIR_ACCOUNTS);
  __type(key, struct weir_account_key);
  __type(value, struct weir_account);
} accounts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEIR_TASKS);
  __type(key, u32);
  __type(value, struct weir_task);
} tasks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags,
         BPF_F_NO_PREALLOC | BPF_F_CLONE); /* clone: accepted sockets are their listener's */
  __type(key, int);
  __type(value, struct weir_socket);
} sockets SEC(".maps");

/* LRU: sockets keep what they took, so that the oldest may go; a guard can't know when each is
 * closed. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, WEIR_VERDICTS);
  __type(key, u64);
  __type(value, struct weir_verdict);
} verdicts SEC(".maps");

/* Sockets that wait for their verdict: whether a verdict frees one, so that the guard must wake it.
 * LRU: one that is forgotten goes on by TCP's own retry. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, WEIR_HELD);
  __type(key, u64);
  __type(value, u64);
} held SEC(".maps");

/* Never LRU: one that is forgotten would wait for ever. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEIR_HOLDS);
  __type(key, u64);
  __type(value, struct weir_hold);
} holds SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEIR_PREFIXES);
  __type(key, struct weir_prefix_key);
  __type(value, struct weir_prefix);
} prefixes SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, WEIR_CARRIED);
  __uint(key_size, 16);
  __type(value, struct weir_carried);
} carried SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEIR_REFUGES);
  __type(key, struct weir_prefix_key);
  __type(value, struct weir_refuge);
} refuges SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, WEIR_SHUTS);
  __type(key, u32);
  __type(value, struct weir_shut);
} shuts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEIR_SHUT_PLACES);
  __type(key, struct weir_prefix_key);
  __type(value, struct weir_shut_slots);
} shut SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEIR_SHUT_PLACES);
  __type(key, u64);
  __type(value, struct weir_shut_slots);
} shut_names SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEIR_PLAIN);
  __type(key, u32);
  __type(value, u32);
} plain SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
  __uint(max_entries, WEIR_PLAIN);
  __type(key, u32);
  __type(value, u64);
} wire SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEIR_PLAIN);
  __type(key, u32);
  __type(value, struct weir_device);
} devices SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, u32);
  __type(value, struct weir_tunnels);
} tunnels SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEIR_LAUNCHERS);
  __type(key, struct weir_inode_key);
  __type(value, u32);
} launchers SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, u32);
  __type(value, struct weir_state);
} state SEC(".maps");

/* LRU: one that is forgotten is told once more, and counts from 0. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, WEIR_FAMILIES);
  __type(key, struct weir_family_key);
  __type(value, struct weir_family);
} families SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, WEIR_COUNTERS);
  __type(key, u32);
  __type(value, u64);
} counters SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, WEIR_EVENTS_BYTES);
} events SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, WEIR_TOLD_BYTES);
} told SEC(".maps");

/* Who a frame without a socket of ours belongs to, in the shape that records take. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, u32);
  __type(value, struct weir_socket);
} nobodies SEC(".maps");

/* Fixed when the object is loaded. */
volatile const u64 scope_cgroup = 0; /* id of the cgroup that the programs are attached to */
volatile const u32 scope_level = 0;  /* its depth below the root */
volatile const u32 known_trees_only = 0;
/* Cookie of the network namespace that the guard runs in; 0: this kernel does not tell (< 5.14). A
 * person can make a namespace of their own, with interfaces of any name and number. */
volatile const u64 home_network = 0;
volatile const u64 counted_families = WEIR_COUNTED_FAMILIES;

static __always_inline void count(u32 which) {
  u64* n = bpf_map_lookup_elem(&counters, &which);
  if (n) *n += 1;
}

#endif
