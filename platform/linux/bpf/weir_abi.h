/* What the kernel part and user space share: map keys and values, ring records, limits. C, because
 * both the BPF compiler and C++ read it; fixed widths, no padding that is not named. A change of
 * any struct that is pinned (maps) bumps WEIR_LAYOUT; a guard adopts only pins of its own layout.
 */
#ifndef WEIR_ABI_H
#define WEIR_ABI_H

#ifdef __cplusplus
#include <cstdint>
typedef std::uint8_t w_u8;
typedef std::uint16_t w_u16;
typedef std::uint32_t w_u32;
typedef std::uint64_t w_u64;
#else
typedef unsigned char w_u8;
typedef unsigned short w_u16;
typedef unsigned int w_u32;
typedef unsigned long long w_u64;
#endif

#define WEIR_LAYOUT 12u

#define WEIR_LIMITS 64u        /* rows of the limit table: one bit each in a u64 (kMaxLimits) */
#define WEIR_POLICY_LIMITS 63u /* a policy's; the one after them is WEIR_EXCEPTIONS */
#define WEIR_EXCEPTIONS 63u    /* what persons may send by exceptions: WEIR_LIMIT_GRANTED */
#define WEIR_CHARGES \
  8u /* accounts that one packet may touch; with more it is refused and counted */
#define WEIR_TASKS 65536u
#define WEIR_ACCOUNTS 65536u
#define WEIR_PREFIXES 65536u
#define WEIR_INODES 65536u
#define WEIR_PLAIN 256u /* devices of hardware; what leaves by one more is charged twice */
#define WEIR_REFUGES \
  256u                 /* a policy's 80 and its and the host's resolvers, twice while they change */
#define WEIR_SHUTS 16u /* blocks of a destination at once */
#define WEIR_SHUT_PLACES 32u /* one each, twice while they change */
#define WEIR_HEAD_MAX \
  2048u /* bytes of one packet that the ring carries: a post-quantum hello is about 1.8 kB */
#define WEIR_HEAD_FLOW \
  8192u /* payload bytes of one flow that the ring carries before it is classified */

/* ---- limit table: ARRAY[WEIR_LIMITS] ------------------------------------------------------ */
enum weir_per {
  WEIR_PER_NONE,
  WEIR_PER_TREE,
  WEIR_PER_PERSON,
  WEIR_PER_HOST,
  WEIR_PER_PERSON_DEST,
  WEIR_PER_TREE_DEST,
  WEIR_PER_HOST_DEST,
  WEIR_PER_FLOW /* a socket: its word is in weir_socket, not in the table */
};
#define WEIR_PER_UNNAMED 8u /* or'ed to an account's `per`: its flows wait for their name */
#define WEIR_PER_OVERFLOW \
  16u /* and: the row's account for all whose own found no room in the table */
#define WEIR_LIMIT_OBSERVE 1u /* count and tell, never refuse */
#define WEIR_LIMIT_FIXED 2u   /* no verdict may take a socket off this row */
/* Its accounts are made by the guard alone, one an exception: keyed by person and, in `dest`, the
 * exception's number, which the verdict brings. A total of WEIR_MOST_GRANTED whose word begins at
 * what was not granted. Absent, or past until_ns: no room. */
#define WEIR_LIMIT_GRANTED 4u
/* What is spent of it is on the disk before it is spent (decision 0030): an account takes no more
 * than `kept`, which the guard raises once the disk says so. */
#define WEIR_LIMIT_KEPT 8u
/* What an account that the disk does not list may take: this part of its burst; of a total no more
 * than a name to be looked up and a hello need. */
#define WEIR_UNLISTED_SHARE 8u
#define WEIR_UNLISTED_OF_TOTAL 4096u
/* It charges nothing. A flow under it sends its first flight and no more, until somebody answers
 * for its tree and place: then an account of the row says until when it goes on (until_ns). `per`
 * is WEIR_PER_TREE_DEST. */
#define WEIR_LIMIT_HOLD 16u
#define WEIR_MOST_GRANTED (1ull << 40) /* 1 TiB: far above what the guard lets pass */

