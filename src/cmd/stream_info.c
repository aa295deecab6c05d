/* stream_info.c -- XINFO: what a stream, its groups and their consumers look like. */
#include "base/number.h"
#include "cmd/handlers.h"
#include "cmd/stream.h"

/* False: the error was replied. */
static bool need_stream(struct call *c, const struct stream **s)
{
    if (!view_stream(c, call_key(c, 0), s))
        return false;
    if (!*s)
        reply_status(c->reply, HF_ERR_NO_SUCH_KEY);
    return *s != NULL;
}

static void named_int(struct reply *r, const char *name, uint64_t value)
{
    reply_text(r, name);
    reply_int(r, (int64_t)value);
}

static void named_id(struct reply *r, const char *name, struct stream_id id)
{
    reply_text(r, name);
    reply_stream_id(r, id);
}

#define LAG_UNKNOWN INT64_MIN

static void reply_known(struct reply *r, int64_t value, int64_t unknown)
{
    if (value == unknown)
        reply_null(r);
    else
        reply_int(r, value);
}

/* How many entries the group has still to read; below 0 when XGROUP was told of more than there were. */
static int64_t lag_of(const struct stream *s, const struct stream_group *g)
{
    uint64_t added = stream_state(s)->added;
    if (!added)
        return 0;
    int64_t read = g->read != STREAM_READ_UNKNOWN && !stream_has_gaps_from(s, g->last) ? g->read : stream_distance(s, g->last);
    return read == STREAM_READ_UNKNOWN ? LAG_UNKNOWN : (int64_t)(added - (uint64_t)read);
}

static void reply_counters(struct reply *r, const struct stream *s, const struct stream_group *g)
{
    reply_text(r, "entries-read");
    reply_known(r, g->read, STREAM_READ_UNKNOWN);
    reply_text(r, "lag");
    reply_known(r, lag_of(s, g), LAG_UNKNOWN);
}

static void reply_state(struct reply *r, const struct stream *s)
{
    const struct stream_state *state = stream_state(s);
    named_int(r, "length", stream_count(s));
    named_int(r, "radix-tree-keys", state->nodes);
    named_int(r, "radix-tree-nodes", state->nodes + 1);
    named_id(r, "last-generated-id", state->last);
    named_id(r, "max-deleted-entry-id", state->max_deleted);
    named_int(r, "entries-added", state->added);
    named_id(r, "recorded-first-entry-id", stream_first_id(s));
}

static void reply_end(struct reply *r, const char *name, const struct stream *s, uint64_t position)
{
    struct stream_cursor cursor;
    struct stream_entry e;
    reply_text(r, name);
    if (stream_seek(s, position, &cursor, &e))
        reply_stream_entry(r, &e);
    else
        reply_null(r);
}

static uint64_t at_most(uint64_t count, uint64_t most) { return most && count > most ? most : count; }

static void reply_consumer_full(struct reply *r, const struct stream *s, const struct stream_group *g, struct stream_consumer consumer,
                                uint64_t most)
{
    uint64_t owned = stream_owned_count(s, consumer.number), shown = at_most(owned, most);
    reply_map(r, 5);
    reply_text(r, "name");
    reply_bulk(r, consumer.name);
    named_int(r, "seen-time", consumer.seen_ms);
    reply_text(r, "active-time");
    reply_int(r, consumer.active_ms);
    named_int(r, "pel-count", owned);
    reply_text(r, "pending");
    reply_array(r, shown);
    for (uint64_t i = 0; i < shown; i++) {
        struct stream_pending p;
        bool found = stream_pending_find(s, g->number, stream_owned_at(s, consumer.number, i), &p);
        hf_assert(found);
        reply_array(r, 3);
        reply_stream_id(r, p.id);
        reply_int(r, (int64_t)p.delivered_ms);
        reply_int(r, (int64_t)p.deliveries);
    }
}

