/* replicas.c -- who follows: REPLCONF, the list of replicas, ROLE, and whether there are enough. */
#include "cmd/replicas.h"

#include "base/memory.h"
#include "base/number.h"
#include "base/words.h"
#include "cmd/args.h"
#include "cmd/exec.h"
#include "cmd/feed.h"
#include "cmd/handlers.h"
#include "cmd/transfer.h"
#include "engine/engine.h"
#include "engine/feed.h"
#include "os/os.h"
#include "os/thread.h"

#include <stdio.h>

struct replica_counts replicas_counts;
struct replica_settings replica_settings = {10, 60, 0, 10};

static struct {
    struct spin lock;
    struct replica **at; /* from the oldest to the newest */
    size_t count, capacity;
    char id[41];
    _Atomic uint64_t pinged_us;
} replicas;

/* Those of a worker; touched by it alone. */
static struct followers { struct replica **at; size_t count, capacity; } followers[WORKERS_MAX];

void replicas_set_id(const char *id) { snprintf(replicas.id, sizeof(replicas.id), "%s", id); }
const char *replicas_id(void) { return replicas.id; }

static struct replica *replica_of(struct session *s)
{
    if (!s->replica) {
        s->replica = mem_zalloc(sizeof(*s->replica));
        s->replica->session = s;
    }
    return s->replica;
}

/* ---- lists ---- */

static void list_add(struct replica ***at, size_t *count, size_t *capacity, struct replica *r)
{
    if (*count == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 4;
        *at = mem_realloc(*at, *capacity * sizeof(struct replica *));
    }
    (*at)[(*count)++] = r;
}

static void list_take_out(struct replica **at, size_t *count, const struct replica *r)
{
    size_t i = 0;
    while (at[i] != r)
        i++;
    memmove(&at[i], &at[i + 1], (--*count - i) * sizeof(*at));
}

/* It follows from r->start on. */
static void enlist(struct session *s, struct replica *r)
{
    struct followers *f = &followers[s->worker];
    if (!r->ip[0] && s->address) {
        const char *colon = strrchr(s->address, ':');
        snprintf(r->ip, sizeof(r->ip), "%.*s", colon ? (int)(colon - s->address) : 0, s->address);
    }
    r->follows = s->looks_on = true;
    list_add(&f->at, &f->count, &f->capacity, r);
    spin_lock(&replicas.lock);
    if (replicas.count == 0)
        atomic_store(&replicas.pinged_us, OS.monotonic_us()); /* the first PING comes a period after the first replica */
    list_add(&replicas.at, &replicas.count, &replicas.capacity, r);
    spin_unlock(&replicas.lock);
}

void replicas_reset_counts(void)
{
    atomic_store(&replicas_counts.full, 0);
    atomic_store(&replicas_counts.continued, 0);
    atomic_store(&replicas_counts.refused, 0);
}

uint64_t replicas_follow(struct call *c)
{
    struct replica *r = replica_of(c->session);
    r->start = feed_follow(txn_engine(c->txn), c->session->worker);
    r->file_end = UINT64_MAX;
    enlist(c->session, r);
    atomic_fetch_add(&replicas_counts.full, 1);
    return r->start;
}

bool replicas_continue(struct call *c, uint64_t offset)
{
    struct replica *r = replica_of(c->session);
    struct buf lacks;
    uint64_t lsn;
    buf_init(&lacks, SIZE_MAX);
    bool kept = feed_continue(c->session->worker, &offset, &lacks, &lsn);
    if (kept) {
        char line[64];
        r->start = offset;
        enlist(c->session, r);
        txn_observe(c->txn, lsn);
        atomic_fetch_add(&replicas_counts.continued, 1);
        snprintf(line, sizeof(line), "CONTINUE%s%s", r->names_stream ? " " : "", r->names_stream ? replicas.id : "");
        reply_unbound(c->reply);
        reply_simple(c->reply, line);
        buf_append_or_end(c->reply->out, buf_view(&lacks));
    }
    buf_release(&lacks);
    return kept;
}

