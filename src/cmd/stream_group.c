/* stream_group.c -- consumer groups: XGROUP, XACK, XPENDING, XCLAIM, XAUTOCLAIM. */
#include "base/number.h"
#include "cmd/handlers.h"
#include "cmd/stream_feed.h"

/* ---- counters ---- */

bool stream_has_gaps_from(const struct stream *s, struct stream_id id)
{
    struct stream_id deleted = stream_state(s)->max_deleted;
    return stream_count(s) && (deleted.ms || deleted.seq) && stream_id_compare(deleted, stream_first_id(s)) >= 0 &&
           stream_id_compare(id, deleted) <= 0;
}

int64_t stream_distance(const struct stream *s, struct stream_id id)
{
    const struct stream_state *state = stream_state(s);
    struct stream_id deleted = state->max_deleted, first = stream_first_id(s);
    uint64_t count = stream_count(s);
    int to_last = stream_id_compare(id, state->last);
    bool any_deleted = deleted.ms || deleted.seq;
    if (!state->added)
        return 0;
    if (!count && to_last <= 0)
        return (int64_t)state->added;
    if (to_last >= 0)
        return to_last == 0 ? (int64_t)state->added : STREAM_READ_UNKNOWN;
    if (any_deleted && stream_id_compare(deleted, first) >= 0)
        return STREAM_READ_UNKNOWN; /* gaps among what is still there */
    int to_first = stream_id_compare(id, first);
    if (to_first > 0)
        return STREAM_READ_UNKNOWN;
    return (int64_t)(state->added - count) + (to_first == 0);
}

/* ---- finding ---- */

static void no_group(struct call *c, bytes group)
{
    reply_errorf(c->reply, "NOGROUP No such key '" WORD_FORMAT "' or consumer group '" WORD_FORMAT "'", WORD_WHOLE(call_key(c, 0)->name),
                 WORD_WHOLE(group));
}

/* The stream of key 0 and the group of word 2. False: the error was replied. */
static bool find_group(struct call *c, struct object_ref *o, struct stream_group *g)
{
    if (!read_stream(c, call_key(c, 0), o))
        return false;
    if (o->object && stream_group_find(o->object, c->argv[2], g))
        return true;
    no_group(c, c->argv[2]);
    return false;
}

/* ---- XGROUP ---- */

struct group_words {
    struct object_ref object;
    struct stream_group group;
    bool group_found;
    bool make_stream;
    int64_t read;
};

static void tell(struct call *c, const char *event)
{
    txn_event(c->txn, call_key(c, 0), EVENT_STREAM, event);
}

static bool unknown_words(struct call *c)
{
    reply_errorf(c->reply, "ERR unknown subcommand or wrong number of arguments for '" WORD_FORMAT "'. Try XGROUP HELP.", WORD(c->argv[1]));
    return false;
}

/* Options may come twice, up to so many words; the key and the group are looked at first. */
static bool fits(struct call *c, size_t words_max)
{
    return c->argc <= words_max || unknown_words(c);
}

static bool take_group_options(struct call *c, bool creates, struct group_words *g)
{
    g->read = STREAM_READ_UNKNOWN;
    for (size_t i = 5; i < c->argc; i++) {
        if (creates && bytes_is_word(c->argv[i], "MKSTREAM")) {
            g->make_stream = true;
        } else if (bytes_is_word(c->argv[i], "ENTRIESREAD") && i + 1 < c->argc) {
            if (!arg_int(c, ++i, &g->read))
                return false;
            if (g->read < 0 && g->read != STREAM_READ_UNKNOWN) {
                reply_errorf(c->reply, "ERR value for ENTRIESREAD must be positive or -1");
                return false;
            }
        } else {
            return unknown_words(c);
        }
    }
    return true;
}

