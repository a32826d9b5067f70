/* The uplink's cage: what its cgroup may send. Collector and resolvers by address, port and
 * protocol; everything else is dropped and counted. No more than that: it reads no other packet and
 * keeps no state. Dual BSD/GPL as weir.bpf.c. */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "cage_abi.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEIR_CAGE_PLACES);
  __type(key, struct weir_cage_place);
  __type(value, w_u32);
} places SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, WEIR_CAGE_COUNTERS);
  __type(key, w_u32);
  __type(value, w_u64);
} cage_counters SEC(".maps");

static __always_inline int end(w_u32 which) {
  w_u64* n = bpf_map_lookup_elem(&cage_counters, &which);
  if (n) *n += 1;
  return which == WEIR_CAGE_PASSED;
}

/* 0: the packet is not of a kind that may pass. Else where its transport header begins. */
static __always_inline w_u32 read_v4(struct __sk_buff* skb, struct weir_cage_place* to) {
  w_u8 h[20];
  if (bpf_skb_load_bytes(skb, 0, h, sizeof(h))) return 0;
  if (((h[6] & 0x1f) | h[7]) != 0) return 0; /* a later fragment says no port */
  to->protocol = h[9];
  to->address[10] = to->address[11] = 0xff;
  __builtin_memcpy(to->address + 12, h + 16, 4);
  return (h[0] & 0xf) * 4;
}

static __always_inline w_u32 read_v6(struct __sk_buff* skb, struct weir_cage_place* to) {
  w_u8 h[40];
  if (bpf_skb_load_bytes(skb, 0, h, sizeof(h))) return 0;
  to->protocol = h[6]; /* an extension header is no transport: it does not pass */
  __builtin_memcpy(to->address, h + 24, 16);
  return sizeof(h);
}

SEC("cgroup_skb/egress")
int weir_cage(struct __sk_buff* skb) {
  struct weir_cage_place to = {};
  w_u8 first = 0;
  if (bpf_skb_load_bytes(skb, 0, &first, 1)) return end(WEIR_CAGE_DROPPED);
  w_u32 at = 0;
  if (first >> 4 == 4) at = read_v4(skb, &to);
  if (first >> 4 == 6) at = read_v6(skb, &to);
  w_u16 port = 0; /* of the destination: two bytes behind the source's, in TCP and UDP */
  if (!at || bpf_skb_load_bytes(skb, at + 2, &port, sizeof(port))) return end(WEIR_CAGE_DROPPED);
  to.port = bpf_ntohs(port);
  return end(bpf_map_lookup_elem(&places, &to) ? WEIR_CAGE_PASSED : WEIR_CAGE_DROPPED);
}
