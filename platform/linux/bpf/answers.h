/* What servers of this machine answer others over UDP: a number of the machine's own, for what was
 * asked for (decision 0021). */
#ifndef WEIR_ANSWERS_H
#define WEIR_ANSWERS_H

#include "accounts.h"
#include "packet.h"
#include "records.h"

/* Bytes that may be answered for each that was asked: 1,232 of DNS without fragments to a question
 * of 32, with headers. Questions beyond WEIR_UNANSWERED leave no more credit behind. */
#define WEIR_ANSWER_FACTOR 21
#define WEIR_UNANSWERED (256u << 10)

/* 1: what a server here was asked for, and charged as such. What was not asked for, and what finds
 * no room any more, is charged as anything else that leaves. */
static __always_inline int pay_as_answer(struct weir_socket* s, struct packet* p,
                                         const struct weir_state* now, u32 bytes, u64 time,
                                         u8 family) {
  if (p->protocol != WEIR_UDP || !now->answers || s->labels || !s->asked) return 0;
  if (!is_served_port(p->local_port) || is_dns_port(p->remote_port)) return 0;
  u64 before = __sync_fetch_and_add(&s->answered, bytes);
  int result = 1;
  struct charge c = {.tree = s->tree, .person = s->person, .bytes = bytes, .now = time};
  if (before + bytes <= s->asked) {
    result = charge_rows(&c, now->answers);
    if (result && !(result > 0 && (result & WEIR_EARLY))) {
      u32 row = (result > 0 ? result : -result) - 1;
      tell_row(s, &c, p, WEIR_TELL(row, family, 0));
    }
  }
  if (result > 0) {
    __sync_fetch_and_sub(&s->answered, bytes);
    return 0;
  }
  s->datagrams_in = 0; /* they have their answer: it is not an acknowledgement as well */
  count(WEIR_COUNT_ANSWERS);
  __sync_fetch_and_add(&s->bytes_out, bytes);
  return 1;
}

/* A question over loopback is one of this machine, and gives nobody else a claim. */
static __always_inline void note_question(struct weir_socket* s, const struct packet* p) {
  if (p->protocol != WEIR_UDP || p->via == WEIR_LOOPBACK || !is_served_port(p->local_port)) return;
  if ((long long)(s->asked - s->answered) < (long long)WEIR_UNANSWERED)
    __sync_fetch_and_add(&s->asked, (u64)p->length * WEIR_ANSWER_FACTOR);
}

#endif