static bool take_group(struct call *c, bool must_exist, struct group_words *g)
{
    if (!find_stream(c, call_key(c, 0), &g->object))
        return false;
    if (!g->object.object && !g->make_stream) {
        reply_errorf(c->reply, "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM "
                               "option to create an empty stream automatically.");
        return false;
    }
    g->group_found = g->object.object && stream_group_find(g->object.object, c->argv[3], &g->group);
    if (must_exist && !g->group_found)
        reply_errorf(c->reply, "NOGROUP No such consumer group '" WORD_FORMAT "' for key name '" WORD_FORMAT "'", WORD_WHOLE(c->argv[3]),
                     WORD_WHOLE(c->argv[2]));
    return g->group_found || !must_exist;
}

/* ends: "-" and "+" are ids too. */
static bool take_group_id(struct call *c, const struct group_words *g, bool ends, struct stream_id *id)
{
    bytes word = c->argv[4];
    if (ends && word.size == 1 && (word.data[0] == '-' || word.data[0] == '+')) {
        *id = word.data[0] == '-' ? STREAM_ID_MIN : STREAM_ID_MAX;
        return true;
    }
    if (word.size != 1 || word.data[0] != '$')
        return arg_stream_id(c, 4, id);
    *id = g->object.object ? stream_state(g->object.object)->last : STREAM_ID_MIN;
    return true;
}

static void set_group(struct call *c, struct group_words *g, struct stream_id id, const char *event)
{
    struct buf change;
    buf_init(&change, SIZE_MAX);
    stream_change_group(&change, c->argv[3], id, g->read);
    bool fine = change_stream_unwatched(c, &g->object, &change);
    buf_release(&change);
    if (!fine)
        return;
    tell(c, event);
    reply_ok(c->reply);
}

void cmd_xgroup_create(struct call *c)
{
    struct group_words g = {.read = 0};
    struct stream_id id;
    if (!take_group_options(c, true, &g) || !take_group(c, false, &g) || !fits(c, 8) || !take_group_id(c, &g, false, &id))
        return;
    if (g.group_found)
        reply_error_line(c->reply, "BUSYGROUP Consumer Group name already exists");
    else
        set_group(c, &g, id, "xgroup-create");
}

void cmd_xgroup_setid(struct call *c)
{
    struct group_words g = {.read = 0};
    struct stream_id id;
    if (take_group_options(c, false, &g) && take_group(c, true, &g) && fits(c, 7) && take_group_id(c, &g, true, &id))
        set_group(c, &g, id, "xgroup-setid");
}

void cmd_xgroup_destroy(struct call *c)
{
    struct group_words g = {.read = 0};
    if (!take_group(c, false, &g))
        return;
    if (!g.group_found) {
        reply_int(c->reply, 0);
        return;
    }
    struct buf change;
    buf_init(&change, SIZE_MAX);
    stream_change_group_remove(&change, c->argv[3]);
    bool fine = change_stream_unwatched(c, &g.object, &change);
    buf_release(&change);
    if (!fine)
        return;
    tell(c, "xgroup-destroy");
    reply_int(c->reply, 1);
}

void cmd_xgroup_createconsumer(struct call *c)
{
    struct group_words g = {.read = 0};
    struct stream_consumer consumer;
    if (!take_group(c, true, &g))
        return;
    if (stream_consumer_find(g.object.object, g.group.number, c->argv[4], &consumer))
        reply_int(c->reply, 0);
    else if (meet_consumer(c, &g.object, &g.group, c->argv[4], &consumer))
        reply_int(c->reply, 1);
}

void cmd_xgroup_delconsumer(struct call *c)
{
    struct group_words g = {.read = 0};
    struct stream_consumer consumer;
    if (!take_group(c, true, &g))
        return;
    if (!stream_consumer_find(g.object.object, g.group.number, c->argv[4], &consumer)) {
        reply_int(c->reply, 0);
        return;
    }
    uint64_t owned = stream_owned_count(g.object.object, consumer.number);
    struct buf change;
    buf_init(&change, SIZE_MAX);
    stream_change_consumer_remove(&change, c->argv[3], c->argv[4]);
    bool fine = change_stream_unwatched(c, &g.object, &change);
    buf_release(&change);
    if (!fine)
        return;
    tell(c, "xgroup-delconsumer");
    reply_int(c->reply, (int64_t)owned);
}

