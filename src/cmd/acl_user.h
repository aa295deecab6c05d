/* acl_user.h -- what a user may do: an immutable, counted snapshot, and the rules that make one.
 *
 * A user is edited as a copy that only its editor knows, one rule after the other; once published (acl.h) it never changes,
 * so any thread reads it that holds a count. It has one or more selectors; a command is allowed when one
 * of them allows all of it: the command, each of its keys, each of its channels. The first selector is the user's own, the
 * others come from rules in parentheses.
 *
 * Memory: everything lies in the user's arena and goes with its last count.
 */
#ifndef HF_CMD_ACL_USER_H
#define HF_CMD_ACL_USER_H

#include "base/arena.h"
#include "base/buf.h"
#include "cmd/command.h"

struct acl_item { bytes text; uint16_t tag; };
struct acl_list { struct acl_item *items; size_t count, capacity; };

struct acl_selector {
    bool all_commands, all_keys, all_channels;
    bool starts_full;          /* the rules below start from +@all, else from -@all */
    uint64_t commands[COMMAND_IDS_MAX / 64]; /* a bit per row's id */
    struct acl_list words;     /* first argument; tag: the id of its command */
    struct acl_list keys;      /* pattern; tag: of enum key_right */
    struct acl_list channels;
    struct acl_list rules;     /* "+get", "-@slow": what says the bits, in order, for people */
    struct acl_selector *next;
};

enum acl_payload { ACL_PAYLOAD_DEFAULT, ACL_PAYLOAD_SANITIZE, ACL_PAYLOAD_SKIP };

struct acl_user {
    _Atomic uint32_t counts;
    uint64_t identity;         /* a name that was deleted and made again is another user */
    bytes name;                /* a NUL follows */
    bool on, nopass;
    bool unrestricted;         /* nothing is refused: set when published */
    enum acl_payload payload;
    struct acl_list passwords; /* SHA-256, 64 hexadecimal digits */
    struct acl_selector first;
    struct arena arena;
};

enum acl_error {
    ACL_OK, ACL_BAD_SYNTAX, ACL_UNKNOWN, ACL_AFTER_ALL_KEYS, ACL_AFTER_ALL_CHANNELS, ACL_NO_PASSWORD, ACL_BAD_HASH,
    ACL_WORD_OF_SUBCOMMAND,
};

#define ACL_NAME_MAX 255 /* a line of CLIENT LIST has room for it */
bool acl_name_fits(bytes name); /* no blank, no NUL, not longer */
#define ACL_HASH_TEXT 64
void acl_hash(bytes password, char out[ACL_HASH_TEXT + 1]);

struct acl_user *acl_user_new(bytes name, bool all_channels);     /* off, may do nothing; one count */
struct acl_user *acl_user_copy(const struct acl_user *u);         /* one count */
void acl_user_ref(const struct acl_user *u);
void acl_user_unref(const struct acl_user *u);                    /* NULL is fine */
/* One rule; all_channels: what new and reset selectors get (acl-pubsub-default). After an error the user is to be thrown away. */
enum acl_error acl_user_apply(struct acl_user *u, bytes rule, bool all_channels);
const char *acl_error_text(enum acl_error error);
bool acl_password_fits(const struct acl_user *u, bytes password); /* constant time; u NULL: does the work, says no */
bool acl_user_is_unrestricted(const struct acl_user *u);

/* As a line of a configuration file, without "user NAME ". */
void acl_user_describe(const struct acl_user *u, struct buf *out);
void acl_describe_commands(const struct acl_selector *s, struct buf *out);
void acl_describe_keys(const struct acl_selector *s, struct buf *out);
void acl_describe_channels(const struct acl_selector *s, struct buf *out); /* "&a &b", "&*" or nothing */

/* ---- what it may do (acl_check.c) ---- */

enum acl_verdict { ACL_ALLOWED, ACL_DENIED_COMMAND, ACL_DENIED_KEY, ACL_DENIED_AUTH, ACL_DENIED_CHANNEL, ACL_VERDICTS };

/* *at: the word that is denied. */
enum acl_verdict acl_user_check(const struct acl_user *u, const struct command *row, const bytes *argv, size_t argc, size_t *at);
/* May it run this and read every key there is? (SORT with BY and GET, whose keys nobody knows before.) */
bool acl_user_reads_all(const struct acl_user *u, const struct command *row, const bytes *argv, size_t argc);
bool acl_user_hears(const struct acl_user *u, bytes channel, bool pattern);

#endif