struct weir_limit {
  union {
    w_u64 bytes; /* total limits: all of it; windowed: the burst (half of the policy's number) */
    w_u64 goes_on_ns; /* of a hold: what has waited so long goes on without an answer, also where no
                         guard is there to let it go; 0: never */
  };
  w_u64 ns_per_byte_q4; /* windowed: refill, ns per byte in 1/16 ns, rounded up; 0: a total */
  /* Rows per destination: the part of the number for flows that wait for their name. Together with
   * the part above it is the whole number. */
  w_u64 unnamed_bytes, unnamed_ns_per_byte_q4;
  w_u64 flow_bytes; /* rows per flow: what one socket may send. `bytes` and its refill are then what
                       leaves without a socket, by person: frames, what is forwarded */
  w_u64 name;   /* of what the row means: in another policy one of the same name goes on with its
                   accounts; 0: none */
  w_u32 per;    /* enum weir_per; NONE: row unused */
  w_u32 labels; /* applies only where socket or task carries one of them; 0: always */
  w_u32 flags;
  w_u32 account; /* its number in account keys; 0: the row's own. The loader fills it in */
};

/* ---- account: HASH, never LRU (eviction would be a refill) -------------------------------- */
#define WEIR_ISOLATED (WEIR_LIMITS + 1u) /* in records: no row refused it, the host is isolated */
#define WEIR_SHUT \
  (WEIR_LIMITS + 2u) /* likewise: an administrator blocked the place; `dest` is the slot */
/* In records: no row is about it. A socket of a family that nobody charges was refused, or made, or
 * bytes were sent on one. `dest`: the family; `charged`: bytes that the person sent so far. */
#define WEIR_FAMILY_REFUSED (WEIR_LIMITS + 3u)
#define WEIR_FAMILY_MADE (WEIR_LIMITS + 4u)
#define WEIR_FAMILY_SENT (WEIR_LIMITS + 5u)
struct weir_account_key {
  w_u32 limit; /* row, or weir_limit.account; WEIR_LIMITS: a lease row (block). In records: row */
  w_u32 per;
  w_u64 who; /* tree id, person, 0 for the host. In records of rows per flow: the socket's cookie */
  w_u64 dest; /* destination key, 0 where the limit has none; row WEIR_EXCEPTIONS: the exception */
};
struct weir_account {
  w_u64 word;     /* the one atomic word: total: bytes spent; windowed: theoretical arrival time in
                     1/16 ns since boot, so that a charge and its undo are the same whole number */
  w_u64 charged;  /* bytes charged for ever, added only after every level agreed */
  w_u64 refused;  /* bytes refused */
  w_u64 until_ns; /* lease rows, exceptions: boot time at which it ends; a lease row's dest: 0
                     everything, 53 DNS, else a key */
  w_u64 told_ns;  /* last time a refusal of this row was put into the ring */
  /* Rows with WEIR_LIMIT_KEPT, in units of the word; of a window: ahead of now. */
  w_u64 kept;     /* it never gets further than this */
  w_u64 mark;     /* beyond it the guard is asked for more */
  w_u64 asked_ns; /* when it was asked last */
};
struct weir_open { /* whose accounts are to be made before anything is sent */
  w_u32 person, pad;
};
struct weir_keep { /* how an account's `kept` and `mark` are changed while packets are charged */
  struct weir_account_key key;
  w_u64 kept, mark;
};

/* The person of frames that no program of this machine sent: forwarded, or the kernel's own. No
 * login uid is this (-1 is unset, -2 an overflow of user namespaces). */
#define WEIR_FORWARDED 0xfffffffdu

/* Lease rows: what the tree loses; other numbers are destination keys. */
#define WEIR_TARGET_EVERYTHING 0u
#define WEIR_TARGET_DNS 53u

