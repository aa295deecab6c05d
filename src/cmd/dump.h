/* dump.h -- a value as a payload of DUMP: what DUMP replies, and MIGRATE sends. */
#ifndef HF_CMD_DUMP_H
#define HF_CMD_DUMP_H

#include "cmd/command.h"

/* Appends the payload of a key, which is locked; nothing for one that is absent. False: refused, with a reply. */
bool dump_key(struct call *c, const struct key *k, struct buf *out);

#endif
