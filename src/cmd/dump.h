/* dump.h -- a value as a payload of DUMP: what DUMP replies, and MIGRATE sends. */
#ifndef HF_CMD_DUMP_H
#define HF_CMD_DUMP_H

#include "base/patience.h"
#include "cmd/command.h"

/* Appends the payload of a key, which is locked; nothing for one that is absent. False: refused, with a reply, or the patience is over. */
bool dump_key(struct call *c, const struct key *k, struct patience *p, struct buf *out);

#endif