/* ---- task: HASH tgid ----------------------------------------------------------------------- */
struct weir_task {
  w_u64 tree; /* id: start time of the root's process, boot ns, or'ed unique */
  w_u64 start_ns;
  w_u32 person;
  w_u32 labels;
  w_u32 uid;
  w_u32 flags; /* WEIR_TASK_LAUNCHER: its children are new trees */
};
#define WEIR_TASK_LAUNCHER 1u
#define WEIR_TASK_ROOT                                                                             \
  2u                       /* a launcher started it (or it was found): it may be a launcher itself \
                            */
#define WEIR_TASK_FRESH 4u /* has not called exec yet: its person is fixed then */

/* ---- socket: SK_STORAGE -------------------------------------------------------------------- */
struct weir_tuple { /* network order addresses, host order ports */
  w_u8 local[16], remote[16];
  w_u16 local_port, remote_port;
  w_u8 protocol; /* IPPROTO_* */
  w_u8 family;   /* AF_INET or AF_INET6, as the socket was made */
  w_u16 pad;
};
#define WEIR_SEVERAL 0xffffffffu
#define WEIR_EARLY 0x100u /* or'ed to 1 + a row that refused */
struct weir_socket {
  w_u64 cookie, tree, limits, dest;
  w_u64 bytes_out, bytes_in, refused;
  w_u64 told_bytes;   /* out + in / 16 at the last usage record */
  w_u64 first_flight; /* bytes sent before the verdict, charged to every row of `limits` */
  w_u64 first_ns;     /* boot time of the first of them */
  w_u64 wait_ns;      /* boot time since which it waits for its verdict, 0: it doesn't */
  w_u64 stopped_dest; /* where its first flight does not fit, if `stopped` */
  w_u64 asked;        /* what may be answered: WEIR_ANSWER_FACTOR times the bytes of questions */
  w_u64 answered;     /* never more than `asked` */
  w_u64 flow;         /* bytes sent while a row per flow counted: one word for all such rows */
  w_u64 flow_told_ns; /* last time a refusal of such a row was put into the ring */
  struct weir_tuple
      tuple; /* of the first packet that left: `limits` and `dest` are for its remote */
  w_u32 person, labels, pid, generation;
  w_u32 verdicts;     /* weir_state.verdicts when it last looked */
  w_u32 max_seq;      /* TCP: highest end of sequence that was charged */
  w_u32 datagrams_in; /* since our last datagram: acknowledgements are told from sending */
  w_u32 flags;
  w_u32 head;      /* payload bytes already put into the ring */
  w_u32 stopped;   /* 1 + the row of its verdict that has no room for its first flight; 0: it goes;
                      WEIR_EARLY: the disk does not vouch for it yet */
  w_u32 via;       /* its verdict holds over this interface alone; 0: over any */
  w_u32 first_via; /* interface of its first flight; WEIR_SEVERAL: it left by more than one */
  w_u32 exception; /* whose account its row WEIR_EXCEPTIONS charges; 0: none */
  w_u32 plain_via; /* a device of `plain` that it left by last; 0: none */
};
#define WEIR_SOCKET_CLASSIFIED 1u
#define WEIR_SOCKET_SEQ 2u       /* max_seq is valid */
#define WEIR_SOCKET_LOOKED_UP 4u /* limits, dest and tuple are valid */
#define WEIR_SOCKET_MANY 8u /* a datagram socket with more than one peer: no verdict is for it */
#define WEIR_SOCKET_PROVISIONAL \
  16u                          /* made by a launcher or by nobody known: who sends on it owns it */