/* ---- XACK ---- */

void cmd_xack(struct call *c)
{
    struct object_ref o;
    struct stream_group g;
    size_t count;
    if (!read_stream(c, call_key(c, 0), &o))
        return;
    if (!o.object || !stream_group_find(o.object, c->argv[2], &g)) {
        reply_int(c->reply, 0);
        return;
    }
    const struct stream_id *ids = arg_stream_ids(c, 3, &count);
    if (!ids)
        return;
    int64_t found = acknowledge(c, &o, &g, ids, count);
    if (found >= 0)
        reply_int(c->reply, found);
}

/* ---- XPENDING ---- */

static uint64_t idle_of(struct call *c, const struct stream_pending *p)
{
    uint64_t now = txn_now_ms(c->txn);
    return now > p->delivered_ms ? now - p->delivered_ms : 0;
}

static void reply_summary(struct call *c, const struct stream *s, const struct stream_group *g)
{
    struct reply *r = c->reply;
    uint64_t count = stream_pending_count(s, g->number), consumers = stream_consumer_count(s, g->number), owners = 0;
    reply_array(r, 4);
    reply_int(r, (int64_t)count);
    if (!count) {
        reply_null(r);
        reply_null(r);
        reply_null_array(r);
        return;
    }
    reply_stream_id(r, stream_pending_at(s, g->number, 0).id);
    reply_stream_id(r, stream_pending_at(s, g->number, count - 1).id);
    for (uint64_t i = 0; i < consumers; i++)
        owners += stream_owned_count(s, stream_consumer_at(s, g->number, i).number) > 0;
    reply_array(r, owners);
    for (uint64_t i = 0; i < consumers; i++) {
        struct stream_consumer consumer = stream_consumer_at(s, g->number, i);
        char text[24];
        uint64_t owned = stream_owned_count(s, consumer.number);
        if (!owned)
            continue;
        reply_array(r, 2);
        reply_bulk(r, consumer.name);
        reply_bulk(r, bytes_of(text, number_format_uint(text, owned)));
    }
}

struct pending_range { struct stream_id start, end; int64_t count, min_idle; const bytes *consumer; };

/* Positions of the range among the pending ones of the group, or of the consumer. */
static void reply_pending(struct call *c, const struct stream *s, const struct stream_group *g, const struct pending_range *range)
{
    struct stream_consumer owner = {.number = 0};
    size_t taken = 0;
    if (range->consumer && !stream_consumer_find(s, g->number, *range->consumer, &owner)) {
        reply_array(c->reply, 0);
        return;
    }
    uint64_t at = range->consumer ? stream_owned_position(s, owner.number, range->start)
                                  : stream_pending_position(s, g->number, range->start);
    uint64_t total = range->consumer ? stream_owned_count(s, owner.number) : stream_pending_count(s, g->number);
    uint64_t most = total > at ? total - at : 0;
    most = most < (uint64_t)range->count ? most : (uint64_t)range->count;
    struct stream_pending *all = arena_alloc(txn_arena(c->txn), (most + 1) * sizeof(*all));
    for (; at < total && taken < (uint64_t)range->count; at++) {
        struct stream_pending p;
        if (!range->consumer)
            p = stream_pending_at(s, g->number, at);
        else if (!stream_pending_find(s, g->number, stream_owned_at(s, owner.number, at), &p))
            hf_assert(!"an owned entry is pending");
        if (stream_id_compare(p.id, range->end) > 0)
            break;
        if (range->min_idle <= 0 || idle_of(c, &p) >= (uint64_t)range->min_idle)
            all[taken++] = p;
    }
    reply_array(c->reply, taken);
    for (size_t i = 0; i < taken; i++) {
        reply_array(c->reply, 4);
        reply_stream_id(c->reply, all[i].id);
        reply_bulk(c->reply, stream_consumer_of(s, all[i].consumer).name);
        reply_int(c->reply, (int64_t)idle_of(c, &all[i]));
        reply_int(c->reply, (int64_t)all[i].deliveries);
    }
}

