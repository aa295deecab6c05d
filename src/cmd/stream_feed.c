/* stream_feed.c -- streams for replicas: ids and times that were chosen here are said there. */
#include "cmd/stream_feed.h"

#include "base/number.h"

static bytes id_word(const struct call *c, struct stream_id id)
{
    char text[STREAM_ID_TEXT];
    return arena_dup(txn_arena(c->txn), bytes_of(text, stream_id_text(text, id)));
}

static bytes count_word(const struct call *c, const struct object_ref *o) { return call_feed_number(c, stream_count(stream_of(o))); }

void say_added(struct call *c, const struct object_ref *o, struct stream_id id, size_t id_at, const struct stream_trim *trim)
{
    bytes *words = arena_alloc(txn_arena(c->txn), (c->argc + 4) * sizeof(*words));
    size_t count = 0;
    words[count++] = c->argv[0];
    words[count++] = c->argv[1];
    if (trim->by != TRIM_NOTHING) {
        words[count++] = BYTES("MAXLEN");
        words[count++] = BYTES("=");
        words[count++] = count_word(c, o);
    }
    words[count++] = id_word(c, id);
    for (size_t i = id_at + 1; i < c->argc; i++)
        words[count++] = c->argv[i];
    call_feed(c, words, count);
}

void say_trimmed(struct call *c, const struct object_ref *o, const struct stream_trim *trim)
{
    if (trim->references == REFERENCES_KEEP)
        CALL_FEED(c, c->argv[0], c->argv[1], BYTES("MAXLEN"), BYTES("="), count_word(c, o));
    else
        feed_first_value(c);
}

void say_claims(struct call *c, const struct object_ref *o, bytes group, bytes consumer, const struct stream_id *ids, size_t count)
{
    struct stream_group g;
    bool found = stream_group_find(stream_of(o), group, &g);
    hf_assert(found);
    bytes last = id_word(c, g.last);
    for (size_t i = 0; i < count; i++) {
        struct stream_pending p;
        if (!stream_pending_find(stream_of(o), g.number, ids[i], &p))
            continue;
        CALL_FEED(c, BYTES("XCLAIM"), o->key->name, group, consumer, BYTES("0"), id_word(c, ids[i]), BYTES("TIME"),
                  call_feed_number(c, p.delivered_ms), BYTES("RETRYCOUNT"), call_feed_number(c, p.deliveries), BYTES("FORCE"),
                  BYTES("JUSTID"), BYTES("LASTID"), last);
    }
}

void say_group(struct call *c, const struct object_ref *o, bytes group)
{
    struct stream_group g;
    char digits[NUMBER_TEXT_MAX];
    bool found = stream_group_find(stream_of(o), group, &g);
    hf_assert(found);
    CALL_FEED(c, BYTES("XGROUP"), BYTES("SETID"), o->key->name, group, id_word(c, g.last), BYTES("ENTRIESREAD"),
              bytes_of(digits, number_format_int(digits, g.read == STREAM_READ_UNKNOWN ? -1 : g.read)));
}

void say_consumer(struct call *c, const struct object_ref *o, bytes group, bytes consumer)
{
    CALL_FEED(c, BYTES("XGROUP"), BYTES("CREATECONSUMER"), o->key->name, group, consumer);
}

void say_acknowledged(struct call *c, const struct object_ref *o, bytes group, const struct stream_id *ids, size_t count)
{
    bytes *words = arena_alloc(txn_arena(c->txn), (3 + count) * sizeof(*words));
    words[0] = BYTES("XACK");
    words[1] = o->key->name;
    words[2] = group;
    for (size_t i = 0; i < count; i++)
        words[3 + i] = id_word(c, ids[i]);
    call_feed(c, words, 3 + count);
}
