/* meta.c -- handlers of the meta commands. Flags are answered in the order of the request.
 *
 * A stale value, or one whose time is about to be over (R), has one winner (W) who is to make a new one; all others are told that
 * somebody has been chosen (Z). A vivified miss (N) is an empty value that is claimed from its beginning.
 */
#include "proto/memcached/meta.h"

#include "base/number.h"
#include "engine/keys.h"
#include "proto/memcached/handlers.h"
#include "proto/memcached/lines.h"
#include "proto/memcached/numbers.h"
#include "proto/memcached/storage.h"

static void put_flag(struct buf *out, char letter)
{
    buf_append_u8(out, ' ');
    buf_append_u8(out, (uint8_t)letter);
}

static void put_number(struct buf *out, char letter, uint64_t value)
{
    put_flag(out, letter);
    buf_append_uint(out, value);
}

/* What is the same in every answer: opaque and key, as they came. */
static bool put_common(struct call *c, bytes token, const struct meta_flags *f)
{
    struct buf *out = c->reply->out;
    if (token.data[0] == 'O') {
        buf_append_u8(out, ' ');
        buf_append_bytes(out, token);
        return true;
    }
    if (token.data[0] != 'k')
        return false;
    put_flag(out, 'k');
    memcached_put_key(out, c->argv[1], f->base64);
    if (f->base64)
        put_flag(out, 'b');
    return true;
}

static void put_ttl(struct call *c, uint64_t deadline_ms)
{
    if (deadline_ms)
        put_number(c->reply->out, 't', memcached_ttl(txn_now_ms(c->txn), deadline_ms));
    else
        buf_append(c->reply->out, " t-1", 4);
}

static void end_line(struct call *c) { buf_append(c->reply->out, "\r\n", 2); }

/* The flags stand from argv[first] to argv[last]. */
static void put_all_common(struct call *c, size_t first, size_t last, const struct meta_flags *f)
{
    for (size_t i = first; i < last; i++)
        put_common(c, c->argv[i], f);
}

static struct meta_flags flags_of(struct call *c, size_t first, size_t last)
{
    struct meta_flags f;
    const char *error = meta_parse(&c->argv[first], last - first, &f);
    hf_assert(!error);
    return f;
}

/* ---- mg ---- */

struct getting {
    struct meta_flags flags;
    struct item item;
    bool created, won;
};

static bool wants(const struct call *c, char letter)
{
    for (size_t i = 2; i < c->argc; i++) {
        if (c->argv[i].data[0] == (uint8_t)letter)
            return true;
    }
    return false;
}

static void put_about(struct call *c, struct getting *g, char letter)
{
    struct buf *out = c->reply->out;
    switch (letter) {
    case 's': put_number(out, 's', g->item.value.size); break;
    case 't': put_ttl(c, g->item.deadline_ms); break;
    case 'c': put_number(out, 'c', g->item.version); break;
    case 'f': put_number(out, 'f', g->item.flags); break;
    case 'l': put_number(out, 'l', g->item.idle_seconds); break;
    case 'h': put_number(out, 'h', g->item.fetched); break;
    case 'T': g->item.deadline_ms = memcached_deadline(txn_now_ms(c->txn), g->flags.ttl); break;
    case 'N': g->item.deadline_ms = g->created ? memcached_deadline(txn_now_ms(c->txn), g->flags.vivify) : g->item.deadline_ms; break;
    default: break;
    }
}

/* Is this request the one that has to make the value anew? */
static bool wins(struct call *c, const struct getting *g)
{
    const struct item *item = &g->item;
    if (item->marks & ITEM_CLAIMED)
        return false;
    bool near = g->flags.has_recache && item->deadline_ms &&
                memcached_ttl(txn_now_ms(c->txn), item->deadline_ms) <
                    memcached_ttl(txn_now_ms(c->txn), memcached_deadline(txn_now_ms(c->txn), g->flags.recache));
    return item->marks & ITEM_STALE || near;
}