#define WEIR_SOCKET_WAITED 32u /* verdict_wait is over: goes on, charged to `unclassified` */
#define WEIR_SOCKET_TOLD 64u   /* a refusal on it was put into the ring */
#define WEIR_SOCKET_TOLD_SETTLED 512u /* and one that said that the row counts for good */
#define WEIR_SOCKET_CLAIMED 256u      /* one packet is looking it up */
#define WEIR_SOCKET_UNNAMED 1024u     /* its rows per destination: WEIR_PER_UNNAMED */
#define WEIR_SOCKET_SETTLING 2048u    /* one packet is moving its first flight */
#define WEIR_SOCKET_HOME 4096u        /* made in the network namespace that the policy speaks of */
#define WEIR_SOCKET_ELSEWHERE 8192u   /* made in another: a container's */
#define WEIR_SOCKET_BEGUN 32768u      /* tuple is valid: it has sent a segment without bytes */
#define WEIR_SOCKET_INNER 65536u      /* it has sent by a device that is not in `plain` */
#define WEIR_SOCKET_ROOTS 131072u     /* made by root, or by the kernel itself */
#define WEIR_SOCKET_CARRIER 262144u   /* root's, to a gateway: no verdict is for it */
#define WEIR_SOCKET_EARLY 16384u      /* a packet of it was lost early: see WEIR_COUNT_EARLY */
#define WEIR_SOCKET_HELD 524288u      /* it waits, or waited, for an answer: see WEIR_LIMIT_HOLD */
#define WEIR_SOCKET_CLOSED 128u /* closed by its last holder; TCP may still send what is queued */
#define WEIR_SOCKET_FLAGS 20    /* of these: each a bit of its own, from the lowest on */

/* ---- verdict: HASH cookie → limits, written by the guard for the engine --------------------- */
struct weir_verdict {
  w_u64 limits, dest;
  w_u32 generation;
  w_u32 via;       /* index of the interface that the verdict rests on; 0: it holds over any */
  w_u32 exception; /* with row WEIR_EXCEPTIONS; else 0 */
  w_u32 kept;      /* 1: of the policy before, for its blocked name; nobody else's flow takes it */
};

/* ---- holds: HASH cookie → a flow that waits for an answer. The guard ends it. ---------------- */
#define WEIR_HOLDS 2048u /* 256 for each of eight persons; one that finds no room is ended */
struct weir_hold {
  w_u64 since_ns, tree, dest;
  struct weir_tuple tuple;
  w_u32 limit; /* as in account keys */
  w_u32 person, pid;
  w_u32 closed; /* nobody holds the socket any more; TCP may still keep its queue */
};

/* ---- prefix: LPM over the 128-bit form ------------------------------------------------------ */
struct weir_prefix_key {
  w_u32 length; /* bits, 0..128 */
  w_u8 address[16];
};
struct weir_prefix {
  w_u64 limits, dest;
  w_u32 trust, final; /* final: the address alone decides; no verdict is awaited */
};

/* ---- refuge: LPM over the 128-bit form: where an isolated host may still send ---------------- */
#define WEIR_REFUGE_ALL 1u /* whatever goes there */
#define WEIR_REFUGE_DNS 2u /* questions to a resolver */
/* No refuge: the far end of a tunnel that the policy declares (networks: gateway). */
#define WEIR_REFUGE_GATEWAY 4u
struct weir_refuge {
  w_u32 what, pad;
};

/* ---- shuts: ARRAY[WEIR_SHUTS], places that an administrator blocked. shut: LPM over the 128-bit
 *      form → the slots whose address or prefix holds it; each prefix says what those around it say
 *      too. shut_names: HASH destination key of a name → slots, likewise ----------------------- */
struct weir_shut {
  w_u64 until_ns; /* boot time; 0: the slot is free */
  w_u32 person;
  w_u32 everybody; /* 1: whoever it is */
};
struct weir_shut_slots {
  w_u32 slots, pad;
};

/* ---- carried: LRU_HASH remote address → what sockets of other network namespaces have sent there,
 *      charged or free, and no device of this one has seen yet --------------------------------- */
struct weir_carried {
  w_u64 payload, packets;
};

/* ---- plain: HASH index of a device → 1: what leaves by it has reached the wire as it is.
 *      tunnels: ARRAY[1] ------------------------------------------------------------------------
 */
struct weir_tunnels {
  w_u32 laid;  /* 1: `plain` says which devices those are */
  w_u32 inner; /* 1: some socket carries WEIR_SOCKET_INNER, so that the floor must look */
};

/* ---- wire: PERCPU_HASH index of a wire's own device of the floor → bytes of the frames that its
 *      program let pass, by whoever's account: as long as they are at most on the wire.
 *      devices: HASH index → what the device itself says; the loader's, no program reads it. 0:
 * what was found at devices that are gone. ------------------------------------------------------
 */
