/* acl.h -- the users of this server, and who may run what.
 *
 * Users are immutable snapshots (acl_user.h) behind one lock; whoever changes one puts another in its place and raises
 * acl_version. A session holds a count of its user's snapshot, and in acl_pass the version under which nothing is
 * refused to it. So a command of an unrestricted user costs one comparison; anybody else, and everybody once after a change,
 * goes through acl_admits, which takes the newest snapshot.
 *
 * Threads: any. Sessions by their own worker.
 */
#ifndef HF_CMD_ACL_H
#define HF_CMD_ACL_H

#include "cmd/acl_user.h"

#include <stdatomic.h>

extern _Atomic uint64_t acl_version; /* 1 at first */

/* Once the table of commands is there: the user `default`, on and without a password. Idempotent. */
void acl_init(void);
bool acl_is_open(void); /* a new connection needs no password */
void acl_set_all_channels(bool all); /* acl-pubsub-default: what new and reset users start with */
bool acl_gives_all_channels(void);
void acl_set_default_password(bytes password); /* requirepass; empty: none is asked for */

const struct acl_user *acl_find(bytes name); /* with a count; NULL: none */
/* Applies rules to the user, made if there is none; false: nothing changed, and *bad is the rule that is wrong. */
bool acl_set_user(bytes name, const bytes *rules, size_t count, enum acl_error *error, bytes *bad);
bool acl_delete_user(bytes name); /* false: there is none */
/* All users, as a set that replaces the old one whole. */
struct acl_set { struct acl_user **users; size_t count, capacity; };
struct acl_user *acl_set_add(struct acl_set *set, bytes name); /* NULL: it is there already */
/* Takes them over. A user whose rules change is another one, whose connections end; the default user stays who it is. Without a
 * default user among them: today's stays, or it is as at first. */
void acl_set_publish(struct acl_set *set, bool keep_default);
void acl_set_release(struct acl_set *set);
/* Counts of all, by rising name; mem_free the array after unref of each. */
const struct acl_user **acl_all(size_t *count);
void acl_describe_all(struct buf *out); /* "user NAME ...\n" each */
bool acl_is_plain(const char *requirepass); /* only the default user, as requirepass makes it */

/* Rules as Redis splits them: words that belong to one "(...)" are joined, in the arena. False: *bad is where it began. */
bool acl_join_selectors(struct arena *a, const bytes *words, size_t count, bytes *rules, size_t *rule_count, bytes *bad);

/* ---- sessions ---- */

void acl_session_init(struct session *s);    /* as the default user */
void acl_session_release(struct session *s);
/* Proves who it is: false, and noted in the log: wrong, or the user is off. */
bool acl_session_login(struct session *s, bytes user, bytes password, const bytes *argv);
const char *acl_session_name(const struct session *s);
/* Its user has changed: false if it must end, because the user is gone or may no longer hear what it listens to. Own worker. */
bool acl_session_keeps(struct session *s);

enum acl_context { ACL_TOPLEVEL, ACL_MULTI, ACL_SCRIPT };
bool acl_admits_slowly(struct session *s, const struct command *row, const bytes *argv, size_t argc, bool quiet);
/* Before a command is run or queued; false: the error was replied and noted. */
static inline bool acl_admits(struct session *s, const struct command *row, const bytes *argv, size_t argc)
{
    return HF_LIKELY(s->acl_pass == atomic_load_explicit(&acl_version, memory_order_relaxed)) ||
           acl_admits_slowly(s, row, argv, argc, false);
}
/* Would it be refused? Nothing is said. */
static inline bool acl_would_admit(struct session *s, const struct command *row, const bytes *argv, size_t argc)
{
    return HF_LIKELY(s->acl_pass == atomic_load_explicit(&acl_version, memory_order_relaxed)) ||
           acl_admits_slowly(s, row, argv, argc, true);
}
/* A queued command at EXEC, which may be denied by now; and one of a script, whose session lives as long as the script. */
bool acl_admits_queued(struct session *s, const struct command *row, const bytes *argv, size_t argc);
bool acl_admits_in_script(struct session *s, const struct command *row, const bytes *argv, size_t argc, struct reply *r);

/* ---- what was refused (acl_log.c) ---- */

void acl_log_note(const struct session *s, enum acl_verdict why, enum acl_context where, bytes object, bytes user);
void acl_log_set_length(uint64_t entries);
uint64_t acl_denied_count(enum acl_verdict why); /* since the start, or since the reset */
void acl_denied_reset(void);

/* ---- files (acl_file.c) ---- */

void acl_file_set(const char *path); /* start only; "": none */
/* "rule rule ..." of a user line into the set; false: *error, sentences that name the place ("file:line"). */
bool acl_file_add(struct acl_set *set, bytes name, const bytes *words, size_t count, const char *place, struct buf *error);
const char *acl_file_path(void);
bool acl_file_load(struct buf *error);
int acl_file_save(void); /* 0, or -errno */

#endif