static status vivify(struct call *c, struct getting *g)
{
    const struct key *k = call_key(c, 0);
    struct item_fields fields = {.deadline_ms = memcached_deadline(txn_now_ms(c->txn), g->flags.vivify), .marks = ITEM_CLAIMED,
                                 .version = g->flags.new_cas, .versioned = true};
    status s = item_put(c->txn, k, (bytes){0}, &fields, NULL);
    if (s == HF_OK)
        s = item_get(c->txn, k, &g->item);
    if (s == HF_OK)
        memcached_count(&memcached_counts(c)->total_items);
    g->created = g->won = s == HF_OK;
    if (s == HF_OK && !g->item.found) /* its time is over at once */
        g->item = (struct item){.found = true};
    g->item.deadline_ms = 0; /* so it is shown before its N is reached */
    return s;
}

static bool put_hit(struct call *c, struct getting *g)
{
    struct buf *out = c->reply->out;
    if (!buf_try_reserve(out, g->item.value.size + 4096))
        return false;
    if (g->flags.value) {
        buf_append(out, "VA ", 3);
        buf_append_uint(out, g->item.value.size);
    } else {
        buf_append(out, "HD", 2);
    }
    unsigned before = g->created ? 0 : g->item.marks;
    for (size_t i = 2; i < c->argc; i++) {
        if (!put_common(c, c->argv[i], &g->flags))
            put_about(c, g, (char)c->argv[i].data[0]);
    }
    if (before & ITEM_CLAIMED)
        put_flag(out, 'Z');
    if (before & ITEM_STALE)
        put_flag(out, 'X');
    if (g->won)
        put_flag(out, 'W');
    end_line(c);
    if (g->flags.value) {
        buf_append_bytes(out, g->item.value);
        end_line(c);
    }
    return true;
}

static void miss(struct call *c, const struct meta_flags *f)
{
    if (f->quiet)
        return;
    buf_append(c->reply->out, "EN", 2);
    put_all_common(c, 2, c->argc, f);
    end_line(c);
}

/* A version that is asked for is made; a winner is noted. Both may move the entry. */
static status note(struct call *c, struct getting *g)
{
    const struct key *k = call_key(c, 0);
    status s = HF_OK;
    unsigned marks = g->item.marks;
    g->won |= wins(c, g);
    if (g->created || (!g->won && (g->item.version || !wants(c, 'c'))))
        return HF_OK;
    uint64_t version = g->item.version;
    s = g->won ? item_mark(c->txn, k, version, marks | ITEM_CLAIMED) : item_version(c->txn, k, &version);
    if (s == HF_OK)
        s = item_get(c->txn, k, &g->item);
    g->item.marks = marks;
    return s;
}

void memcached_mg(struct call *c)
{
    struct getting g = {.flags = flags_of(c, 2, c->argc)};
    struct memcached_counts *counts = memcached_counts(c);
    const struct key *k = call_key(c, 0);
    status s = memcached_find(c, k, &g.item);
    bool hit = s == HF_OK && g.item.found;
    if (s == HF_OK && !hit && g.flags.has_vivify)
        s = vivify(c, &g);
    if (s == HF_OK && g.item.found)
        s = note(c, &g);
    if (memcached_refused(c, s))
        return;
    item_count_lookup(c->txn, hit);
    hit |= g.created; /* memcached has it so */
    memcached_count(g.flags.has_ttl ? &counts->cmd_touch : &counts->cmd_get);
    memcached_count(g.flags.has_ttl ? hit ? &counts->touch_hits : &counts->touch_misses : hit ? &counts->get_hits : &counts->get_misses);
    if (!g.item.found) {
        miss(c, &g.flags);
        return;
    }
    if (!put_hit(c, &g))
        memcached_line_aloud(c, LINE_NO_ROOM_FOR_VALUE);
    if (!g.flags.no_update && key_exists(c->txn, k))
        item_access(c->txn, k);
    if (g.flags.has_ttl)
        memcached_set_deadline(c, k, g.item.deadline_ms);
}

