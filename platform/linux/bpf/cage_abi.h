/* What the uplink's cage (cage.bpf.c) and its loader share. */
#ifndef WEIR_CAGE_ABI_H
#define WEIR_CAGE_ABI_H

#include "weir_abi.h"

#define WEIR_CAGE_PLACES                                                                           \
  256u /* two doors with 32 addresses each, and 16 resolvers over two protocols; twice, while they \
          change */

struct weir_cage_place {
  w_u8 address[16]; /* IPv4 as v4-mapped */
  w_u16 port;       /* host order */
  w_u8 protocol;    /* IPPROTO_TCP or IPPROTO_UDP */
  w_u8 pad;
};

enum weir_cage_counter { WEIR_CAGE_DROPPED, WEIR_CAGE_PASSED, WEIR_CAGE_COUNTERS };

#endif