/* Bytes of Ethernet, without its checksum: a shorter frame is filled up. */
#define WEIR_LEAST_FRAME 60
struct weir_device {
  w_u64 before; /* bytes it had sent when its frames began to be counted */
  w_u64 sent;   /* when it was looked at last */
  w_u32 looks, pad;
};

/* ---- families: LRU_HASH person, family and kind of record → what of it is told ------------ */
struct weir_family_key {
  w_u32 person;
  w_u16 family, kind; /* WEIR_FAMILY_* */
};
struct weir_family {
  w_u64 bytes, told_ns;
};
/* Families whose sockets send nothing that is not charged elsewhere: AF_UNIX, AF_INET, AF_INET6,
 * AF_KEY, AF_NETLINK, AF_PACKET (the floor), AF_PPPOX (what goes into the line's own device is
 * charged there, and its frames pass the floor), AF_ALG; and AF_UNSPEC, which no socket has. */
#define WEIR_COUNTED_FAMILIES                                                                      \
  (1ull | 1ull << 1 | 1ull << 2 | 1ull << 10 | 1ull << 15 | 1ull << 16 | 1ull << 17 | 1ull << 24 | \
   1ull << 38)
/* Asking for a socket of no family and this protocol is answered by weir_family with this error
 * number: a kernel takes the program also where it never calls it (`lsm=` without bpf). */
#define WEIR_TRY_PROTOCOL 0x57454952
#define WEIR_TRY_ANSWER 54 /* EXFULL, which no socket call gives */

/* ---- inode: HASH → labels (written from the issue on that watches files) -------------------- */
struct weir_inode_key {
  w_u64 dev, ino;
};
struct weir_inode {
  w_u32 labels, weight;
};

/* ---- ring records: two rings. `told` (guard): refusals, fixed size, no foreign bytes.
 *      `events` (engine): everything, the packet heads among it. ------------------------------ */
enum weir_record_kind {
  WEIR_REC_HEAD = 1,
  WEIR_REC_USAGE,
  WEIR_REC_REFUSED,
  WEIR_REC_EXEC,
  WEIR_REC_EXIT,
  WEIR_REC_FORK,
  WEIR_REC_LOST,
  WEIR_REC_ASK, /* in `told`, a weir_record without who: some account is beyond its mark */
  WEIR_REC_HELD /* a weir_refused: the flow waits for an answer to row account.limit, for tree
                   account.who at account.dest. `charged`, `length`: bytes out and in so far */
};

struct weir_record { /* starts every record */
  w_u32 kind;
  w_u32 size; /* of the whole record */
  w_u64 boot_ns;
  w_u64 cookie, tree;
  w_u32 person, pid;
};
struct weir_head { /* then `captured` bytes, from the IP header on */
  struct weir_record record;
  w_u32 wire_length, captured;
  w_u8 incoming, pad[3];
  w_u32 via; /* index of its interface; 0: unknown, or of a foreign network namespace */
};
struct weir_usage {
  struct weir_record record;
  struct weir_tuple tuple;
  w_u64 bytes_out, bytes_in, refused; /* since it was opened */
  w_u32
      closed; /* nobody holds it any more; more such records may follow while TCP sends its queue */
  w_u32 pad;
};
struct weir_refused {
  struct weir_record record;
  struct weir_tuple tuple;
  struct weir_account_key account;
  w_u64 charged, length;
  w_u32 settled; /* 1: by verdict, final prefix or time; 0: may yet be taken off this row */
  w_u32 pad;
};
struct weir_exec { /* also: found at start, by the guard */
  struct weir_record record;
  w_u64 start_ns;
  w_u32 parent, uid;
  char program[256]; /* as it was passed to exec, cut, NUL-terminated */
};

