/* list.c -- list commands that push, read and edit; those that pop stand in list_pop.c. */
#include "base/buf.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "engine/events.h"
#include "engine/lists.h"

static bool view_list(struct call *c, const struct list **list)
{
    return !arg_refused(c, lists_view(c->txn, call_key(c, 0), list));
}

static bool find_list(struct call *c, struct object_ref *o)
{
    return !arg_refused(c, lists_find(c->txn, call_key(c, 0), o));
}

static void tell(struct call *c, const char *name)
{
    txn_event(c->txn, call_key(c, 0), EVENT_LIST, name);
}

static void close_list(struct call *c, struct object_ref *o)
{
    if (object_close(c->txn, o))
        txn_event(c->txn, call_key(c, 0), EVENT_GENERIC, "del");
}

/* A position from an index that may count from the tail. */
static bool position_of(const struct list *list, int64_t index, uint64_t *position)
{
    int64_t count = (int64_t)list_count(list);
    if (index < 0)
        index += count;
    if (index < 0 || index >= count)
        return false;
    *position = (uint64_t)index;
    return true;
}

/* The part of the list that start and end name, both inclusive. False: none of it. */
static bool clip(const struct list *list, int64_t start, int64_t end, uint64_t *from, uint64_t *size)
{
    int64_t count = (int64_t)list_count(list);
    if (start < 0 && (start += count) < 0)
        start = 0;
    if (end < 0)
        end += count;
    if (end >= count)
        end = count - 1;
    if (start > end || start >= count)
        return false;
    *from = (uint64_t)start;
    *size = (uint64_t)(end - start + 1);
    return true;
}

/* ---- pushing ---- */

static void push(struct call *c, enum list_end end, bool only_existing)
{
    struct object_ref o;
    if (!find_list(c, &o))
        return;
    if (only_existing && !o.object) {
        reply_int(c->reply, 0);
        return;
    }
    if (arg_refused(c, lists_push(c->txn, &o, end, c->argv + 2, c->argc - 2)))
        return;
    tell(c, end == LIST_HEAD ? "lpush" : "rpush");
    reply_int(c->reply, (int64_t)list_count(list_of(&o)));
}

void cmd_lpush(struct call *c)
{
    push(c, LIST_HEAD, false);
}

void cmd_rpush(struct call *c)
{
    push(c, LIST_TAIL, false);
}

void cmd_lpushx(struct call *c)
{
    push(c, LIST_HEAD, true);
}

void cmd_rpushx(struct call *c)
{
    push(c, LIST_TAIL, true);
}

/* ---- reading ---- */

void cmd_llen(struct call *c)
{
    const struct list *list;
    if (view_list(c, &list))
        reply_int(c->reply, list ? (int64_t)list_count(list) : 0);
}

/* The index is looked at after the key, as Redis does. */
void cmd_lindex(struct call *c)
{
    const struct list *list;
    int64_t index;
    uint64_t position;
    if (!view_list(c, &list))
        return;
    if (!list)
        reply_null(c->reply);
    else if (!arg_int(c, 2, &index))
        return;
    else if (position_of(list, index, &position))
        reply_bulk(c->reply, list_at(list, position));
    else
        reply_null(c->reply);
}

void cmd_lrange(struct call *c)
{
    const struct list *list;
    struct list_cursor cursor;
    int64_t start, end;
    uint64_t from, size;
    bytes value;
    if (!arg_int(c, 2, &start) || !arg_int(c, 3, &end) || !view_list(c, &list))
        return;
    if (!list || !clip(list, start, end, &from, &size)) {
        reply_array(c->reply, 0);
        return;
    }
    reply_array(c->reply, size);
    for (bool more = list_seek(list, from, &cursor, &value); more && size > 0 && call_goes_on(c, 1); size--) {
        reply_bulk(c->reply, value);
        more = list_next(&cursor, &value);
    }
}

/* ---- LPOS ---- */

struct lpos {
    int64_t rank;    /* matches to pass over, and from which end */
    int64_t count;   /* matches wanted, 0: all; -1: one, replied alone */
    int64_t compare; /* elements to look at; 0: all */
};

static bool take_rank(struct call *c, size_t index, int64_t *rank)
{
    /* Redis 7.0 takes the least integer and then miscounts; the later refusal is better. */
    if (!arg_int_within(c, index, INT64_MAX, rank))
        return false;
    if (*rank == 0) {
        reply_errorf(c->reply, "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... "
                               "or use negative to start from the end of the list");
        return false;
    }
    return true;
}

static bool take_lpos(struct call *c, struct lpos *wanted)
{
    *wanted = (struct lpos){.rank = 1, .count = -1};
    for (size_t i = 3; i < c->argc; i += 2) {
        bytes option = c->argv[i];
        bool has_value = i + 1 < c->argc, taken = false;
        if (has_value && bytes_is_word(option, "RANK"))
            taken = take_rank(c, i + 1, &wanted->rank);
        else if (has_value && bytes_is_word(option, "COUNT"))
            taken = arg_int_from(c, i + 1, 0, "ERR COUNT can't be negative", &wanted->count);
        else if (has_value && bytes_is_word(option, "MAXLEN"))
            taken = arg_int_from(c, i + 1, 0, "ERR MAXLEN can't be negative", &wanted->compare);
        else
            reply_status(c->reply, HF_ERR_SYNTAX);
        if (!taken)
            return false;
    }
    return true;
}

