/* acl.c -- the table of users, and what sessions ask of it.
 *
 * Two locks: `editing` is held over reading a user, changing the copy and putting it back; `lock` for the moment in which
 * the table is looked at or changed. Whoever needs both takes `editing` first.
 */
#include "cmd/acl.h"

#include "base/memory.h"
#include "cmd/pubsub.h"
#include "os/thread.h"

#include <stdlib.h>

_Atomic uint64_t acl_version = 1;

static struct spin editing, lock;
static struct acl_set table; /* by rising name */
static uint64_t next_identity;
static _Atomic bool open_to_all = true, new_all_channels;

static const bytes default_name = {(const uint8_t *)"default", 7};

/* ---- sets ---- */

/* The place of a name, or where it would stand. */
static size_t place_of(const struct acl_set *set, bytes name, bool *found)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = bytes_compare(set->users[middle]->name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

static void insert_at(struct acl_set *set, size_t at, struct acl_user *u)
{
    if (set->count == set->capacity) {
        set->capacity = set->capacity ? set->capacity * 2 : 8;
        set->users = mem_realloc(set->users, set->capacity * sizeof(struct acl_user *));
    }
    memmove(set->users + at + 1, set->users + at, (set->count - at) * sizeof(struct acl_user *));
    set->users[at] = u;
    set->count++;
}

struct acl_user *acl_set_add(struct acl_set *set, bytes name)
{
    bool found;
    size_t at = place_of(set, name, &found);
    if (found)
        return NULL;
    struct acl_user *u = acl_user_new(name, atomic_load(&new_all_channels));
    insert_at(set, at, u);
    return u;
}

void acl_set_release(struct acl_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        acl_user_unref(set->users[i]);
    mem_free(set->users);
    *set = (struct acl_set){0};
}

/* ---- the table ---- */

/* `lock` is held. */
static struct acl_user *find_locked(bytes name)
{
    bool found;
    size_t at = place_of(&table, name, &found);
    return found ? table.users[at] : NULL;
}

/* From here on it never changes. */
static void finish(struct acl_user *u)
{
    if (!u->identity)
        u->identity = ++next_identity;
    u->unrestricted = acl_user_is_unrestricted(u);
}

static void look_at_default_locked(void)
{
    const struct acl_user *u = find_locked(default_name);
    atomic_store(&open_to_all, u->on && u->nopass);
}

/* Sessions that no longer fit their users are ended by their workers. */
static void tell_sessions(void)
{
    atomic_fetch_add(&acl_version, 1);
    if (host && host->users_changed)
        host->users_changed();
}

/* Takes over the user. */
static void publish(struct acl_user *u)
{
    bool found;
    const struct acl_user *old = NULL;
    spin_lock(&lock);
    finish(u);
    size_t at = place_of(&table, u->name, &found);
    if (found) {
        old = table.users[at];
        table.users[at] = u;
    } else {
        insert_at(&table, at, u);
    }
    look_at_default_locked();
    spin_unlock(&lock);
    acl_user_unref(old);
    tell_sessions();
}

static struct acl_user *default_new(void)
{
    static const char *const rules[] = {"+@all", "~*", "&*", "on", "nopass"};
    struct acl_user *u = acl_user_new(default_name, true);
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        enum acl_error error = acl_user_apply(u, bytes_str(rules[i]), true);
        hf_assert(error == ACL_OK);
    }
    return u;
}

void acl_init(void)
{
    if (!table.count)
        publish(default_new());
}

bool acl_is_open(void) { return atomic_load(&open_to_all); }
void acl_set_all_channels(bool all) { atomic_store(&new_all_channels, all); }
bool acl_gives_all_channels(void) { return atomic_load(&new_all_channels); }

const struct acl_user *acl_find(bytes name)
{
    spin_lock(&lock);
    const struct acl_user *u = find_locked(name);
    if (u)
        acl_user_ref(u);
    spin_unlock(&lock);
    return u;
}

