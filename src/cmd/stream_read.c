/* stream_read.c -- XREAD and XREADGROUP, which may wait.
 *
 * Run again by whoever changes one of its keys, a waiting XREAD must go on from where it first stood: each `$` and `+` of
 * its words becomes the id that it meant, before it waits. A waiting XREADGROUP is also run when its key or its group went away,
 * and then is told so.
 */
#include "base/number.h"
#include "cmd/exec_script.h"
#include "cmd/handlers.h"
#include "engine/keys.h"
#include "cmd/stream_feed.h"

struct source {
    const struct key *key;
    struct object_ref object;    /* absent: object.object NULL */
    struct stream_id after;
    bool only_new;               /* ">" */
    struct stream_group group;
};

struct reading {
    bool grouped, no_ack, blocks;
    double seconds;
    int64_t count;               /* 0: all */
    size_t streams_at, stream_count;
    bytes group, consumer;
    struct source *sources;
};

/* ---- words ---- */

static bool take_block(struct call *c, size_t at, struct reading *r)
{
    int64_t ms;
    if (call_in_script(c)) {
        reply_errorf(c->reply, "ERR " WORD_FORMAT " command is not allowed with BLOCK option from scripts", WORD(c->argv[0]));
        return false;
    }
    if (!number_parse_int(c->argv[at], &ms)) {
        reply_errorf(c->reply, "ERR timeout is not an integer or out of range");
        return false;
    }
    if (ms < 0) {
        reply_errorf(c->reply, "ERR timeout is negative");
        return false;
    }
    r->blocks = true;
    r->seconds = (double)ms / 1000;
    return true;
}

static bool not_grouped(struct call *c, const struct reading *r, const char *option)
{
    if (r->grouped)
        return false;
    reply_errorf(c->reply, "ERR The %s option is only supported by XREADGROUP. You called XREAD instead.", option);
    return true;
}

static bool take_words(struct call *c, struct reading *r)
{
    bool named = false;
    for (size_t i = 1; i < c->argc && !r->streams_at; i++) {
        size_t left = c->argc - i - 1;
        bytes word = c->argv[i];
        if (left && bytes_is_word(word, "BLOCK")) {
            if (!take_block(c, ++i, r))
                return false;
        } else if (left && bytes_is_word(word, "COUNT")) {
            if (!arg_int(c, ++i, &r->count))
                return false;
            r->count = r->count < 0 ? 0 : r->count;
        } else if (left && bytes_is_word(word, "STREAMS")) {
            r->streams_at = i + 1;
            r->stream_count = left / 2;
            if (left % 2) {
                reply_errorf(c->reply, "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.");
                return false;
            }
        } else if (left >= 2 && bytes_is_word(word, "GROUP")) {
            if (not_grouped(c, r, "GROUP"))
                return false;
            r->group = c->argv[i + 1];
            r->consumer = c->argv[i + 2];
            named = true;
            i += 2;
        } else if (bytes_is_word(word, "NOACK")) {
            if (not_grouped(c, r, "NOACK"))
                return false;
            r->no_ack = true;
        } else {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return false;
        }
    }
    if (!r->streams_at)
        reply_status(c->reply, HF_ERR_SYNTAX);
    else if (r->grouped && !named)
        reply_errorf(c->reply, "ERR Missing GROUP option for XREADGROUP");
    else
        return true;
    return false;
}

/* "$" and "+" mean another id with every entry. */
static bool is_moving(bytes word) { return word.size == 1 && (word.data[0] == '$' || word.data[0] == '+'); }

static struct stream_id newest_ever(const struct stream *s) { return s ? stream_state(s)->last : STREAM_ID_MIN; }

/* Behind it stands the newest entry that is there, or the first one to come. */
static struct stream_id before_newest(const struct stream *s)
{
    struct stream_cursor cursor;
    struct stream_entry e;
    if (!s || !stream_count(s) || !stream_seek(s, stream_count(s) - 1, &cursor, &e))
        return newest_ever(s);
    bool above_lowest = stream_id_previous(&e.id);
    hf_assert(above_lowest); /* no entry is 0-0 */
    return e.id;
}