static bool take_pending_range(struct call *c, struct pending_range *range)
{
    size_t at = 3;
    if (c->argc < 6 || c->argc > 9) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return false;
    }
    if (bytes_is_word(c->argv[3], "IDLE")) {
        if (!arg_int(c, 4, &range->min_idle))
            return false;
        if (c->argc < 8) {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return false;
        }
        at += 2;
    }
    if (!arg_int(c, at + 2, &range->count))
        return false;
    range->count = range->count < 0 ? 0 : range->count;
    if (at + 3 < c->argc)
        range->consumer = &c->argv[at + 3];
    return arg_stream_interval(c, at, at + 1, &range->start, &range->end);
}

void cmd_xpending(struct call *c)
{
    struct pending_range range = {.count = 0};
    const struct stream *s;
    struct stream_group g;
    if (c->argc != 3 && !take_pending_range(c, &range))
        return;
    if (!view_stream(c, call_key(c, 0), &s))
        return;
    if (!s || !stream_group_find(s, c->argv[2], &g))
        no_group(c, c->argv[2]);
    else if (c->argc == 3)
        reply_summary(c, s, &g);
    else
        reply_pending(c, s, &g, &range);
}

/* ---- XCLAIM, XAUTOCLAIM ---- */

struct claim {
    struct object_ref object;
    struct stream_group group;
    int64_t min_idle, delivered_ms, deliveries; /* deliveries below 0: one more than before */
    bool force, only_ids, has_time;
    struct stream_id last;
    struct stream_id *taken, *gone;
    size_t taken_count, gone_count;
};

static bool take_idle(struct call *c, const char *error, int64_t *ms)
{
    if (number_parse_int(c->argv[4], ms)) {
        *ms = *ms < 0 ? 0 : *ms;
        return true;
    }
    reply_errorf(c->reply, "ERR %s", error);
    return false;
}

static bool take_claim_number(struct call *c, size_t at, const char *option, int64_t *value)
{
    if (number_parse_int(c->argv[at], value))
        return true;
    reply_errorf(c->reply, "ERR Invalid %s option argument for XCLAIM", option);
    return false;
}

static bool take_claim_options(struct call *c, size_t at, struct claim *k)
{
    int64_t now = (int64_t)txn_now_ms(c->txn), value;
    for (size_t i = at; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        bytes word = c->argv[i];
        if (bytes_is_word(word, "FORCE")) {
            k->force = true;
        } else if (bytes_is_word(word, "JUSTID")) {
            k->only_ids = true;
        } else if (more && bytes_is_word(word, "IDLE")) {
            if (!take_claim_number(c, ++i, "IDLE", &value))
                return false;
            if (__builtin_sub_overflow(now, value, &k->delivered_ms))
                k->delivered_ms = now;
            k->has_time = true;
        } else if (more && bytes_is_word(word, "TIME")) {
            if (!take_claim_number(c, ++i, "TIME", &k->delivered_ms))
                return false;
            k->has_time = true;
        } else if (more && bytes_is_word(word, "RETRYCOUNT")) {
            if (!take_claim_number(c, ++i, "RETRYCOUNT", &k->deliveries))
                return false;
        } else if (more && bytes_is_word(word, "LASTID")) {
            if (!arg_stream_id(c, ++i, &k->last))
                return false;
        } else {
            reply_errorf(c->reply, "ERR Unrecognized XCLAIM option '" WORD_FORMAT "'", WORD_WHOLE(word));
            return false;
        }
    }
    if (!k->has_time || k->delivered_ms == -1 || k->delivered_ms > now)
        k->delivered_ms = now;
    return true;
}