void replicas_leave(struct session *s)
{
    struct replica *r = s->replica;
    if (!r)
        return;
    if (r->follows) {
        struct followers *f = &followers[s->worker];
        list_take_out(f->at, &f->count, r);
        spin_lock(&replicas.lock);
        list_take_out(replicas.at, &replicas.count, r);
        spin_unlock(&replicas.lock);
        feed_unfollow(s->worker);
        replicas_refresh();
    }
    s->replica = NULL;
    s->looks_on = s->monitors;
    mem_free(r);
}

void replicas_take(unsigned worker, uint64_t offset, bytes text, uint64_t lsn, message_pushed *pushed)
{
    const struct followers *f = &followers[worker];
    for (size_t i = 0; i < f->count; i++) {
        struct session *s = f->at[i]->session;
        size_t begin = s->reply.out->size;
        if (offset < f->at[i]->start)
            continue;
        if (s->transfer) {
            transfer_hold(s->transfer, text, lsn);
            pushed(s, begin, 0, PUSH_NEWS);
        } else if (buf_try_reserve(s->reply.out, text.size)) {
            buf_append_bytes(s->reply.out, text);
            pushed(s, begin, lsn, PUSH_NEWS);
        }
    }
}

/* ---- how they are ---- */

void replicas_online(struct session *s)
{
    if (atomic_load_explicit(&s->replica->online, memory_order_relaxed))
        return;
    atomic_store(&s->replica->online, true);
    atomic_store(&s->replica->acked_us, OS.monotonic_us());
    replicas_refresh();
}

static uint64_t silent_s(const struct replica *r, uint64_t now_us)
{
    uint64_t heard_us = atomic_load(&r->acked_us);
    return heard_us && now_us > heard_us ? (now_us - heard_us) / 1000000 : 0;
}

bool replicas_tend(const struct session *s)
{
    uint64_t now_us = OS.monotonic_us(), pinged_us = atomic_load(&replicas.pinged_us);
    uint64_t period_us = (uint64_t)atomic_load(&replica_settings.ping_period_s) * 1000000;
    if (now_us - pinged_us >= period_us && atomic_compare_exchange_strong(&replicas.pinged_us, &pinged_us, now_us))
        feed_say(BYTES("*1\r\n$4\r\nPING\r\n"));
    replicas_refresh();
    bool speaks = atomic_load(&s->replica->acked) != 0; /* a tool that only listens never does */
    return !speaks || silent_s(s->replica, now_us) <= atomic_load(&replica_settings.timeout_s);
}

void replicas_refresh(void)
{
    uint32_t wanted = atomic_load(&replica_settings.good_wanted), lag_s = atomic_load(&replica_settings.good_lag_s), good = 0;
    uint64_t now_us = OS.monotonic_us();
    spin_lock(&replicas.lock);
    for (size_t i = 0; i < replicas.count; i++)
        good += atomic_load(&replicas.at[i]->online) && silent_s(replicas.at[i], now_us) <= lag_s;
    atomic_store(&exec_lacks_replicas, wanted && lag_s && good < wanted);
    spin_unlock(&replicas.lock);
}

size_t replicas_acked(uint64_t offset)
{
    size_t count = 0;
    spin_lock(&replicas.lock);
    for (size_t i = 0; i < replicas.count; i++)
        count += atomic_load(&replicas.at[i]->online) && atomic_load(&replicas.at[i]->acked) >= offset;
    spin_unlock(&replicas.lock);
    return count;
}

void replicas_ask(void)
{
    feed_say(BYTES("*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n"));
}

size_t replicas_walk(void (*each)(void *context, const struct replica_facts *facts), void *context)
{
    uint64_t now_us = OS.monotonic_us();
    spin_lock(&replicas.lock);
    size_t count = replicas.count;
    for (size_t i = 0; each && i < count; i++) {
        const struct replica *r = replicas.at[i];
        struct replica_facts facts = {.port = r->port, .online = atomic_load(&r->online), .acked = atomic_load(&r->acked),
                                      .lag_s = silent_s(r, now_us)};
        memcpy(facts.ip, r->ip, sizeof(facts.ip));
        each(context, &facts);
    }
    spin_unlock(&replicas.lock);
    return count;
}

/* ---- ROLE ---- */

static void keep_online(void *context, const struct replica_facts *facts)
{
    if (facts->online)
        buf_append(context, facts, sizeof(*facts));
}

