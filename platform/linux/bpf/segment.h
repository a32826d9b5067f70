/* What a segment of a stream costs: bytes that were never sent before. A segment without any has a
 * short way of its own. */
#ifndef WEIR_SEGMENT_H
#define WEIR_SEGMENT_H

#include "packet.h"
#include "records.h"

/* Bytes of a TCP segment that were never sent before. A retransmission is free. */
static __always_inline u32 new_bytes(const struct weir_socket* s, const struct packet* p) {
  if (!p->payload) return 0;
  if (!(s->flags & WEIR_SOCKET_SEQ)) return p->payload;
  int ahead = (int)(p->sequence + p->payload - s->max_seq);
  if (ahead <= 0) {
    /* Farther back than any window reaches: not a retransmission. */
    return ahead < -(1 << 30) ? p->payload : 0;
  }
  return ahead;
}

static __always_inline void advance(struct weir_socket* s, const struct packet* p) {
  u32 end = p->sequence + p->payload;
  int ahead = (int)(end - s->max_seq);
  if (!(s->flags & WEIR_SOCKET_SEQ) || ahead > 0 || ahead < -(1 << 30)) {
    s->max_seq = end;
    __sync_fetch_and_or(&s->flags, WEIR_SOCKET_SEQ);
  }
}

static __always_inline void tell_usage(struct weir_socket* s, struct packet* p, int classified,
                                       u8 family) {
  int closing = (s->flags & WEIR_SOCKET_CLOSED) && (p->tcp_flags & (WEIR_TCP_FIN | WEIR_TCP_RST));
  if (classified || usage_is_due(s) || (closing && usage_volume(s) != s->told_bytes))
    usage_of_packet(s, p, family);
}

/* A segment that carries nothing, as most of those that open a connection: no row counts it, and
 * where it goes is looked up with its first bytes. The floor wants to know of a container's. */
static __always_inline int is_bare(const struct weir_socket* s, const struct packet* p,
                                   const struct weir_state* now) {
  return p->stream && !p->payload && !now->blocks && !(s->flags & WEIR_SOCKET_ELSEWHERE);
}

static __always_inline void note_bare(struct weir_socket* s, struct packet* p, u8 family) {
  if (!(s->flags & (WEIR_SOCKET_BEGUN | WEIR_SOCKET_CLAIMED))) {
    put_tuple(&s->tuple, p, family); /* twice at worst, and the same */
    __sync_fetch_and_or(&s->flags, WEIR_SOCKET_BEGUN);
  }
  advance(s, p);
  tell_usage(s, p, 0, family);
}

#endif