static bool is_idle_enough(struct call *c, const struct claim *k, const struct stream_pending *p)
{
    return !k->min_idle || (int64_t)(txn_now_ms(c->txn) - p->delivered_ms) >= k->min_idle;
}

/* The consumer is made when there is something for it. */
static bool claim_consumer(struct call *c, struct claim *k)
{
    struct stream_consumer consumer;
    bool found = stream_group_find(k->object.object, c->argv[2], &k->group); /* views of before have ended */
    hf_assert(found);
    return meet_consumer(c, &k->object, &k->group, c->argv[3], &consumer);
}

/* Looks at one pending entry and notes what becomes of it. */
static void consider(struct call *c, struct claim *k, struct stream_id id, struct buf *change)
{
    const struct stream *s = stream_of(&k->object);
    struct stream_pending p = {.deliveries = 1};
    bool pending = stream_pending_find(s, k->group.number, id, &p);
    if (!stream_has(s, id)) {
        if (pending)
            k->gone[k->gone_count++] = id;
        return;
    }
    if ((!pending && !k->force) || (pending && !is_idle_enough(c, k, &p)))
        return;
    uint64_t deliveries = k->deliveries >= 0 ? (uint64_t)k->deliveries : p.deliveries + !k->only_ids;
    uint64_t time = k->delivered_ms < 0 ? 0 : (uint64_t)k->delivered_ms;
    stream_change_delivery(change, id, time, deliveries);
    k->taken[k->taken_count++] = id;
}

static void reply_taken(struct call *c, const struct claim *k)
{
    reply_array(c->reply, k->taken_count);
    for (size_t i = 0; i < k->taken_count; i++) {
        struct stream_entry e;
        if (k->only_ids) {
            reply_stream_id(c->reply, k->taken[i]);
            continue;
        }
        bool found = stream_find(stream_of(&k->object), k->taken[i], &e);
        hf_assert(found);
        reply_stream_entry(c->reply, &e);
    }
}

/* Those taken from the n-th on, and those that are pending no more because there is no such entry. */
static void say_claimed(struct call *c, const struct claim *k, size_t n)
{
    say_claims(c, &k->object, c->argv[2], c->argv[3], k->taken + n, k->taken_count - n);
    if (k->gone_count)
        say_acknowledged(c, &k->object, c->argv[2], k->gone, k->gone_count);
}

void cmd_xclaim(struct call *c)
{
    struct claim k = {.deliveries = -1};
    size_t count = 0;
    struct arena *arena = txn_arena(c->txn);
    if (!find_group(c, &k.object, &k.group) || !take_idle(c, "Invalid min-idle-time argument for XCLAIM", &k.min_idle))
        return;
    struct stream_id *ids = arena_alloc(arena, c->argc * sizeof(*ids));
    while (5 + count < c->argc && stream_id_parse(c->argv[5 + count], 0, &ids[count]))
        count++;
    if (!take_claim_options(c, 5 + count, &k))
        return;
    see_consumer(c, &k.object, &k.group, c->argv[3]);
    struct buf change;
    buf_init(&change, SIZE_MAX);
    if (stream_id_compare(k.last, k.group.last) > 0) {
        stream_change_group(&change, c->argv[2], k.last, k.group.read);
        if (!change_stream_unwatched(c, &k.object, &change))
            goto end;
        if (call_is_fed(c))
            say_group(c, &k.object, c->argv[2]);
    }
    k.taken = arena_alloc(arena, (count + 1) * sizeof(*k.taken));
    struct stream_id gone;
    k.gone = &gone;
    for (size_t i = 0; i < count; i++) { /* one by one: an id may come twice */
        stream_change_deliver(&change, c->argv[2], c->argv[3], txn_now_ms(c->txn));
        size_t before = k.taken_count;
        consider(c, &k, ids[i], &change);
        if (k.taken_count == before)
            change.size = 0;
        else if (!claim_consumer(c, &k) || !change_stream_unwatched(c, &k.object, &change))
            goto end;
        if (k.gone_count && acknowledge(c, &k.object, &k.group, k.gone, 1) < 0)
            goto end;
        if (call_is_fed(c))
            say_claimed(c, &k, before);
        k.gone_count = 0;
    }
    reply_taken(c, &k);
end:
    buf_release(&change);
}