static bool take_position(struct call *c, const struct reading *r, size_t at, struct source *s)
{
    bytes word = c->argv[at];
    if (is_moving(word)) {
        if (r->grouped) {
            reply_errorf(c->reply, "ERR The %c ID is meaningless in the context of XREADGROUP: you want to read the history of this "
                                   "consumer by specifying a proper ID, or use the > ID to get new messages. The %c ID would just return "
                                   "an empty result set.", word.data[0], word.data[0]);
            return false;
        }
        s->after = word.data[0] == '$' ? newest_ever(s->object.object) : before_newest(s->object.object);
        return true;
    }
    if (word.size == 1 && word.data[0] == '>') {
        s->only_new = true;
        if (!r->grouped)
            reply_errorf(c->reply, "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.");
        return r->grouped;
    }
    if (!arg_stream_id(c, at, &s->after))
        return false;
    s->only_new = r->grouped && stream_id_compare(s->after, STREAM_ID_MAX) == 0; /* nothing is behind it: Redis takes it for `>` */
    return true;
}

static bool take_source(struct call *c, const struct reading *r, size_t n, struct source *s)
{
    s->key = &c->keys[n];
    if (c->woken_by && c->woken_by != s->key)
        return true;
    if (!read_stream(c, s->key, &s->object))
        return false;
    if (r->grouped && (!s->object.object || !stream_group_find(s->object.object, r->group, &s->group))) {
        reply_errorf(c->reply, "NOGROUP No such key '" WORD_FORMAT "' or consumer group '" WORD_FORMAT "' in XREADGROUP with GROUP option",
                     WORD_WHOLE(s->key->name), WORD_WHOLE(r->group));
        return false;
    }
    s->group.name = r->group; /* a word, not a view that ends with the next change */
    return take_position(c, r, r->streams_at + r->stream_count + n, s);
}

/* ---- one stream's part of the reply ---- */

static void begin_part(struct call *c, const struct source *s)
{
    if (c->reply->version < 3)
        reply_array(c->reply, 2);
    reply_bulk(c->reply, s->key->name);
}

static uint64_t at_most(const struct reading *r, uint64_t count)
{
    return r->count > 0 && count > (uint64_t)r->count ? (uint64_t)r->count : count;
}

static bool has_news(const struct source *s)
{
    const struct stream *stream = s->object.object;
    struct stream_id after = s->only_new ? s->group.last : s->after;
    return stream && stream_id_next(&after) && stream_position(stream, after) < stream_count(stream);
}

static void read_new(struct call *c, const struct reading *r, struct source *s)
{
    struct stream_id after = s->after;
    const struct stream *stream = s->object.object;
    bool more = stream_id_next(&after);
    hf_assert(more);
    uint64_t first = stream_position(stream, after), count = at_most(r, stream_count(stream) - first);
    begin_part(c, s);
    reply_stream_entries(c, stream, first, count, false);
}

/* How far a group's counter has come when it has read this entry. */
static int64_t count_read(const struct stream *s, int64_t read, struct stream_id id)
{
    if (read != STREAM_READ_UNKNOWN && !stream_has_gaps_from(s, id))
        return read < INT64_MAX ? read + 1 : read;
    return stream_state(s)->added ? stream_distance(s, id) : read;
}

#define DELIVERIES_AT_ONCE 1000

/* Hands out what no consumer has had. False: the error was replied. */
static bool deliver(struct call *c, const struct reading *r, struct source *s, uint64_t first, uint64_t count, struct buf *change)
{
    uint64_t now = txn_now_ms(c->txn);
    struct stream_cursor cursor;
    struct stream_entry e;
    struct stream_id *ids = arena_alloc(txn_arena(c->txn), count * sizeof(*ids));
    bool more = stream_seek(s->object.object, first, &cursor, &e);
    for (uint64_t i = 0; i < count && more; i++, more = stream_next(&cursor, &e)) {
        ids[i] = e.id;
        s->group.read = count_read(s->object.object, s->group.read, e.id);
    }
    stream_change_group(change, r->group, os_bug(BUG_GROUP_AGAIN) ? s->group.last : ids[count - 1], s->group.read);
    if (!change_stream_unwatched(c, &s->object, change))
        return false;
    for (uint64_t at = 0; at < count && !r->no_ack && !os_bug(BUG_PENDING_LOST); at += DELIVERIES_AT_ONCE) {
        stream_change_deliver(change, r->group, r->consumer, now);
        for (uint64_t i = at; i < count && i < at + DELIVERIES_AT_ONCE; i++)
            stream_change_delivery(change, ids[i], now, 1);
        if (!change_stream_unwatched(c, &s->object, change))
            return false;
    }
    if (call_is_fed(c) && r->no_ack)
        say_group(c, &s->object, r->group);
    else if (call_is_fed(c))
        say_claims(c, &s->object, r->group, r->consumer, ids, count);
    return true;
}