void memcached_me(struct call *c)
{
    struct item item;
    struct buf *out = c->reply->out;
    bool base64 = c->argc > 2 && bytes_equal(c->argv[2], BYTES("b"));
    memcached_count(&memcached_counts(c)->cmd_meta);
    if (memcached_refused(c, memcached_find(c, call_key(c, 0), &item)))
        return;
    if (!item.found) {
        memcached_line(c, "EN");
        return;
    }
    buf_append(out, "ME ", 3);
    memcached_put_key(out, c->argv[1], base64);
    memcached_put_facts(out, &item, item.deadline_ms ? (int64_t)memcached_ttl(txn_now_ms(c->txn), item.deadline_ms) : -1,
                        item.idle_seconds, item_memory(c->txn, call_key(c, 0)));
}

void memcached_mn(struct call *c) { memcached_line_aloud(c, "MN"); }

/* ---- ms ---- */

static enum store_mode mode_of(const struct meta_flags *f)
{
    switch (f->mode) {
    case 'E': return STORE_ADD;
    case 'A': return STORE_APPEND;
    case 'P': return STORE_PREPEND;
    case 'R': return f->has_cas ? STORE_CAS : STORE_REPLACE;
    default: return f->has_cas ? STORE_CAS : STORE_SET;
    }
}

void memcached_ms(struct call *c)
{
    static const char *const codes[] = {[STORED] = "HD", [NOT_STORED] = "NS", [EXISTS] = "EX", [MISSING] = "NF"};
    size_t last = c->argc - 1;
    struct meta_flags f = flags_of(c, 3, last);
    struct storing s = {.mode = mode_of(&f), .value = c->argv[last], .flags = f.client_flags, .exptime = f.ttl, .cas = f.cas,
                      .new_version = f.new_cas, .takes_older = f.stale, .wants_version = wants(c, 'c')};
    enum store_result result;
    uint64_t version;
    if (memcached_refused(c, memcached_store(c, &s, &result, &version)) || (f.quiet && result == STORED))
        return;
    buf_append(c->reply->out, codes[result], 2);
    for (size_t i = 3; i < last; i++) {
        if (!put_common(c, c->argv[i], &f) && c->argv[i].data[0] == 'c')
            put_number(c->reply->out, 'c', result == STORED ? version : 0);
    }
    end_line(c);
}

/* ---- md ---- */

/* The item stays, as an outdated one; x: without its value and client flags. */
static status outdate(struct call *c, const struct meta_flags *f, const struct item *item)
{
    const struct key *k = call_key(c, 0);
    unsigned marks = f->stale ? ITEM_STALE : 0;
    status s;
    if (f->remove_value) {
        struct item_fields fields = {.deadline_ms = item->deadline_ms, .version = f->new_cas, .versioned = true, .marks = marks};
        s = item_put(c->txn, k, (bytes){0}, &fields, NULL);
    } else {
        s = item_mark(c->txn, k, f->new_cas, marks);
    }
    if (s == HF_OK && f->has_ttl)
        memcached_set_deadline(c, k, memcached_deadline(txn_now_ms(c->txn), f->ttl));
    return s;
}

void memcached_md(struct call *c)
{
    struct meta_flags f = flags_of(c, 2, c->argc);
    struct memcached_counts *counts = memcached_counts(c);
    struct item item = {0};
    const char *code = "HD";
    if (memcached_refused(c, memcached_find(c, call_key(c, 0), &item)))
        return;
    if (!item.found) {
        memcached_count(&counts->delete_misses);
        code = "NF";
    } else if (f.has_cas && f.cas != item.version) {
        memcached_count(&counts->delete_misses);
        code = "EX";
    } else if (f.stale || f.remove_value) {
        if (memcached_refused(c, outdate(c, &f, &item)))
            return;
    } else {
        memcached_count(&counts->delete_hits);
        memcached_remove(c, call_key(c, 0));
    }
    if (f.quiet && code[0] == 'H')
        return;
    buf_append(c->reply->out, code, 2);
    put_all_common(c, 2, c->argc, &f);
    end_line(c);
}