/* ---- counters: PERCPU_ARRAY, one line each in the health report ------------------------------ */
enum weir_counter {
  WEIR_COUNT_CHARGED_PACKETS,
  WEIR_COUNT_REFUSED_PACKETS,
  WEIR_COUNT_NO_SOCKET,
  WEIR_COUNT_UNATTRIBUTED,
  WEIR_COUNT_ACCOUNTS_FULL,
  WEIR_COUNT_TASKS_FULL,
  WEIR_COUNT_RING_LOST,
  WEIR_COUNT_TOLD_LOST,
  WEIR_COUNT_CAS_EXHAUSTED,
  WEIR_COUNT_TOO_MANY_LIMITS,
  WEIR_COUNT_UNPARSED,
  WEIR_COUNT_ACKNOWLEDGEMENTS,
  WEIR_COUNT_WAITED,
  WEIR_COUNT_BLOCKED,
  WEIR_COUNT_STORAGE_FULL,
  WEIR_COUNT_WOKEN,
  WEIR_COUNT_SWAPPED, /* lost while a policy took the place of another */
  WEIR_COUNT_ANSWERS,
  WEIR_COUNT_UPKEEP,        /* the kernel's own words to the link */
  WEIR_COUNT_FLOOR_CHARGED, /* frames that only the device's program saw */
  WEIR_COUNT_FLOOR_REFUSED,
  WEIR_COUNT_EARLY,    /* lost because the disk does not vouch for it yet */
  WEIR_COUNT_ISOLATED, /* packets and connections that were kept in */
  WEIR_COUNT_HELD,     /* packets that wait for an answer */
  WEIR_COUNT_HOLDS_FULL,
  WEIR_COUNT_SHUT, /* packets and connections to a place that an administrator blocked */
  WEIR_COUNTERS
};

/* ---- state: ARRAY[1], written by the guard ----------------------------------------------------
 */
struct weir_state {
  w_u64 unclassified;     /* limits of a flow that no prefix and no verdict names yet */
  w_u64 acknowledgements; /* limits of small datagrams that answer (CONTRACT, "What is counted") */
  w_u64 answers;          /* limits of what a server here answers (decision 0021) */
  w_u64 first_flight;     /* bytes a flow may send before its verdict */
  w_u64 verdict_wait_ns;  /* after that an unclassified flow goes on, charged to `unclassified` */
  w_u64 fixed;            /* rows with WEIR_LIMIT_FIXED; the loader fills it in */
  w_u64 holds;            /* rows with WEIR_LIMIT_HOLD; likewise */
  w_u64 flows;            /* rows of WEIR_PER_FLOW; likewise */
  w_u32 generation;       /* of the policy: sockets look themselves up again */
  w_u32 verdicts;         /* changes with every verdict; the loader fills it in */
  w_u64 home_cgroup;      /* known trees only: a socket of this cgroup that no task was seen to make
                             belongs to home_tree (the kernel's own, e.g. MPTCP subflows). Else: the
                             uplink's cgroup, which is charged nothing because its own program lets it
                             speak to the collector alone (cage.bpf.c) */
  w_u64 home_tree;        /* 0: nobody's */
  w_u64 fresh_ns;         /* rows with WEIR_LIMIT_KEPT: when the accounts of a former boot were put
                             back. One that was not among them may have taken its unlisted share.
                             0: there was no boot before this */
  w_u32 home_level, home_person;
  w_u32 blocks;         /* number of lease rows: 0 saves the look-up; the loader fills it in */
  w_u32 swapping;       /* 1: the rows are being replaced, nothing may be charged; the loader's */
  w_u32 unlisted_spent; /* 1: what the disk said was lost: an account that is opened is spent */
  w_u32 gateways;       /* 1: some refuge carries WEIR_REFUGE_GATEWAY */
  w_u64 isolated_until; /* boot time; before it nothing leaves but to the refuges. 0: none */
  w_u64 observed_until; /* boot time; before it accounts and lease rows count and tell, and refuse
                           nothing: the host was released (decision 0032). 0: none */
  w_u32 shuts;          /* bit n: slot n of `shuts` is in use */
  w_u32 charged_only;   /* 1: sockets of families that nobody charges are refused */
};

#endif