static bool take_auto_options(struct call *c, int64_t *count, bool *only_ids)
{
    for (size_t i = 6; i < c->argc; i++) {
        if (bytes_is_word(c->argv[i], "COUNT") && i + 1 < c->argc) {
            if (!number_parse_int(c->argv[++i], count) || *count < 1 || *count > INT64_MAX / 16) {
                reply_errorf(c->reply, "ERR COUNT must be > 0");
                return false;
            }
        } else if (bytes_is_word(c->argv[i], "JUSTID")) {
            *only_ids = true;
        } else {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

#define COUNT_TOO_HIGH (INT64_C(1) << 43) /* Redis asks for 16 bytes each, and no machine has so many addresses */
#define ATTEMPTS_PER_ENTRY 10 /* how many pending entries are looked at for each that may be taken */

void cmd_xautoclaim(struct call *c)
{
    struct claim k = {.deliveries = -1, .delivered_ms = (int64_t)txn_now_ms(c->txn)};
    struct arena *arena = txn_arena(c->txn);
    struct stream_id start, next = STREAM_ID_MIN;
    int64_t count = 100;
    if (!take_idle(c, "Invalid min-idle-time argument for XAUTOCLAIM", &k.min_idle) || !arg_stream_start(c, 5, &start) ||
        !take_auto_options(c, &count, &k.only_ids) || !find_group(c, &k.object, &k.group))
        return;
    if (count >= COUNT_TOO_HIGH) {
        reply_errorf(c->reply, "ERR Insufficient memory, failed allocating transient memory, COUNT too high.");
        return;
    }
    see_consumer(c, &k.object, &k.group, c->argv[3]);
    const struct stream *s = k.object.object;
    uint64_t at = stream_pending_position(s, k.group.number, start), total = stream_pending_count(s, k.group.number);
    uint64_t room = total - at < (uint64_t)count ? total - at : (uint64_t)count;
    k.taken = arena_alloc(arena, (room + 1) * sizeof(*k.taken));
    k.gone = arena_alloc(arena, (room + 1) * sizeof(*k.gone));
    struct buf change;
    buf_init(&change, SIZE_MAX);
    stream_change_deliver(&change, c->argv[2], c->argv[3], txn_now_ms(c->txn));
    for (int64_t tries = count * ATTEMPTS_PER_ENTRY;
         tries > 0 && at < total && k.taken_count + k.gone_count < (uint64_t)count; tries--, at++)
        consider(c, &k, stream_pending_at(s, k.group.number, at).id, &change);
    if (at < total)
        next = stream_pending_at(s, k.group.number, at).id;
    bool fine = k.taken_count == 0 || (claim_consumer(c, &k) && change_stream_unwatched(c, &k.object, &change));
    buf_release(&change);
    if (!fine)
        return;
    if (k.gone_count && acknowledge(c, &k.object, &k.group, k.gone, k.gone_count) < 0)
        return;
    if (call_is_fed(c))
        say_claimed(c, &k, 0);
    reply_array(c->reply, 3);
    reply_stream_id(c->reply, next);
    reply_taken(c, &k);
    reply_array(c->reply, k.gone_count);
    for (size_t i = 0; i < k.gone_count; i++)
        reply_stream_id(c->reply, k.gone[i]);
}
