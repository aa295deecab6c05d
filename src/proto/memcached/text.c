/* text.c -- handlers of the text protocol. The parser has looked at the words: numbers are numbers. */
#include "proto/memcached/handlers.h"

#include "base/number.h"
#include "engine/keys.h"
#include "proto/memcached/lines.h"
#include "proto/memcached/numbers.h"
#include "proto/memcached/prefix.h"
#include "proto/memcached/storage.h"

void memcached_line(struct call *c, const char *line)
{
    if (memcached_of(c)->now.quiet)
        return;
    memcached_line_aloud(c, line);
}

void memcached_line_aloud(struct call *c, const char *line)
{
    struct buf *out = c->reply->out;
    buf_append(out, line, strlen(line));
    buf_append(out, "\r\n", 2);
}

bool memcached_refused(struct call *c, status s)
{
    if (HF_LIKELY(s == HF_OK))
        return false;
    reply_status(c->reply, s);
    return true;
}

/* ---- get ---- */

/* These write into reserved room, and return where it goes on. */
static inline uint8_t *put_bytes(uint8_t *at, bytes text)
{
    if (text.size)
        memcpy(at, text.data, text.size);
    return at + text.size;
}

static uint8_t *put_number(uint8_t *at, uint64_t number)
{
    *at = ' ';
    return at + 1 + number_format_uint((char *)at + 1, number);
}

static bool put_item(struct call *c, const struct key *k, const struct item *item, bool with_version)
{
    struct buf *out = c->reply->out;
    if (!buf_try_reserve(out, k->name.size + item->value.size + 6 + 3 * NUMBER_TEXT_MAX + 8))
        return false;
    uint8_t *at = put_bytes(out->data + out->size, BYTES("VALUE "));
    at = put_number(put_bytes(at, k->name), item->flags);
    at = put_number(at, item->value.size);
    if (with_version)
        at = put_number(at, item->version);
    at = put_bytes(put_bytes(put_bytes(at, BYTES("\r\n")), item->value), BYTES("\r\n"));
    out->size = (size_t)(at - out->data);
    return true;
}

struct getting { bool with_version, touches; uint64_t deadline_ms; };

static status get_one(struct call *c, const struct key *k, const struct getting *g, bool *fits)
{
    struct item item = {0};
    struct memcached_counts *counts = memcached_counts(c);
    status s = memcached_use(c, k, &item);
    if (s != HF_OK)
        return s;
    item_count_lookup(c->txn, item.found);
    prefix_count(k->name, item.found ? PREFIX_HIT : PREFIX_MISS);
    memcached_count(g->touches ? &counts->cmd_touch : &counts->cmd_get);
    memcached_count(g->touches ? item.found ? &counts->touch_hits : &counts->touch_misses
                               : item.found ? &counts->get_hits : &counts->get_misses);
    if (!item.found)
        return HF_OK;
    if (g->with_version && !item.version) {
        s = item_version(c->txn, k, &item.version);
        if (s == HF_OK) /* the entry may have moved */
            s = item_get(c->txn, k, &item);
        if (s != HF_OK)
            return s;
    }
    *fits = put_item(c, k, &item, g->with_version);
    if (g->touches)
        memcached_set_deadline(c, k, g->deadline_ms);
    return HF_OK;
}

static void get_all(struct call *c, const struct getting *g)
{
    struct buf *out = c->reply->out;
    size_t begin = out->size;
    for (size_t i = 0; i < c->key_count; i++) {
        bool fits = true;
        status s = get_one(c, call_key(c, i), g, &fits);
        if (HF_LIKELY(s == HF_OK && fits))
            continue;
        out->size = begin;
        if (s == HF_OK)
            memcached_line(c, LINE_NO_ROOM_FOR_VALUE);
        else
            reply_status(c->reply, s);
        return;
    }
    buf_append(out, "END\r\n", 5);
}

void memcached_get(struct call *c) { get_all(c, &(struct getting){0}); }
void memcached_gets(struct call *c) { get_all(c, &(struct getting){.with_version = true}); }

static void get_and_touch(struct call *c, bool with_version)
{
    int32_t exptime = 0;
    bool numeric = memcached_i32(c->argv[1], &exptime);
    hf_assert(numeric);
    get_all(c, &(struct getting){with_version, true, memcached_deadline(txn_now_ms(c->txn), exptime)});
}