static void reply_digits(struct call *c, uint64_t number)
{
    char digits[NUMBER_TEXT_MAX];
    reply_bulk(c->reply, bytes_of(digits, number_format_uint(digits, number)));
}

void cmd_role(struct call *c)
{
    struct buf kept;
    struct replica_facts facts;
    buf_init(&kept, SIZE_MAX);
    replicas_walk(keep_online, &kept);
    reply_array(c->reply, 3);
    reply_text(c->reply, "master");
    reply_int(c->reply, (int64_t)feed_offset());
    reply_array(c->reply, kept.size / sizeof(facts));
    for (size_t at = 0; at < kept.size; at += sizeof(facts)) {
        memcpy(&facts, kept.data + at, sizeof(facts));
        reply_array(c->reply, 3);
        reply_text(c->reply, facts.ip);
        reply_digits(c, facts.port);
        reply_digits(c, facts.acked);
    }
    buf_release(&kept);
}

/* ---- REPLCONF ---- */

/* How far it is; nothing is answered. */
static void take_ack(struct call *c, bytes word)
{
    struct replica *r = c->session->replica;
    uint64_t offset;
    if (!session_follows(c->session) || !number_parse_uint(word, &offset))
        return;
    if (offset > atomic_load(&r->acked))
        atomic_store(&r->acked, offset);
    atomic_store(&r->acked_us, OS.monotonic_us());
    replicas_refresh();
}

/* rdb-filter-only: the parts that the file is to have, which can be the functions alone; without a word it has no part. */
static bool filter(struct call *c, bytes parts)
{
    struct replica *r = replica_of(c->session);
    struct words w;
    bool known = true, functions = false;
    if (!words_split(&w, parts)) {
        reply_errorf(c->reply, "ERR Missing rdb-filter-only values");
        return false;
    }
    for (size_t i = 0; i < w.count && known; i++) {
        known = bytes_is_word(bytes_str(w.items[i]), "functions");
        functions = true;
        if (!known)
            reply_errorf(c->reply, "ERR Unsupported rdb-filter-only option: %.128s", w.items[i]);
    }
    words_release(&w);
    r->no_keys = true;
    r->no_functions = !known || !functions;
    return known;
}

/* One option of a handshake. False: its error was replied. */
static bool take_option(struct call *c, bytes name, size_t value_at)
{
    bytes value = c->argv[value_at];
    int64_t number;
    if (bytes_is_word(name, "listening-port")) {
        if (!arg_int(c, value_at, &number))
            return false;
        replica_of(c->session)->port = (uint16_t)number;
    } else if (bytes_is_word(name, "ip-address")) {
        struct replica *r = replica_of(c->session);
        if (value.size >= sizeof(r->ip)) {
            reply_errorf(c->reply, "ERR REPLCONF ip-address provided by replica instance is too long: %zu bytes", value.size);
            return false;
        }
        snprintf(r->ip, sizeof(r->ip), "%.*s", (int)value.size, (const char *)value.data);
    } else if (bytes_is_word(name, "rdb-only")) {
        if (!arg_int(c, value_at, &number))
            return false;
        if (number < 0 || number > 1) {
            reply_errorf(c->reply, "ERR value is out of range, value must between 0 and 1");
            return false;
        }
        replica_of(c->session)->file_only = number == 1;
    } else if (bytes_is_word(name, "rdb-filter-only")) {
        return filter(c, value);
    } else if (bytes_is_word(name, "capa")) {
        replica_of(c->session)->names_stream |= bytes_is_word(value, "psync2");
    } else {
        reply_errorf(c->reply, "ERR Unrecognized REPLCONF option: " WORD_FORMAT, WORD_WHOLE(name));
        return false;
    }
    return true;
}

void cmd_replconf(struct call *c)
{
    if (c->argc % 2 == 0) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return;
    }
    for (size_t i = 1; i < c->argc; i += 2) {
        if (bytes_is_word(c->argv[i], "ack")) {
            take_ack(c, c->argv[i + 1]);
            return;
        }
        if (!take_option(c, c->argv[i], i + 1))
            return;
    }
    reply_ok(c->reply);
}