/* A copy to edit, or a new user; `editing` is held. */
static struct acl_user *copy_or_new(bytes name)
{
    const struct acl_user *known = acl_find(name);
    struct acl_user *u = known ? acl_user_copy(known) : acl_user_new(name, atomic_load(&new_all_channels));
    acl_user_unref(known);
    return u;
}

bool acl_set_user(bytes name, const bytes *rules, size_t count, enum acl_error *error, bytes *bad)
{
    spin_lock(&editing);
    struct acl_user *u = copy_or_new(name);
    *error = ACL_OK;
    for (size_t i = 0; i < count && *error == ACL_OK; i++) {
        *error = acl_user_apply(u, rules[i], atomic_load(&new_all_channels));
        *bad = rules[i];
    }
    if (*error == ACL_OK)
        publish(u);
    else
        acl_user_unref(u);
    spin_unlock(&editing);
    return *error == ACL_OK;
}

void acl_set_default_password(bytes password)
{
    struct buf rule;
    spin_lock(&editing);
    struct acl_user *u = copy_or_new(default_name);
    buf_init(&rule, SIZE_MAX);
    buf_append_u8(&rule, '>');
    buf_append_bytes(&rule, password);
    acl_user_apply(u, BYTES("resetpass"), false);
    acl_user_apply(u, password.size ? buf_view(&rule) : BYTES("nopass"), false);
    buf_release(&rule);
    publish(u);
    spin_unlock(&editing);
}

bool acl_delete_user(bytes name)
{
    bool found;
    spin_lock(&editing);
    spin_lock(&lock);
    size_t at = place_of(&table, name, &found);
    const struct acl_user *old = found ? table.users[at] : NULL;
    if (found) {
        table.count--;
        memmove(table.users + at, table.users + at + 1, (table.count - at) * sizeof(struct acl_user *));
    }
    spin_unlock(&lock);
    acl_user_unref(old);
    if (found)
        tell_sessions();
    spin_unlock(&editing);
    return found;
}

static bool is_same(const struct acl_user *a, const struct acl_user *b)
{
    struct buf one, other;
    buf_init(&one, SIZE_MAX);
    buf_init(&other, SIZE_MAX);
    acl_user_describe(a, &one);
    acl_user_describe(b, &other);
    bool same = bytes_equal(buf_view(&one), buf_view(&other));
    buf_release(&one);
    buf_release(&other);
    return same;
}

/* Who it is that a new set calls by this name: whom today's does, if its rules are the same, or it is the default user; else somebody
 * new, and those who are logged in by the name are not. `editing` is held. */
static uint64_t identity_of(const struct acl_user *u)
{
    const struct acl_user *old = acl_find(u->name);
    uint64_t identity = old && (bytes_equal(u->name, default_name) || is_same(u, old)) ? old->identity : 0;
    acl_user_unref(old);
    return identity;
}


void acl_set_publish(struct acl_set *set, bool keep_default)
{
    bool found;
    size_t at = place_of(set, default_name, &found);
    spin_lock(&editing);
    if (!found)
        insert_at(set, at, keep_default ? copy_or_new(default_name) : default_new());
    for (size_t i = 0; i < set->count; i++)
        set->users[i]->identity = identity_of(set->users[i]);
    spin_lock(&lock);
    for (size_t i = 0; i < set->count; i++)
        finish(set->users[i]);
    struct acl_set old = table;
    table = *set;
    *set = (struct acl_set){0};
    look_at_default_locked();
    spin_unlock(&lock);
    acl_set_release(&old);
    tell_sessions();
    spin_unlock(&editing);
}

const struct acl_user **acl_all(size_t *count)
{
    spin_lock(&lock);
    const struct acl_user **all = mem_alloc((table.count + 1) * sizeof(struct acl_user *));
    *count = table.count;
    for (size_t i = 0; i < table.count; i++) {
        all[i] = table.users[i];
        acl_user_ref(all[i]);
    }
    spin_unlock(&lock);
    return all;
}