void memcached_gat(struct call *c) { get_and_touch(c, false); }
void memcached_gats(struct call *c) { get_and_touch(c, true); }

/* ---- set and its like ---- */

static void store(struct call *c, enum store_mode mode)
{
    static const char *const lines[] = {[STORED] = "STORED", [NOT_STORED] = "NOT_STORED", [EXISTS] = "EXISTS", [MISSING] = "NOT_FOUND"};
    struct storing s = {.mode = mode, .value = c->argv[c->argc - 1]};
    int32_t exptime;
    enum store_result result;
    uint64_t version;
    bool numeric = memcached_u32(c->argv[2], &s.flags) && memcached_i32(c->argv[3], &exptime) &&
                   (mode != STORE_CAS || memcached_u64(c->argv[5], &s.cas));
    hf_assert(numeric);
    s.exptime = exptime;
    prefix_count(call_key(c, 0)->name, PREFIX_SET);
    if (!memcached_refused(c, memcached_store(c, &s, &result, &version)))
        memcached_line(c, lines[result]);
}

void memcached_set(struct call *c) { store(c, STORE_SET); }
void memcached_add(struct call *c) { store(c, STORE_ADD); }
void memcached_replace(struct call *c) { store(c, STORE_REPLACE); }
void memcached_append(struct call *c) { store(c, STORE_APPEND); }
void memcached_prepend(struct call *c) { store(c, STORE_PREPEND); }
void memcached_cas(struct call *c) { store(c, STORE_CAS); }

void memcached_oversize(struct call *c)
{
    char name[16] = "";
    bool meta = bytes_equal(c->argv[3], BYTES("ms"));
    hf_assert(c->argv[3].size < sizeof(name));
    memcpy(name, meta ? (const uint8_t *)"set" : c->argv[3].data, c->argv[3].size + meta);
    if (!meta)
        prefix_count(call_key(c, 0)->name, PREFIX_SET);
    if (!memcached_refused(c, memcached_refuse_large(c, name)))
        memcached_line(c, (const char *)c->argv[2].data);
}

/* ---- numbers, deadlines, removal ---- */

static void arithmetic(struct call *c, bool down)
{
    struct delta d = {.down = down};
    enum delta_result result;
    uint64_t value, version;
    char text[NUMBER_TEXT_MAX + 1];
    bool numeric = memcached_u64(c->argv[2], &d.amount);
    hf_assert(numeric);
    if (memcached_refused(c, memcached_delta(c, &d, &result, &value, &version)))
        return;
    if (result == DELTA_OK) {
        text[number_format_uint(text, value)] = 0;
        memcached_line(c, text);
    } else {
        memcached_line(c, result == DELTA_MISSING ? "NOT_FOUND" : LINE_NOT_NUMBER);
    }
}

void memcached_incr(struct call *c) { arithmetic(c, false); }
void memcached_decr(struct call *c) { arithmetic(c, true); }

void memcached_touch(struct call *c)
{
    struct item item;
    int32_t exptime;
    struct memcached_counts *counts = memcached_counts(c);
    bool numeric = memcached_i32(c->argv[2], &exptime);
    hf_assert(numeric);
    if (memcached_refused(c, memcached_find(c, call_key(c, 0), &item)))
        return;
    memcached_count(&counts->cmd_touch);
    memcached_count(item.found ? &counts->touch_hits : &counts->touch_misses);
    if (item.found) {
        item_access(c->txn, call_key(c, 0));
        memcached_set_deadline(c, call_key(c, 0), memcached_deadline(txn_now_ms(c->txn), exptime));
    }
    memcached_line(c, item.found ? "TOUCHED" : "NOT_FOUND");
}

void memcached_delete(struct call *c)
{
    struct item item;
    struct memcached_counts *counts = memcached_counts(c);
    prefix_count(call_key(c, 0)->name, PREFIX_DELETE);
    if (memcached_refused(c, memcached_find(c, call_key(c, 0), &item)))
        return;
    memcached_count(item.found ? &counts->delete_hits : &counts->delete_misses);
    memcached_remove(c, call_key(c, 0));
    memcached_line(c, item.found ? "DELETED" : "NOT_FOUND");
}
