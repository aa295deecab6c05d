/* users.h -- users in the configuration: `user` lines, the aclfile, requirepass. */
#ifndef HF_SERVER_USERS_H
#define HF_SERVER_USERS_H

#include "base/buf.h"

/* "user NAME rule ..." of the file or the command line: kept until there are commands to check it by. */
bool users_note(const char *place, char *const *words, size_t count, char *error, size_t size);
/* Once, when the settings are read and the commands known: makes the users; false: *error says which line is wrong. */
bool users_start(char *error, size_t size);
/* CONFIG REWRITE: the lines that the file should hold; nothing when users live in the aclfile, or there are none but the default
 * user as requirepass makes it. */
void users_write(struct buf *out);

#endif