/* ---- ma ---- */

static bool mode_is_down(char mode, bool *down)
{
    *down = mode == 'D' || mode == '-';
    return !mode || *down || mode == 'I' || mode == '+';
}

/* A miss that is to begin with J. */
static status begin_number(struct call *c, const struct meta_flags *f, bool wants_version, uint64_t *value, uint64_t *version)
{
    struct item_fields fields = {.deadline_ms = memcached_deadline(txn_now_ms(c->txn), f->vivify), .version = f->new_cas,
                                 .versioned = wants_version};
    *value = f->initial;
    return memcached_begin_number(c, *value, &fields, version);
}

/* Returns the deadline that the flags leave, in their order. */
static uint64_t put_sum(struct call *c, const struct meta_flags *f, bool created, uint64_t value, uint64_t version, uint64_t deadline_ms)
{
    struct buf *out = c->reply->out;
    char text[NUMBER_TEXT_MAX];
    size_t size = number_format_uint(text, value);
    buf_append(out, f->value ? "VA " : "HD", f->value ? 3 : 2);
    if (f->value)
        buf_append_uint(out, size);
    uint64_t shown = created ? 0 : deadline_ms; /* a new deadline shows behind the flag that gave it */
    for (size_t i = 2; i < c->argc; i++) {
        uint8_t letter = c->argv[i].data[0];
        if (put_common(c, c->argv[i], f))
            continue;
        if (letter == 'c')
            put_number(out, 'c', version);
        else if (letter == 't')
            put_ttl(c, shown);
        else if (letter == 'T')
            shown = memcached_deadline(txn_now_ms(c->txn), f->ttl);
        else if (letter == 'N' && created)
            shown = deadline_ms;
    }
    end_line(c);
    if (f->value) {
        buf_append(out, text, size);
        end_line(c);
    }
    return shown;
}

void memcached_ma(struct call *c)
{
    struct meta_flags f = flags_of(c, 2, c->argc);
    struct delta d = {.amount = f.delta, .cas = f.cas, .new_version = f.new_cas, .wants_version = wants(c, 'c'),
                      .begins = f.has_vivify};
    enum delta_result result;
    uint64_t value = 0, version = 0;
    if (!mode_is_down(f.mode, &d.down)) {
        memcached_line_aloud(c, "CLIENT_ERROR invalid mode for ma M token");
        return;
    }
    if (memcached_refused(c, memcached_delta(c, &d, &result, &value, &version)))
        return;
    if (result == DELTA_NOT_NUMBER) {
        memcached_line_aloud(c, LINE_NOT_NUMBER);
        return;
    }
    bool created = result == DELTA_MISSING && f.has_vivify;
    if (created && memcached_refused(c, begin_number(c, &f, d.wants_version, &value, &version)))
        return;
    if (result != DELTA_OK && !created) {
        buf_append(c->reply->out, result == DELTA_MISSING ? "NF" : "EX", 2);
        put_all_common(c, 2, c->argc, &f);
        end_line(c);
        return;
    }
    struct item item = {0};
    if (memcached_refused(c, item_get(c->txn, call_key(c, 0), &item)))
        return;
    uint64_t deadline_ms = memcached_deadline(txn_now_ms(c->txn), f.ttl);
    if (!f.quiet || created)
        deadline_ms = put_sum(c, &f, created, value, version, created ? memcached_deadline(txn_now_ms(c->txn), f.vivify) : item.deadline_ms);
    if (f.has_ttl)
        memcached_set_deadline(c, call_key(c, 0), deadline_ms);
}
