/* acl_check.c -- may this user run these words?
 *
 * Keys and their use come from the row that the executor locks by, so that nothing is touched that was not looked at. A row on
 * data that says no keys, and does not walk the whole keyspace, is for users of all keys only: a new one is denied until
 * its row is complete.
 */
#include "base/glob.h"
#include "base/memory.h"
#include "cmd/acl_user.h"

static bool allows_command(const struct acl_selector *s, const struct command *row, const bytes *argv, size_t argc)
{
    if (s->all_commands || row->flags & CMD_NO_AUTH || s->commands[row->id / 64] >> (row->id % 64) & 1)
        return true;
    for (size_t i = 0; argc > 1 && i < s->words.count; i++) {
        const struct acl_item *word = &s->words.items[i];
        if (word->tag != row->id || word->text.size != argv[1].size)
            continue;
        bool same = true;
        for (size_t k = 0; same && k < argv[1].size; k++) {
            uint8_t a = word->text.data[k], b = argv[1].data[k];
            a = a >= 'A' && a <= 'Z' ? (uint8_t)(a + 32) : a;
            b = b >= 'A' && b <= 'Z' ? (uint8_t)(b + 32) : b;
            same = a == b;
        }
        if (same)
            return true;
    }
    return false;
}

static bool allows_key(const struct acl_selector *s, bytes key, unsigned rights)
{
    for (size_t i = 0; i < s->keys.count; i++) {
        const struct acl_item *pattern = &s->keys.items[i];
        if ((pattern->tag & rights) == rights && glob_match(pattern->text, key, false))
            return true;
    }
    return false;
}

static bool allows_channel(const struct acl_selector *s, bytes channel, bool pattern)
{
    if (s->all_channels)
        return true;
    for (size_t i = 0; i < s->channels.count; i++) {
        bytes allowed = s->channels.items[i].text;
        if (pattern ? bytes_equal(allowed, channel) : glob_match(allowed, channel, false))
            return true;
    }
    return false;
}

static bool touches_unnamed_keys(const struct command *row)
{
    return row->flags & (CMD_READ | CMD_WRITE) && !command_has_keys(row) &&
           !(row->flags & (CMD_WALKS | CMD_GATE | CMD_NO_TXN | CMD_SCRIPT));
}

/* The keys of a command: all selectors look at the same ones. */
struct positions { uint32_t few[64], *at; size_t count; };

static enum acl_verdict check_selector(const struct acl_selector *s, const struct command *row, const bytes *argv, size_t argc,
                                       const struct positions *keys, size_t *at)
{
    *at = 0;
    if (!allows_command(s, row, argv, argc))
        return ACL_DENIED_COMMAND;
    if (!s->all_keys && touches_unnamed_keys(row))
        return ACL_DENIED_KEY;
    for (size_t i = 0; !s->all_keys && i < keys->count; i++) {
        *at = keys->at[i];
        if (!allows_key(s, argv[*at], key_use_rights(command_key_use(row, argv, argc, i))))
            return ACL_DENIED_KEY;
    }
    size_t first = (size_t)row->channels.first, end = row->channels.to_end ? argc : first + 1;
    for (size_t i = first; first && i < end && i < argc; i++) {
        *at = i;
        if (!allows_channel(s, argv[i], row->channels.patterns))
            return ACL_DENIED_CHANNEL;
    }
    return ACL_ALLOWED;
}

static void find_keys(struct positions *p, const struct command *row, const bytes *argv, size_t argc)
{
    p->at = argc > sizeof(p->few) / sizeof(p->few[0]) ? mem_alloc(argc * sizeof(*p->at)) : p->few;
    p->count = command_has_keys(row) ? command_locked_positions(row, argv, argc, p->at) : 0;
}

static void forget_keys(struct positions *p)
{
    if (p->at != p->few)
        mem_free(p->at);
}

/* Denied by all: what the selector says that came furthest. */
enum acl_verdict acl_user_check(const struct acl_user *u, const struct command *row, const bytes *argv, size_t argc, size_t *at)
{
    struct positions keys;
    enum acl_verdict worst = ACL_ALLOWED;
    *at = 0;
    if (acl_user_is_unrestricted(u))
        return ACL_ALLOWED;
    find_keys(&keys, row, argv, argc);
    for (const struct acl_selector *s = &u->first; s; s = s->next) {
        size_t where;
        enum acl_verdict verdict = check_selector(s, row, argv, argc, &keys, &where);
        if (verdict == ACL_ALLOWED) {
            worst = ACL_ALLOWED;
            break;
        }
        if (verdict > worst || (verdict == worst && where > *at)) {
            worst = verdict;
            *at = where;
        }
    }
    forget_keys(&keys);
    return worst;
}

static bool reads_all(const struct acl_selector *s)
{
    const struct acl_item *all = NULL;
    for (size_t i = 0; i < s->keys.count && !all; i++) {
        if (bytes_equal(s->keys.items[i].text, BYTES("*")) && s->keys.items[i].tag & KEY_READ)
            all = &s->keys.items[i];
    }
    return s->all_keys || all;
}

bool acl_user_reads_all(const struct acl_user *u, const struct command *row, const bytes *argv, size_t argc)
{
    struct positions keys;
    bool allowed = false;
    size_t at;
    find_keys(&keys, row, argv, argc);
    for (const struct acl_selector *s = &u->first; s && !allowed; s = s->next)
        allowed = reads_all(s) && check_selector(s, row, argv, argc, &keys, &at) == ACL_ALLOWED;
    forget_keys(&keys);
    return allowed;
}

bool acl_user_hears(const struct acl_user *u, bytes channel, bool pattern)
{
    for (const struct acl_selector *s = &u->first; s; s = s->next) {
        if (allows_channel(s, channel, pattern))
            return true;
    }
    return false;
}
