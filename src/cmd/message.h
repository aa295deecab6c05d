/* message.h -- what one worker has to say to connections of another.
 *
 * A message is posted to the inbox of a worker (host->post), which lets it arrive there: it writes pushes into the
 * replies of that worker's sessions. It waits for the log as a reply does: until `lsn` is safe.
 *
 * It may arrive while a command of that worker is in the middle of its work (docs/adr/0010). So an arrival takes no lock that a
 * command holds while others are served, and for the session of that command reply.out is not the output, but what is told around its reply.
 */
#ifndef HF_CMD_MESSAGE_H
#define HF_CMD_MESSAGE_H

#include "cmd/session.h"

enum push_kind { PUSH_NEWS, PUSH_INVALIDATION };

/* The push stands at the end of the session's reply.out, from `begin` on. */
typedef void message_pushed(struct session *s, size_t begin, uint64_t lsn, enum push_kind kind);

struct message { /* the first member of what is posted; counted; immutable once posted */
    _Atomic uint32_t holders;
    uint64_t lsn;
    void (*arrive)(const struct message *m, unsigned worker, message_pushed *pushed);
};

/* One block, with room behind the struct; one hold. */
void *message_new(size_t size, uint64_t lsn, void (*arrive)(const struct message *m, unsigned worker, message_pushed *pushed));
void message_post(struct message *m, unsigned worker); /* takes a hold of its own */
void message_release(struct message *m);

#endif
