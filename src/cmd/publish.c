/* publish.c -- SUBSCRIBE and its relatives, PUBLISH, PUBSUB: words to pubsub.h.
 *
 * A message is published when its transaction commits, so that EXEC and scripts publish all or
 * nothing, in the order of their changes.
 */
#include "base/glob.h"
#include "cmd/args.h"
#include "cmd/feed.h"
#include "cmd/handlers.h"
#include "cmd/pubsub.h"

static const char *const subscribe_words[] = {"subscribe", "psubscribe", "ssubscribe"};
static const char *const unsubscribe_words[] = {"unsubscribe", "punsubscribe", "sunsubscribe"};

static void reply_change(struct call *c, const char *word, const bytes *name, enum topic_kind kind)
{
    c->session->pushed = true;
    c->reply->ops->push(c->reply, 3);
    reply_text(c->reply, word);
    if (name)
        reply_bulk(c->reply, *name);
    else
        reply_null(c->reply);
    reply_int(c->reply, (int64_t)pubsub_shown_count(c->session, kind));
}

static void subscribe(struct call *c, enum topic_kind kind)
{
    for (size_t i = 1; i < c->argc; i++) {
        pubsub_subscribe(c->session, kind, c->argv[i]);
        reply_change(c, subscribe_words[kind], &c->argv[i], kind);
    }
}

static void unsubscribe(struct call *c, enum topic_kind kind)
{
    bytes name;
    for (size_t i = 1; i < c->argc; i++) {
        pubsub_unsubscribe(c->session, kind, c->argv[i]);
        reply_change(c, unsubscribe_words[kind], &c->argv[i], kind);
    }
    if (c->argc > 1)
        return;
    if (pubsub_count(c->session, kind) == 0)
        reply_change(c, unsubscribe_words[kind], NULL, kind);
    while (pubsub_name(c->session, kind, 0, &name)) {
        struct buf copy;
        buf_init(&copy, SIZE_MAX);
        buf_append_bytes(&copy, name);
        name = buf_view(&copy);
        pubsub_unsubscribe(c->session, kind, name);
        reply_change(c, unsubscribe_words[kind], &name, kind);
        buf_release(&copy);
    }
}

void cmd_subscribe(struct call *c) { subscribe(c, TOPIC_CHANNEL); }
void cmd_psubscribe(struct call *c) { subscribe(c, TOPIC_PATTERN); }

void cmd_ssubscribe(struct call *c)
{
    if (c->session->in_multi)
        reply_errorf(c->reply, "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
    else
        subscribe(c, TOPIC_SHARD);
}

void cmd_unsubscribe(struct call *c) { unsubscribe(c, TOPIC_CHANNEL); }
void cmd_punsubscribe(struct call *c) { unsubscribe(c, TOPIC_PATTERN); }
void cmd_sunsubscribe(struct call *c) { unsubscribe(c, TOPIC_SHARD); }

struct publication {
    struct delivery delivery;
    enum topic_kind kind;
    bytes channel, payload;
};

static void deliver(struct txn *t, struct delivery *d, uint64_t lsn)
{
    struct publication *p = (struct publication *)d; /* its first member */
    (void)t;
    pubsub_publish(p->kind, p->channel, p->payload, lsn);
}

static void publish(struct call *c, enum topic_kind kind)
{
    size_t receivers = pubsub_receivers(kind, c->argv[1]);
    reply_int(c->reply, (int64_t)receivers);
    if (call_is_fed(c))
        call_feed(c, c->argv, c->argc);
    if (!receivers)
        return;
    struct arena *arena = txn_arena(c->txn);
    struct publication *p = arena_alloc(arena, sizeof(*p));
    *p = (struct publication){{NULL, deliver}, kind, arena_dup(arena, c->argv[1]), arena_dup(arena, c->argv[2])};
    txn_deliver(c->txn, &p->delivery);
}

void cmd_publish(struct call *c) { publish(c, TOPIC_CHANNEL); }
void cmd_spublish(struct call *c) { publish(c, TOPIC_SHARD); }

/* ---- PUBSUB ---- */

struct names {
    const bytes *pattern;
    struct buf list; /* of sizes and bytes */
    size_t count;
};

static void collect(void *context, bytes name)
{
    struct names *names = context;
    if (names->pattern && !glob_match(*names->pattern, name, false))
        return;
    buf_append(&names->list, &name.size, sizeof(name.size));
    buf_append_bytes(&names->list, name);
    names->count++;
}

static void reply_names(struct call *c, enum topic_kind kind)
{
    struct names names = {.pattern = c->argc > 2 ? &c->argv[2] : NULL};
    buf_init(&names.list, SIZE_MAX);
    pubsub_walk(kind, collect, &names);
    reply_array(c->reply, names.count);
    for (size_t at = 0; at < names.list.size;) {
        size_t size;
        memcpy(&size, names.list.data + at, sizeof(size));
        reply_bulk(c->reply, bytes_of(names.list.data + at + sizeof(size), size));
        at += sizeof(size) + size;
    }
    buf_release(&names.list);
}

static void reply_counts(struct call *c, enum topic_kind kind)
{
    reply_array(c->reply, (c->argc - 2) * 2);
    for (size_t i = 2; i < c->argc; i++) {
        reply_bulk(c->reply, c->argv[i]);
        reply_int(c->reply, (int64_t)pubsub_listeners(kind, c->argv[i]));
    }
}

static bool too_many_words(struct call *c)
{
    if (c->argc <= 3)
        return false;
    reply_errorf(c->reply, "ERR unknown subcommand or wrong number of arguments for '" WORD_FORMAT "'. Try PUBSUB HELP.",
                 WORD_WHOLE(c->argv[1]));
    return true;
}

void cmd_pubsub_channels(struct call *c)
{
    if (!too_many_words(c))
        reply_names(c, TOPIC_CHANNEL);
}

void cmd_pubsub_shardchannels(struct call *c)
{
    if (!too_many_words(c))
        reply_names(c, TOPIC_SHARD);
}

void cmd_pubsub_numsub(struct call *c) { reply_counts(c, TOPIC_CHANNEL); }
void cmd_pubsub_shardnumsub(struct call *c) { reply_counts(c, TOPIC_SHARD); }
void cmd_pubsub_numpat(struct call *c) { reply_int(c->reply, (int64_t)pubsub_topics(TOPIC_PATTERN)); }
