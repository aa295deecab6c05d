/* users.h -- users in the configuration: `user` lines, the aclfile, requirepass. */
#ifndef HF_SERVER_USERS_H
#define HF_SERVER_USERS_H

#include "base/buf.h"

/* "user NAME rule ..." of the file or the command line: kept until there are commands to check it by. */
bool users_note(const char *place, char *const *words, size_t count, char *error, size_t size);
/* Once, when the settings are read and the commands known: makes the users; false: *error says which line is wrong. */
bool users_start(char *error, size_t size);
/* CONFIG REWRITE: the lines of all users; nothing when they live in the aclfile. False: there is only the default user, as requirepass makes
 * it, and the file needs no line of it; requirepass would mean nothing beside one. */
bool users_write(struct buf *out);

#endif
