/* stream_trim.c -- XTRIM, and the same behind XADD: the oldest entries go.
 *
 * Exactly, or approximately by whole nodes. With ACKED those stay that a group has still to read or to acknowledge, so what goes
 * may have gaps: then it is deleted entry by entry.
 */
#include "cmd/stream_trim.h"

#include "cmd/handlers.h"
#include "cmd/stream_feed.h"

/* ---- options ---- */

bool is_trim_option(const struct call *c, size_t i)
{
    bytes word = c->argv[i];
    enum stream_references how;
    if (is_references_word(word, &how))
        return true;
    return i + 1 < c->argc && (bytes_is_word(word, "MAXLEN") || bytes_is_word(word, "MINID") || bytes_is_word(word, "LIMIT"));
}

/* What follows MAXLEN or MINID at word *i; leaves *i on its last word. */
static bool take_threshold(struct call *c, size_t *i, bool by_length, struct stream_trim *t)
{
    if (t->by != TRIM_NOTHING) {
        reply_errorf(c->reply, "ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
        return false;
    }
    bytes next = c->argv[*i + 1];
    size_t at = *i + 1;
    t->approximate = false;
    if (c->argc - *i - 1 >= 2 && next.size == 1 && (next.data[0] == '~' || next.data[0] == '=')) {
        t->approximate = next.data[0] == '~';
        at++;
    }
    *i = at;
    t->by = by_length ? TRIM_LENGTH : TRIM_ID;
    if (!by_length)
        return arg_stream_id(c, at, &t->id);
    if (!arg_int(c, at, &t->length))
        return false;
    if (t->length >= 0)
        return true;
    reply_errorf(c->reply, "ERR The MAXLEN argument must be >= 0.");
    return false;
}

static bool take_limit(struct call *c, size_t at, struct stream_trim *t)
{
    if (!arg_int(c, at, &t->limit))
        return false;
    t->limited = true;
    if (t->limit >= 0)
        return true;
    reply_errorf(c->reply, "ERR The LIMIT argument must be >= 0.");
    return false;
}

bool take_trim_option(struct call *c, size_t *i, struct stream_trim *t)
{
    if (is_references_word(c->argv[*i], &t->references))
        return true;
    if (bytes_is_word(c->argv[*i], "LIMIT"))
        return take_limit(c, ++*i, t);
    return take_threshold(c, i, bytes_is_word(c->argv[*i], "MAXLEN"), t);
}

bool check_trim(struct call *c, struct stream_trim *t, bool adds)
{
    if (t->limit && t->by == TRIM_NOTHING) {
        reply_errorf(c->reply, "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
        return false;
    }
    if (!adds && t->by == TRIM_NOTHING) {
        reply_errorf(c->reply, "ERR syntax error, XTRIM must be called with a trimming strategy");
        return false;
    }
    if (t->limited && !t->approximate) {
        reply_errorf(c->reply, "ERR syntax error, LIMIT cannot be used without the special ~ option");
        return false;
    }
    if (t->approximate && !t->limited) {
        int64_t limit = 100 * (int64_t)__atomic_load_n(&stream_limits.node_entries_max, __ATOMIC_RELAXED);
        t->limit = limit <= 0 ? 10000 : limit > 1000000 ? 1000000 : limit;
    }
    return true;
}

/* ---- how many ---- */

/* Whole nodes from the oldest on, as long as no more goes than may. */
static uint64_t nodes_to_trim(const struct stream *s, uint64_t most, uint64_t limit)
{
    struct stream_cursor cursor;
    struct stream_entry e;
    uint64_t whole = 0, at = 0;
    if (most < stream_state(s)->oldest_node) /* the usual case of XADD MAXLEN ~ */
        return 0;
    for (bool more = stream_seek(s, 0, &cursor, &e); more && at <= most; more = stream_next(&cursor, &e), at++) {
        if (!e.begins_node || at == 0)
            continue;
        if (limit && at > limit)
            return whole;
        whole = at;
    }
    if (at == stream_count(s) && at <= most && (!limit || at <= limit))
        whole = at;
    return whole;
}

static uint64_t count_to_trim(const struct stream *s, const struct stream_trim *t)
{
    uint64_t count = stream_count(s), most;
    if (t->by == TRIM_LENGTH)
        most = count > (uint64_t)t->length ? count - (uint64_t)t->length : 0;
    else
        most = stream_position(s, t->id);
    return most && t->approximate ? nodes_to_trim(s, most, (uint64_t)t->limit) : most;
}

/* ---- trimming ---- */

/* The oldest ones, as many as that. */
static bool trim_oldest(struct call *c, struct object_ref *o, const struct stream_trim *t, struct buf *change, uint64_t count)
{
    struct stream_cursor cursor;
    struct stream_entry last;
    if (t->references == REFERENCES_DROP) {
        bool found = stream_seek(stream_of(o), count - 1, &cursor, &last);
        hf_assert(found);
        if (!drop_references_to(c, o, last.id))
            return false;
    }
    stream_change_trim(change, count);
    return change_stream(c, o, change);
}

/* Behind this id every entry waits for some group. */
static struct stream_id delivered_to_all(const struct stream *s)
{
    struct stream_id least = STREAM_ID_MAX;
    for (uint64_t i = 0; i < stream_group_count(s); i++) {
        struct stream_id last = stream_group_at(s, i).last;
        if (stream_id_compare(last, least) < 0)
            least = last;
    }
    return least;
}

/* Up to `most` of the entries before position `bound` that no group needs: *oldest of them from the oldest on, the others as ids
 * behind `change`. Returns how many. */
static uint64_t choose_unreferenced(const struct stream *s, uint64_t bound, uint64_t most, uint64_t *oldest, struct buf *change)
{
    struct stream_cursor cursor;
    struct stream_entry e;
    struct stream_id end = delivered_to_all(s);
    uint64_t chosen = 0, at = 0;
    *oldest = 0;
    for (bool more = stream_seek(s, 0, &cursor, &e); more && at < bound && chosen < most && stream_id_compare(e.id, end) <= 0;
         more = stream_next(&cursor, &e), at++) {
        if (stream_is_referenced(s, e.id))
            continue;
        if (chosen == at)
            ++*oldest;
        else
            stream_change_id(change, e.id);
        chosen++;
    }
    return chosen;
}

/* Towards a length, later entries go in the place of those that must stay. */
static bool trim_unreferenced(struct call *c, struct object_ref *o, const struct stream_trim *t, struct buf *change, uint64_t *count)
{
    uint64_t oldest, most = *count, bound = t->by == TRIM_LENGTH && !t->approximate ? stream_count(stream_of(o)) : most;
    stream_change_delete(change);
    *count = choose_unreferenced(stream_of(o), bound, most, &oldest, change);
    if (*count == oldest)
        change->size = 0;
    else if (!change_stream(c, o, change))
        return false;
    if (oldest == 0)
        return true;
    stream_change_trim(change, oldest);
    return change_stream(c, o, change);
}

bool trim_stream(struct call *c, struct object_ref *o, const struct stream_trim *t, struct buf *change, uint64_t *count)
{
    *count = t->by == TRIM_NOTHING ? 0 : count_to_trim(stream_of(o), t);
    if (*count == 0)
        return true;
    bool fine = t->references == REFERENCES_NONE ? trim_unreferenced(c, o, t, change, count) : trim_oldest(c, o, t, change, *count);
    if (fine && *count)
        txn_event(c->txn, call_key(c, 0), EVENT_STREAM, "xtrim");
    return fine;
}

void cmd_xtrim(struct call *c)
{
    struct stream_trim t = {.by = TRIM_NOTHING};
    struct object_ref o;
    uint64_t count = 0;
    for (size_t i = 2; i < c->argc; i++) {
        if (!is_trim_option(c, i)) {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return;
        }
        if (!take_trim_option(c, &i, &t))
            return;
    }
    if (!check_trim(c, &t, false) || !find_stream(c, call_key(c, 0), &o))
        return;
    struct buf change;
    buf_init(&change, SIZE_MAX);
    if (!o.object || trim_stream(c, &o, &t, &change, &count))
        reply_int(c->reply, (int64_t)count);
    if (call_is_fed(c) && count)
        say_trimmed(c, &o, &t);
    buf_release(&change);
}
