/* set_algebra.c -- SINTER, SUNION, SDIFF, and what counts or stores their results.
 *
 * Each operation shows its members to a taker, which lists, stores or counts them. Intersection walks
 * the smallest set and asks the others. Difference walks the first set and asks the others, or, when they are many and
 * small, asks their union, made once. A union is made as a set: that is what finds the duplicates.
 *
 * All keys are looked at before the first member: one of another type is an error even when the
 * result would be empty without it, as in Redis.
 */
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "engine/events.h"
#include "engine/objects.h"
#include "engine/sets.h"

/* False: enough. */
typedef bool take_member(void *context, bytes member);

struct operands {
    struct call *c;
    const struct set **sets; /* NULL: an absent key */
    size_t count;
};

static bool view_operands(struct call *c, size_t first_key, struct operands *o)
{
    o->c = c;
    o->count = c->key_count - first_key;
    o->sets = arena_alloc(txn_arena(c->txn), (o->count + 1) * sizeof(*o->sets));
    for (size_t i = 0; i < o->count; i++) {
        if (arg_refused(c, sets_view(c->txn, call_key(c, first_key + i), &o->sets[i])))
            return false;
    }
    return true;
}

/* ---- the operations ---- */

static bool all_others_have(const struct operands *o, size_t but, bytes member)
{
    for (size_t i = 0; i < o->count; i++) {
        if (i != but && o->sets[i] != o->sets[but] && !set_has(o->sets[i], member))
            return false;
    }
    return true;
}

/* These return false when it ends here (call_goes_on). */
static bool intersect(const struct operands *o, take_member *take, void *context)
{
    size_t smallest = 0;
    struct set_cursor cursor = {0};
    bytes member;
    for (size_t i = 0; i < o->count; i++) {
        if (!o->sets[i])
            return true;
        if (set_count(o->sets[i]) < set_count(o->sets[smallest]))
            smallest = i;
    }
    while (set_next(o->sets[smallest], &cursor, &member)) {
        if (all_others_have(o, smallest, member) && !take(context, member))
            return true;
        if (!call_goes_on(o->c, o->count * 2))
            return false;
    }
    return true;
}

static bool add_all(struct call *c, struct set *result, const struct set *set)
{
    struct set_cursor cursor = {0};
    bytes member;
    while (set_next(set, &cursor, &member)) {
        set_add(result, member);
        if (!call_goes_on(c, 4))
            return false;
    }
    return true;
}

/* The union of the sets from `first` on; the caller's to free. NULL: it ends here. */
static struct set *unite(const struct operands *o, size_t first)
{
    const struct set *largest = NULL;
    for (size_t i = first; i < o->count; i++) {
        if (o->sets[i] && (!largest || set_count(o->sets[i]) > set_count(largest)))
            largest = o->sets[i];
    }
    struct set *result = largest ? set_try_extend(largest) : NULL;
    const struct set *held = result ? largest : NULL;
    if (!result)
        result = set_new();
    for (size_t i = first; i < o->count; i++) {
        if (o->sets[i] && o->sets[i] != held && !add_all(o->c, result, o->sets[i])) {
            object_drop(o->c->txn, TYPE_SET, result);
            return NULL;
        }
    }
    return result;
}

static bool any_other_has(const struct operands *o, bytes member)
{
    for (size_t i = 1; i < o->count; i++) {
        if (o->sets[i] && set_has(o->sets[i], member))
            return true;
    }
    return false;
}

/* Whether making the union of the others is less work than asking each of them. */
static bool others_are_small(const struct operands *o)
{
    uint64_t sum = 0, asked = 0;
    for (size_t i = 1; i < o->count; i++) {
        sum += o->sets[i] ? set_count(o->sets[i]) : 0;
        asked += o->sets[i] ? set_count(o->sets[0]) : 0;
    }
    return asked / 2 > sum + set_count(o->sets[0]);
}

static bool subtract(const struct operands *o, take_member *take, void *context)
{
    struct set_cursor cursor = {0};
    bytes member;
    bool unites = o->sets[0] && others_are_small(o), goes_on = true;
    struct set *others = unites ? unite(o, 1) : NULL;
    if (!o->sets[0] || (unites && !others))
        return !unites;
    while (goes_on && set_next(o->sets[0], &cursor, &member)) {
        bool found = others ? set_has(others, member) : any_other_has(o, member);
        if (!found && !take(context, member))
            break;
        goes_on = call_goes_on(o->c, o->count * 2);
    }
    if (others)
        object_drop(o->c->txn, TYPE_SET, others);
    return goes_on;
}

