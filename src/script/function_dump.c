/* function_dump.c -- FUNCTION DUMP and FUNCTION RESTORE: all libraries as one payload that Redis reads, and back (src/rdb).
 *
 * A payload is restored as a whole or not at all: every library is compiled and held against those that stay, then all are
 * stored, which the transaction undoes when the last of them is refused, then the registry takes them over, which cannot fail.
 */
#include "base/memory.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "engine/system.h"
#include "rdb/rdb.h"
#include "script/function_private.h"

void cmd_function_dump(struct call *c)
{
    struct buf payload;
    buf_init(&payload, SIZE_MAX);
    for (const struct library *l = libraries; l; l = l->next)
        rdb_dump_library(&payload, bytes_of(l->source, l->source_size));
    rdb_dump_end_libraries(&payload);
    reply_bulk(c->reply, buf_view(&payload));
    buf_release(&payload);
}

enum restore_policy { RESTORE_APPEND, RESTORE_FLUSH, RESTORE_REPLACE };

static bool arg_restore_policy(struct call *c, enum restore_policy *policy)
{
    static const char *const names[] = {"APPEND", "FLUSH", "REPLACE"};
    *policy = RESTORE_APPEND;
    for (int i = 0; c->argc == 4 && i < 3; i++) {
        *policy = (enum restore_policy)i;
        if (bytes_is_word(c->argv[3], names[i]))
            return true;
    }
    if (c->argc == 3)
        return true;
    if (c->argc > 4)
        reply_errorf(c->reply, "ERR unknown subcommand or wrong number of arguments for '" WORD_FORMAT "'. Try FUNCTION HELP.",
                     WORD(c->argv[1]));
    else
        reply_errorf(c->reply, "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.");
    return false;
}

static struct library *library_in(struct library *list, bytes name)
{
    while (list && !bytes_equal(bytes_str(list->name), name))
        list = list->next;
    return list;
}

static bool has_function(const struct library *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++) {
        if (bytes_is_word(bytes_str(l->functions[i].name), name))
            return true;
    }
    return false;
}

/* Does one that stays, or one that is new as well, have the name of l or of one of its functions? */
static bool is_free(struct call *c, const struct library *l, struct library *added, enum restore_policy policy)
{
    if (library_in(added, bytes_str(l->name)) || (policy == RESTORE_APPEND && library_find(bytes_str(l->name)))) {
        reply_errorf(c->reply, "ERR Library %s already exists", l->name);
        return false;
    }
    for (size_t i = 0; i < l->count; i++) {
        bool taken = false;
        for (const struct library *other = added; other && !taken; other = other->next)
            taken = has_function(other, l->functions[i].name);
        if (taken) {
            reply_errorf(c->reply, "ERR Function %s already exists", l->functions[i].name);
            return false;
        }
    }
    return true;
}

/* The functions of new libraries against those that stay. */
static bool stay_free(struct call *c, struct library *added, enum restore_policy policy)
{
    for (const struct library *l = added; l && policy != RESTORE_FLUSH; l = l->next) {
        for (size_t i = 0; i < l->count; i++) {
            struct library *of;
            if (function_find(bytes_str(l->functions[i].name), &of) && !library_in(added, bytes_str(of->name))) {
                reply_errorf(c->reply, "ERR Function %s already exists", l->functions[i].name);
                return false;
            }
        }
    }
    return true;
}

/* The libraries of a payload, compiled, in a list of their own; what cannot be is replied. */
static bool make_all(struct call *c, bytes body, enum restore_policy policy, struct library **added)
{
    struct state *s = state_of(c);
    struct buf source;
    bool sound = true;
    buf_init(&source, SIZE_MAX);
    s->generation = 0;
    while (sound && body.size) {
        buf_reset(&source);
        status taken = rdb_read_library(&body, &source);
        if (taken != HF_OK) {
            reply_errorf(c->reply, taken == HF_ERR_NOT_FOUND ? "ERR given type is not a function" : "ERR Failed loading library data");
            sound = false;
            break;
        }
        new_function_table(s->lua);
        struct library *l = library_make(s, c, buf_view(&source), false);
        sound = l && is_free(c, l, *added, policy);
        if (sound) {
            l->next = *added;
            *added = l;
        } else if (l) {
            library_free(l);
        }
    }
    buf_release(&source);
    return sound && stay_free(c, *added, policy);
}

/* On disk first, which may be refused and is then undone as a whole; then in memory. */
static bool store_all(struct call *c, struct library *added, enum restore_policy policy)
{
    for (struct library *l = libraries; policy == RESTORE_FLUSH && l; l = l->next)
        system_remove(c->txn, SYSTEM_LIBRARY, bytes_str(l->name));
    for (struct library *l = added; l; l = l->next) {
        if (arg_refused(c, system_put(c->txn, SYSTEM_LIBRARY, bytes_str(l->name), bytes_of(l->source, l->source_size))))
            return false;
    }
    return true;
}

static void take_over(struct call *c, struct library *added, enum restore_policy policy)
{
    while (policy == RESTORE_FLUSH && libraries)
        library_exchange(c, libraries, NULL);
    while (added) {
        struct library *l = added;
        added = l->next;
        library_exchange(c, library_find(bytes_str(l->name)), l);
    }
}

void cmd_function_restore(struct call *c)
{
    enum restore_policy policy;
    struct library *added = NULL;
    bytes body;
    if (!arg_restore_policy(c, &policy))
        return;
    if (!rdb_open(c->argv[2], NULL, &body)) {
        reply_errorf(c->reply, "ERR DUMP payload version or checksum are wrong");
        return;
    }
    if (make_all(c, body, policy, &added) && store_all(c, added, policy)) {
        take_over(c, added, policy);
        reply_ok(c->reply);
        return;
    }
    while (added) {
        struct library *l = added;
        added = l->next;
        library_free(l);
    }
}