void acl_describe_all(struct buf *out)
{
    size_t count;
    const struct acl_user **all = acl_all(&count);
    for (size_t i = 0; i < count; i++) {
        buf_append_bytes(out, BYTES("user "));
        buf_append_bytes(out, all[i]->name);
        buf_append_u8(out, ' ');
        acl_user_describe(all[i], out);
        buf_append_u8(out, '\n');
        acl_user_unref(all[i]);
    }
    mem_free(all);
}

bool acl_is_plain(const char *requirepass)
{
    struct buf is, plain;
    char hash[ACL_HASH_TEXT + 1];
    acl_hash(bytes_str(requirepass), hash);
    buf_init(&is, SIZE_MAX);
    buf_init(&plain, SIZE_MAX);
    acl_describe_all(&is);
    buf_printf(&plain, "user default on %s%s ~* &* +@all\n", *requirepass ? "#" : "nopass", *requirepass ? hash : "");
    bool same = bytes_equal(buf_view(&is), buf_view(&plain));
    buf_release(&is);
    buf_release(&plain);
    return same;
}

static bool opens(bytes word) { return word.size && word.data[0] == '('; }
static bool closes(bytes word) { return word.size && word.data[word.size - 1] == ')'; }

/* A selector that opens within one takes its place, as in Redis: what came before is forgotten. */
bool acl_join_selectors(struct arena *a, const bytes *words, size_t count, bytes *rules, size_t *rule_count, bytes *bad)
{
    *rule_count = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size = words[i].size, last = i;
        if (!opens(words[i])) {
            rules[(*rule_count)++] = words[i];
            continue;
        }
        while (!closes(words[last])) {
            if (++last == count) {
                *bad = words[i];
                return false;
            }
            size += words[last].size + 1;
            if (opens(words[last]) && !closes(words[last])) {
                i = last;
                size = words[i].size;
            }
        }
        char *joined = arena_alloc(a, size + 1), *at = joined;
        for (size_t k = i; k <= last; k++) {
            if (k > i)
                *at++ = ' ';
            if (words[k].size)
                memcpy(at, words[k].data, words[k].size);
            at += words[k].size;
        }
        rules[(*rule_count)++] = bytes_of(joined, size);
        i = last;
    }
    return true;
}

/* ---- sessions ---- */

static void take_user(struct session *s, const struct acl_user *u, uint64_t version)
{
    acl_user_unref(s->user);
    s->user = u;
    s->acl_seen = version;
    s->acl_pass = (!u || u->unrestricted) && (s->authenticated || acl_is_open()) ? version : 0;
}

void acl_session_init(struct session *s)
{
    uint64_t version = atomic_load(&acl_version);
    s->authenticated = acl_is_open();
    take_user(s, acl_find(default_name), version);
}

void acl_session_release(struct session *s)
{
    acl_user_unref(s->user);
    s->user = NULL;
    s->acl_pass = 0;
}

const char *acl_session_name(const struct session *s)
{
    return s->user ? (const char *)s->user->name.data : "default";
}

bool acl_session_login(struct session *s, bytes name, bytes password, const bytes *argv)
{
    uint64_t version = atomic_load(&acl_version);
    const struct acl_user *u = acl_find(name);
    bool fits = acl_password_fits(u, password);
    if (!u || !u->on || !(fits || u->nopass)) {
        acl_user_unref(u);
        acl_log_note(s, ACL_DENIED_AUTH, s->in_multi ? ACL_MULTI : ACL_TOPLEVEL, argv[0], name);
        return false;
    }
    s->authenticated = true;
    take_user(s, u, version);
    return true;
}

/* To the newest snapshot. False: its user is gone. */
static bool refresh(struct session *s)
{
    uint64_t version = atomic_load(&acl_version);
    if (s->acl_seen == version && s->user)
        return true;
    const struct acl_user *u = acl_find(s->user ? s->user->name : default_name);
    if (u && s->user && u->identity != s->user->identity) {
        acl_user_unref(u);
        u = NULL;
    }
    if (u)
        take_user(s, u, version);
    return u != NULL;
}