/* ---- results ---- */

struct listing {
    struct arena *arena;
    bytes *members;
    size_t count, capacity;
};

/* Members of integer sets are written into the cursor: their text is short and copied; others stay where they are,
 * nothing changes before the reply. */
static bool list_member(void *context, bytes member)
{
    struct listing *l = context;
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 64;
        bytes *members = arena_alloc(l->arena, capacity * sizeof(*members));
        if (l->count)
            memcpy(members, l->members, l->count * sizeof(*members));
        l->members = members;
        l->capacity = capacity;
    }
    l->members[l->count++] = member.size < NUMBER_TEXT_MAX ? arena_dup(l->arena, member) : member;
    return true;
}

static bool store_member(void *context, bytes member)
{
    set_add(context, member);
    return true;
}

struct counting { uint64_t count, limit; };

static bool count_member(void *context, bytes member)
{
    struct counting *counting = context;
    (void)member;
    return ++counting->count < counting->limit;
}

static void reply_result(struct call *c, bool (*operation)(const struct operands *o, take_member *take, void *context))
{
    struct operands operands;
    struct listing listing = {.arena = txn_arena(c->txn)};
    if (!view_operands(c, 0, &operands))
        return;
    if (!operation(&operands, list_member, &listing))
        return;
    reply_set(c->reply, listing.count);
    for (size_t i = 0; i < listing.count && call_goes_on(c, 1); i++)
        reply_bulk(c->reply, listing.members[i]);
}

static void store_set(struct call *c, struct set *result, const char *event)
{
    int64_t count = (int64_t)set_count(result);
    bool removed;
    if (arg_refused(c, sets_store(c->txn, call_key(c, 0), result, &removed)))
        return;
    if (count)
        txn_event(c->txn, call_key(c, 0), EVENT_SET, event);
    else if (removed)
        txn_event(c->txn, call_key(c, 0), EVENT_GENERIC, "del");
    reply_int(c->reply, count);
}

static void store_result(struct call *c, bool (*operation)(const struct operands *o, take_member *take, void *context),
                         const char *event)
{
    struct operands operands;
    if (!view_operands(c, 1, &operands))
        return;
    struct set *result = set_new();
    if (operation(&operands, store_member, result))
        store_set(c, result, event);
    else
        object_drop(c->txn, TYPE_SET, result);
}

/* ---- the commands ---- */

void cmd_sinter(struct call *c)
{
    reply_result(c, intersect);
}

void cmd_sinterstore(struct call *c)
{
    store_result(c, intersect, "sinterstore");
}

void cmd_sdiff(struct call *c)
{
    reply_result(c, subtract);
}

void cmd_sdiffstore(struct call *c)
{
    store_result(c, subtract, "sdiffstore");
}

void cmd_sunion(struct call *c)
{
    struct operands operands;
    struct set_cursor cursor = {0};
    bytes member;
    if (!view_operands(c, 0, &operands))
        return;
    struct set *result = unite(&operands, 0);
    if (!result)
        return;
    reply_set(c->reply, set_count(result));
    while (set_next(result, &cursor, &member) && call_goes_on(c, 1))
        reply_bulk(c->reply, member);
    object_drop(c->txn, TYPE_SET, result);
}

void cmd_sunionstore(struct call *c)
{
    struct operands operands;
    struct set *result = view_operands(c, 1, &operands) ? unite(&operands, 0) : NULL;
    if (result)
        store_set(c, result, "sunionstore");
}

/* The executor found no keys exactly when the count is wrong; these words say how. */
static bool take_limit(struct call *c, int64_t *limit)
{
    int64_t count;
    if (!arg_int_from(c, 1, 1, "ERR numkeys should be greater than 0", &count))
        return false;
    if (count > (int64_t)c->argc - 2) {
        reply_errorf(c->reply, "ERR Number of keys can't be greater than number of args");
        return false;
    }
    for (size_t i = (size_t)count + 2; i < c->argc; i += 2) {
        if (i + 1 == c->argc || !bytes_is_word(c->argv[i], "LIMIT")) {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return false;
        }
        if (!arg_int_from(c, i + 1, 0, "ERR LIMIT can't be negative", limit))
            return false;
    }
    return true;
}

void cmd_sintercard(struct call *c)
{
    struct operands operands;
    int64_t limit = 0;
    if (!take_limit(c, &limit) || !view_operands(c, 0, &operands))
        return;
    struct counting counting = {.limit = limit ? (uint64_t)limit : UINT64_MAX};
    if (intersect(&operands, count_member, &counting))
        reply_int(c->reply, (int64_t)counting.count);
}