static void reply_group_full(struct reply *r, const struct stream *s, const struct stream_group *g, uint64_t most)
{
    uint64_t pending = stream_pending_count(s, g->number), shown = at_most(pending, most);
    uint64_t consumers = stream_consumer_count(s, g->number);
    reply_map(r, 7);
    reply_text(r, "name");
    reply_bulk(r, g->name);
    named_id(r, "last-delivered-id", g->last);
    reply_counters(r, s, g);
    named_int(r, "pel-count", pending);
    reply_text(r, "pending");
    reply_array(r, shown);
    for (uint64_t i = 0; i < shown; i++) {
        struct stream_pending p = stream_pending_at(s, g->number, i);
        reply_array(r, 4);
        reply_stream_id(r, p.id);
        reply_bulk(r, stream_consumer_of(s, p.consumer).name);
        reply_int(r, (int64_t)p.delivered_ms);
        reply_int(r, (int64_t)p.deliveries);
    }
    reply_text(r, "consumers");
    reply_array(r, consumers);
    for (uint64_t i = 0; i < consumers; i++)
        reply_consumer_full(r, s, g, stream_consumer_at(s, g->number, i), most);
}

static void reply_full(struct call *c, const struct stream *s, uint64_t most)
{
    struct reply *r = c->reply;
    uint64_t groups = stream_group_count(s);
    reply_map(r, 9);
    reply_state(r, s);
    reply_text(r, "entries");
    reply_stream_entries(c, s, 0, at_most(stream_count(s), most), false);
    reply_text(r, "groups");
    reply_array(r, groups);
    for (uint64_t i = 0; i < groups; i++) {
        struct stream_group g = stream_group_at(s, i);
        reply_group_full(r, s, &g, most);
    }
}

void cmd_xinfo_stream(struct call *c)
{
    const struct stream *s;
    int64_t most = 10;
    if (!need_stream(c, &s))
        return;
    bool full = c->argc > 3, wrong = full && !bytes_is_word(c->argv[3], "FULL");
    if (wrong || c->argc == 5 || c->argc > 6 || (c->argc == 6 && !bytes_is_word(c->argv[4], "COUNT"))) {
        reply_errorf(c->reply, "ERR unknown subcommand or wrong number of arguments for '" WORD_FORMAT "'. Try XINFO HELP.", WORD(c->argv[1]));
        return;
    }
    if (c->argc == 6 && !arg_int(c, 5, &most))
        return;
    if (full) {
        reply_full(c, s, most < 0 ? 10 : (uint64_t)most);
        return;
    }
    uint64_t count = stream_count(s);
    reply_map(c->reply, 10);
    reply_state(c->reply, s);
    named_int(c->reply, "groups", stream_group_count(s));
    reply_end(c->reply, "first-entry", s, 0);
    reply_end(c->reply, "last-entry", s, count ? count - 1 : 0);
}

void cmd_xinfo_groups(struct call *c)
{
    const struct stream *s;
    struct reply *r = c->reply;
    if (!need_stream(c, &s))
        return;
    uint64_t groups = stream_group_count(s);
    reply_array(r, groups);
    for (uint64_t i = 0; i < groups; i++) {
        struct stream_group g = stream_group_at(s, i);
        reply_map(r, 6);
        reply_text(r, "name");
        reply_bulk(r, g.name);
        named_int(r, "consumers", stream_consumer_count(s, g.number));
        named_int(r, "pending", stream_pending_count(s, g.number));
        named_id(r, "last-delivered-id", g.last);
        reply_counters(r, s, &g);
    }
}

static int64_t inactive_ms(const struct stream_consumer *c, int64_t now)
{
    return c->active_ms == STREAM_NEVER ? -1 : now > c->active_ms ? now - c->active_ms : 0;
}

void cmd_xinfo_consumers(struct call *c)
{
    const struct stream *s;
    struct stream_group g;
    struct reply *r = c->reply;
    uint64_t now = txn_now_ms(c->txn);
    if (!need_stream(c, &s))
        return;
    if (!stream_group_find(s, c->argv[3], &g)) {
        reply_errorf(r, "NOGROUP No such consumer group '" WORD_FORMAT "' for key name '" WORD_FORMAT "'", WORD_WHOLE(c->argv[3]),
                     WORD_WHOLE(c->argv[2]));
        return;
    }
    uint64_t consumers = stream_consumer_count(s, g.number);
    reply_array(r, consumers);
    for (uint64_t i = 0; i < consumers; i++) {
        struct stream_consumer consumer = stream_consumer_at(s, g.number, i);
        reply_map(r, 4);
        reply_text(r, "name");
        reply_bulk(r, consumer.name);
        named_int(r, "pending", stream_owned_count(s, consumer.number));
        named_int(r, "idle", now > consumer.seen_ms ? now - consumer.seen_ms : 0);
        reply_text(r, "inactive");
        reply_int(r, inactive_ms(&consumer, (int64_t)now));
    }
}