/* Positions of the matches that are asked for, in the order of the walk. */
static size_t find_matches(struct call *c, const struct list *list, bytes value, const struct lpos *wanted, struct buf *positions)
{
    bool back = wanted->rank < 0;
    uint64_t skip = (uint64_t)(back ? -wanted->rank : wanted->rank) - 1;
    uint64_t left = wanted->compare ? (uint64_t)wanted->compare : UINT64_MAX;
    uint64_t most = wanted->count < 0 ? 1 : wanted->count == 0 ? UINT64_MAX : (uint64_t)wanted->count;
    uint64_t at = back ? list_count(list) - 1 : 0;
    size_t found = 0;
    struct list_cursor cursor;
    bytes element;
    bool more = list_seek(list, at, &cursor, &element);
    while (more && left-- > 0 && found < most && call_goes_on(c, 1)) {
        if (!bytes_equal(element, value)) {
        } else if (skip > 0) {
            skip--;
        } else {
            buf_append(positions, &at, sizeof(at));
            found++;
        }
        more = back ? list_previous(&cursor, &element) : list_next(&cursor, &element);
        at = back ? at - 1 : at + 1;
    }
    return found;
}

void cmd_lpos(struct call *c)
{
    const struct list *list;
    struct lpos wanted;
    struct buf positions;
    if (!take_lpos(c, &wanted) || !view_list(c, &list))
        return;
    buf_init(&positions, SIZE_MAX);
    size_t found = list ? find_matches(c, list, c->argv[2], &wanted, &positions) : 0;
    if (wanted.count >= 0)
        reply_array(c->reply, found);
    else if (found == 0)
        reply_null(c->reply);
    for (size_t i = 0; i < found; i++) {
        int64_t position;
        memcpy(&position, positions.data + i * sizeof(position), sizeof(position));
        reply_int(c->reply, position);
    }
    buf_release(&positions);
}

/* ---- editing ---- */

void cmd_lset(struct call *c)
{
    struct object_ref o;
    int64_t index;
    uint64_t position;
    if (!find_list(c, &o))
        return;
    if (!o.object) {
        reply_status(c->reply, HF_ERR_NO_SUCH_KEY);
    } else if (!arg_int(c, 2, &index)) {
        return;
    } else if (!position_of(list_of(&o), index, &position)) {
        reply_errorf(c->reply, "ERR index out of range");
    } else {
        lists_set(c->txn, &o, position, c->argv[3]);
        tell(c, "lset");
        reply_ok(c->reply);
    }
}

static bool find_pivot(struct call *c, const struct list *list, bytes pivot, uint64_t *position)
{
    struct list_cursor cursor;
    bytes element;
    uint64_t at = 0;
    bool more = list_seek(list, 0, &cursor, &element);
    for (; more && !bytes_equal(element, pivot); at++)
        more = list_next(&cursor, &element) && call_goes_on(c, 1);
    *position = at;
    return more;
}

void cmd_linsert(struct call *c)
{
    struct object_ref o;
    uint64_t position;
    bool after = bytes_is_word(c->argv[2], "AFTER");
    if (!after && !bytes_is_word(c->argv[2], "BEFORE")) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return;
    }
    if (!find_list(c, &o))
        return;
    if (!o.object) {
        reply_int(c->reply, 0);
    } else if (!find_pivot(c, list_of(&o), c->argv[3], &position)) {
        reply_int(c->reply, -1);
    } else {
        lists_insert(c->txn, &o, position + after, c->argv[4]);
        tell(c, "linsert");
        reply_int(c->reply, (int64_t)list_count(list_of(&o)));
    }
}

static bool goes_on(void *call) { return call_goes_on(call, 1); }

void cmd_lrem(struct call *c)
{
    struct object_ref o;
    int64_t count;
    uint64_t removed = 0;
    if (!arg_int(c, 2, &count) || !find_list(c, &o))
        return;
    if (o.object) {
        uint64_t most = count == 0 ? UINT64_MAX : count < 0 ? 0 - (uint64_t)count : (uint64_t)count;
        removed = lists_remove_equal(c->txn, &o, c->argv[3], count < 0 ? LIST_TAIL : LIST_HEAD, most,
                                     (struct list_patience){goes_on, c});
        if (removed)
            tell(c, "lrem");
        close_list(c, &o);
    }
    reply_int(c->reply, (int64_t)removed);
}

/* Keeping everything counts as a change: Redis tells WATCH and listeners of it. */
void cmd_ltrim(struct call *c)
{
    struct object_ref o;
    int64_t start, end;
    if (!arg_int(c, 2, &start) || !arg_int(c, 3, &end) || !find_list(c, &o))
        return;
    if (o.object) {
        uint64_t count = list_count(list_of(&o)), from = count, size = 0;
        clip(list_of(&o), start, end, &from, &size);
        lists_cut(c->txn, &o, from, count - from - size);
        object_touch(c->txn, &o);
        tell(c, "ltrim");
        close_list(c, &o);
    }
    reply_ok(c->reply);
}