static bool read_group_new(struct call *c, const struct reading *r, struct source *s, struct buf *change)
{
    struct stream_id after = s->group.last;
    bool more = stream_id_next(&after);
    hf_assert(more);
    uint64_t first = stream_position(s->object.object, after), count = at_most(r, stream_count(s->object.object) - first);
    begin_part(c, s);
    reply_stream_entries(c, s->object.object, first, count, false);
    return deliver(c, r, s, first, count, change);
}

/* What the consumer owns already; entries that are still there count as delivered once more. */
static bool read_group_history(struct call *c, const struct reading *r, struct source *s, uint64_t consumer, struct buf *change)
{
    const struct stream *stream = s->object.object;
    struct stream_id after = s->after;
    uint64_t first = stream_id_next(&after) ? stream_owned_position(stream, consumer, after) : stream_owned_count(stream, consumer);
    uint64_t count = at_most(r, stream_owned_count(stream, consumer) - first), now = txn_now_ms(c->txn);
    struct stream_id *again = arena_alloc(txn_arena(c->txn), (count + 1) * sizeof(*again));
    size_t any = 0;
    stream_change_deliver_again(change, r->group, r->consumer, now);
    begin_part(c, s);
    reply_array(c->reply, count);
    for (uint64_t i = 0; i < count; i++) {
        struct stream_id id = stream_owned_at(stream, consumer, first + i);
        struct stream_entry e;
        struct stream_pending p;
        if (!stream_find(stream, id, &e)) {
            reply_array(c->reply, 2);
            reply_stream_id(c->reply, id);
            reply_null_array(c->reply);
            continue;
        }
        reply_stream_entry(c->reply, &e);
        bool found = stream_pending_find(stream, s->group.number, id, &p);
        hf_assert(found);
        stream_change_delivery(change, id, now, p.deliveries + 1);
        again[any++] = id;
    }
    if (!any)
        change->size = 0;
    else if (!change_stream_unwatched(c, &s->object, change))
        return false;
    if (call_is_fed(c))
        say_claims(c, &s->object, r->group, r->consumer, again, any);
    return true;
}

struct seen { struct stream *stream; uint64_t consumer, seen_ms; };

static void seen_over(void *context, bool undone)
{
    const struct seen *before = context;
    if (undone)
        stream_note_seen(before->stream, before->consumer, before->seen_ms);
}

/* It asked: no change, but undone with the transaction. */
static void note_seen(struct call *c, struct object_ref *o, const struct stream_consumer *consumer)
{
    struct seen *before = arena_alloc(txn_arena(c->txn), sizeof(*before));
    *before = (struct seen){o->object, consumer->number, consumer->seen_ms};
    stream_note_seen(o->object, consumer->number, txn_now_ms(c->txn));
    txn_on_end(c->txn, seen_over, before);
}

void see_consumer(struct call *c, struct object_ref *o, const struct stream_group *g, bytes name)
{
    struct stream_consumer consumer;
    if (stream_consumer_find(stream_of(o), g->number, name, &consumer))
        note_seen(c, o, &consumer);
}

bool meet_consumer(struct call *c, struct object_ref *o, const struct stream_group *g, bytes name, struct stream_consumer *out)
{
    uint64_t now = txn_now_ms(c->txn);
    if (stream_consumer_find(stream_of(o), g->number, name, out)) {
        note_seen(c, o, out);
        return true;
    }
    struct buf change;
    buf_init(&change, SIZE_MAX);
    stream_change_consumer(&change, g->name, name, now);
    bool fine = change_stream_unwatched(c, o, &change);
    buf_release(&change);
    if (!fine)
        return false;
    txn_event(c->txn, o->key, EVENT_STREAM, "xgroup-createconsumer");
    bool found = stream_consumer_find(stream_of(o), g->number, name, out);
    hf_assert(found);
    return true;
}

/* ---- the command ---- */

/* What this source has to say; false: the error was replied. */
static bool serve(struct call *c, const struct reading *r, struct source *s, struct buf *change)
{
    struct stream_consumer consumer;
    if (!r->grouped) {
        read_new(c, r, s);
        return true;
    }
    bool there = stream_group_find(s->object.object, r->group, &s->group); /* as it is now */
    hf_assert(there);
    s->group.name = r->group;
    if (s->only_new)
        return read_group_new(c, r, s, change);
    bool found = stream_consumer_find(s->object.object, s->group.number, r->consumer, &consumer);
    hf_assert(found);
    return read_group_history(c, r, s, consumer.number, change);
}