bool acl_session_keeps(struct session *s)
{
    if (!refresh(s))
        return false;
    static const enum topic_kind kinds[] = {TOPIC_CHANNEL, TOPIC_PATTERN, TOPIC_SHARD};
    for (size_t k = 0; session_listens(s) && k < 3; k++) {
        bytes name;
        for (size_t n = 0; pubsub_name(s, kinds[k], n, &name); n++) {
            if (!acl_user_hears(s->user, name, kinds[k] == TOPIC_PATTERN))
                return false;
        }
    }
    return true;
}

/* ---- commands ---- */

static void note_denied(const struct session *s, enum acl_verdict verdict, enum acl_context where, const struct command *row,
                        const bytes *argv, size_t at)
{
    bytes object = verdict == ACL_DENIED_COMMAND ? bytes_str(row->full_name) : argv[at];
    acl_log_note(s, verdict, where, object, s->user->name);
}

static bool deny(struct session *s, enum acl_verdict verdict, const struct command *row, const bytes *argv, size_t at)
{
    note_denied(s, verdict, s->in_multi ? ACL_MULTI : ACL_TOPLEVEL, row, argv, at);
    if (verdict == ACL_DENIED_COMMAND)
        reply_errorf(&s->reply, "NOPERM this user has no permissions to run the '%s' command", row->full_name);
    else
        reply_errorf(&s->reply, "NOPERM this user has no permissions to access one of the %s used as arguments",
                     verdict == ACL_DENIED_KEY ? "keys" : "channels");
    return false;
}

bool acl_admits_slowly(struct session *s, const struct command *row, const bytes *argv, size_t argc, bool quiet)
{
    size_t at;
    if (!refresh(s)) {
        if (!quiet) {
            s->close_after_reply = true;
            reply_error_line(&s->reply, "NOAUTH Authentication required.");
        }
        return false;
    }
    if (!s->authenticated && !acl_is_open()) {
        if (row->flags & CMD_NO_AUTH)
            return true;
        if (!quiet)
            reply_error_line(&s->reply, "NOAUTH Authentication required.");
        return false;
    }
    if (s->user->unrestricted) {
        s->acl_pass = s->acl_seen;
        return true;
    }
    enum acl_verdict verdict = acl_user_check(s->user, row, argv, argc, &at);
    return verdict == ACL_ALLOWED || (!quiet && deny(s, verdict, row, argv, at));
}

bool acl_admits_queued(struct session *s, const struct command *row, const bytes *argv, size_t argc)
{
    static const char *const reasons[] = {
        [ACL_DENIED_COMMAND] = "no permission to execute the command or subcommand",
        [ACL_DENIED_KEY] = "no permission to touch the specified keys",
        [ACL_DENIED_CHANNEL] = "no permission to access one of the channels used as arguments to the command",
    };
    size_t at = 0;
    enum acl_verdict verdict = refresh(s) ? acl_user_check(s->user, row, argv, argc, &at) : ACL_DENIED_COMMAND;
    if (verdict == ACL_ALLOWED)
        return true;
    note_denied(s, verdict, ACL_MULTI, row, argv, at);
    reply_errorf(&s->reply,
                 "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
                 "This command is no longer allowed for the following reason: %s", reasons[verdict]);
    return false;
}

bool acl_admits_in_script(struct session *s, const struct command *row, const bytes *argv, size_t argc, struct reply *r)
{
    static const char *const what[] = {
        [ACL_DENIED_COMMAND] = "run this command or subcommand",
        [ACL_DENIED_KEY] = "access at least one of the keys mentioned in the command arguments",
        [ACL_DENIED_CHANNEL] = "publish to the channel mentioned in the command",
    };
    size_t at = 0;
    enum acl_verdict verdict = s->user ? acl_user_check(s->user, row, argv, argc, &at) : ACL_ALLOWED;
    if (verdict == ACL_ALLOWED)
        return true;
    note_denied(s, verdict, ACL_SCRIPT, row, argv, at);
    reply_errorf(r, "ERR The user executing the script can't %s", what[verdict]);
    return false;
}