/* A waiting XREADGROUP whose key or group is gone hears of it. */
static bool is_orphaned(struct call *c, const struct reading *r)
{
    struct object_ref o;
    struct stream_group g;
    if (!r->grouped || !c->woken_by)
        return false;
    if (object_find(c->txn, c->woken_by, TYPE_STREAM, &o) != HF_OK || !o.object)
        reply_error_line(c->reply, "UNBLOCKED the stream key no longer exists");
    else if (!stream_group_find(o.object, r->group, &g))
        reply_error_line(c->reply, "NOGROUP the consumer group this client was blocked on no longer exists");
    else
        return false;
    return true;
}

/* The words with an id in the place of each that moves. */
static void fix_positions(struct call *c, const struct reading *r)
{
    struct arena *arena = txn_arena(c->txn);
    bytes *words = arena_alloc(arena, c->argc * sizeof(*words));
    memcpy(words, c->argv, c->argc * sizeof(*words));
    for (size_t n = 0; n < r->stream_count; n++) {
        bytes *word = &words[r->streams_at + r->stream_count + n];
        if (!is_moving(*word))
            continue;
        char text[STREAM_ID_TEXT];
        *word = arena_dup(arena, bytes_of(text, stream_id_text(text, r->sources[n].after)));
    }
    c->argv = words;
}

/* The same stream named before leaves less to the n-th source. */
static bool has_news_left(const struct reading *r, size_t n)
{
    const struct source *s = &r->sources[n];
    uint64_t earlier = 0;
    for (size_t i = 0; r->grouped && i < n; i++)
        earlier += r->sources[i].only_new && bytes_equal(r->sources[i].key->name, s->key->name);
    if (!earlier || !has_news(s))
        return has_news(s);
    struct stream_id after = s->group.last;
    bool more = stream_id_next(&after);
    uint64_t left = stream_count(s->object.object) - stream_position(s->object.object, after);
    return more && r->count > 0 && left / (uint64_t)r->count >= earlier && left > earlier * (uint64_t)r->count;
}

static void read_sources(struct call *c, struct reading *r)
{
    size_t served = 0;
    bool *serves = arena_alloc(txn_arena(c->txn), r->stream_count * sizeof(*serves));
    for (size_t n = 0; n < r->stream_count; n++) {
        struct source *s = &r->sources[n];
        struct stream_consumer consumer;
        key_looked_up(c->txn, s->key, s->object.object != NULL); /* Redis looks twice: at the words, and here */
        serves[n] = s->object.object && ((r->grouped && !s->only_new) || has_news_left(r, n));
        served += serves[n];
        if (r->grouped && !serves[n] && s->object.object)
            see_consumer(c, &s->object, &s->group, r->consumer);
        bool is_new = call_is_fed(c) && r->grouped && serves[n] && !stream_consumer_find(stream_of(&s->object), s->group.number, r->consumer, &consumer);
        if (r->grouped && serves[n] && !meet_consumer(c, &s->object, &s->group, r->consumer, &consumer))
            return;
        if (is_new && (r->no_ack || !s->only_new)) /* else what is delivered makes it */
            say_consumer(c, &s->object, r->group, r->consumer);
    }
    if (!served) {
        if (r->blocks)
            fix_positions(c, r);
        if (!r->blocks || !call_block(c, r->seconds))
            reply_null_array(c->reply);
        return;
    }
    if (c->reply->version < 3)
        reply_array(c->reply, served);
    else
        reply_map(c->reply, served);
    struct buf change;
    buf_init(&change, SIZE_MAX);
    bool fine = true;
    for (size_t n = 0; n < r->stream_count && fine; n++)
        fine = !serves[n] || serve(c, r, &r->sources[n], &change);
    buf_release(&change);
}

static void read_streams(struct call *c, bool grouped)
{
    struct reading r = {.grouped = grouped};
    if (!take_words(c, &r))
        return;
    if (call_is_over(c)) {
        reply_null_array(c->reply);
        return;
    }
    if (is_orphaned(c, &r))
        return;
    r.sources = arena_alloc(txn_arena(c->txn), r.stream_count * sizeof(*r.sources));
    memset(r.sources, 0, r.stream_count * sizeof(*r.sources));
    hf_assert(c->key_count == r.stream_count); /* command.c finds the list as take_words does */
    for (size_t n = 0; n < r.stream_count; n++) {
        if (!take_source(c, &r, n, &r.sources[n]))
            return;
    }
    read_sources(c, &r);
}

void cmd_xread(struct call *c) { read_streams(c, false); }
void cmd_xreadgroup(struct call *c) { read_streams(c, true); }
