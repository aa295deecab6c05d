/* client.c -- clients: random commands over a simulated socket, replies awaited with patience.
 *
 * A client sends bursts (single commands, pipelines, transactions with and without WATCH), sometimes
 * in two pieces, sometimes the next before the replies of the last, and now and then hangs up in the
 * middle. It does not look into replies: that is the check's work. What it insists on is
 * that they come: no progress for plan.patience_ns while something is owed is a lost
 * wake-up (or a starved command), which the product's own timeouts would hide.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

/* Some share a stripe; the first word of chance picks from the first plan.keys of them. */
const char *const sim_keys[SIM_KEYS_MAX] = {"{a}1", "h", "n", "{b}1", "{a}2", "{b}h", "c", "{a}n", "{b}2", "{a}h", "d", "m"};
static const enum value_kind kinds[SIM_KEYS_MAX] = {VALUE_STRING, VALUE_HASH, VALUE_NONE, VALUE_STRING, VALUE_STRING, VALUE_HASH,
                                                    VALUE_STRING, VALUE_NONE, VALUE_STRING, VALUE_HASH, VALUE_STRING, VALUE_NONE};
const char *const sim_fields[SIM_FIELDS] = {"f", "g", "a longer name of a field", "2"};

#define LARGE_SIZE (70u << 10)
#define OWED_MAX 24 /* commands sent ahead of their replies */

struct client { unsigned number; uint64_t serial; unsigned db; struct wire *wire; struct peer_record *peer; struct buf out; size_t taken; };

static unsigned living;

bool clients_done(void) { return living == 0; }

void clients_world_begin(void) { living = sim.plan.clients; }

static uint64_t dice(uint64_t below) { return sim_random(DICE_WORK, below); }

/* ---- words ---- */

struct words { char text[24][40]; size_t count; size_t large; }; /* large: the word that is filled up; 0: none */

static void word(struct words *w, const char *text)
{
    hf_assert(w->count < 24);
    snprintf(w->text[w->count++], sizeof(w->text[0]), "%s", text);
}

static void word_number(struct words *w, uint64_t n)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
    word(w, text);
}

/* A key that suits the kind, nearly always; counters are VALUE_NONE. */
static void word_key(struct words *w, enum value_kind kind)
{
    uint64_t k = dice(sim.plan.keys);
    for (unsigned tries = 0; kinds[k] != kind && tries < 24 && dice(40); tries++)
        k = dice(sim.plan.keys);
    word(w, sim_keys[k]);
}

static void word_any_key(struct words *w) { word(w, sim_keys[dice(sim.plan.keys)]); }

static void word_value(struct client *c, struct words *w)
{
    char text[40];
    snprintf(text, sizeof(text), "c%u.%llu", c->number, (unsigned long long)++c->serial);
    if (sim.plan.large && dice(12) == 0)
        w->large = w->count;
    word(w, text);
}

static void put_words(struct client *c, const struct words *w)
{
    static char filling[LARGE_SIZE];
    char line[48];
    buf_append(&c->out, line, (size_t)snprintf(line, sizeof(line), "*%zu\r\n", w->count));
    for (size_t i = 0; i < w->count; i++) {
        size_t size = strlen(w->text[i]), more = i && w->large == i ? LARGE_SIZE : 0;
        buf_append(&c->out, line, (size_t)snprintf(line, sizeof(line), "$%zu\r\n", size + more));
        buf_append(&c->out, w->text[i], size);
        memset(filling, 'x', more);
        buf_append(&c->out, filling, more);
        buf_append(&c->out, "\r\n", 2);
    }
    c->peer->issued++;
}

static void put_line(struct client *c, const char *a, const char *b)
{
    struct words w = {.count = 0};
    word(&w, a);
    if (b)
        word(&w, b);
    put_words(c, &w);
}

/* ---- commands ---- */

static void make_read(struct words *w)
{
    switch (dice(6)) {
    case 0: case 1: word(w, "GET"); word_key(w, VALUE_STRING); break;
    case 2:
        word(w, "MGET");
        for (uint64_t n = 1 + dice(4); n > 0; n--)
            word_any_key(w);
        break;
    case 3:
        word(w, "HMGET");
        word_key(w, VALUE_HASH);
        for (unsigned i = 0; i < SIM_FIELDS; i++)
            word(w, sim_fields[i]);
        break;
    case 4: word(w, "EXISTS"); word_any_key(w); word_any_key(w); break;
    default: word(w, sim.plan.deadlines ? "PEXPIRETIME" : "GET"); word_any_key(w); break;
    }
}

static void make_set(struct client *c, struct words *w)
{
    word(w, "SET");
    word_key(w, VALUE_STRING);
    word_value(c, w);
    if (sim.plan.deadlines && dice(4) == 0) {
        word(w, "PX");
        word_number(w, 1 + dice(40));
    }
    if (dice(8) == 0)
        word(w, dice(2) ? "NX" : "XX");
}

static void make_pairs(struct client *c, struct words *w)
{
    word(w, "MSET");
    for (uint64_t n = 1 + dice(4); n > 0; n--) {
        word_key(w, VALUE_STRING);
        word_value(c, w);
    }
}

static void make_hash_write(struct client *c, struct words *w)
{
    bool set = dice(3) > 0;
    word(w, set ? "HSET" : "HDEL");
    word_key(w, VALUE_HASH);
    for (uint64_t n = 1 + dice(3); n > 0; n--) {
        word(w, sim_fields[dice(SIM_FIELDS)]);
        if (set)
            word_value(c, w);
    }
}

static void make_key_write(struct client *c, struct words *w)
{
    switch (dice(sim.plan.deadlines ? 8 : 6)) {
    case 0: case 1:
        word(w, "DEL");
        for (uint64_t n = 1 + dice(3); n > 0; n--)
            word_any_key(w);
        break;
    case 2: word(w, "GETDEL"); word_key(w, VALUE_STRING); break;
    case 3: word(w, "RENAME"); word_any_key(w); word_any_key(w); break;
    case 4:
        word(w, "MOVE");
        word_any_key(w);
        word_number(w, (c->db + 1) % sim.plan.databases);
        break;
    case 5: word(w, "PERSIST"); word_any_key(w); break;
    default: word(w, "PEXPIRE"); word_any_key(w); word_number(w, dice(30)); break;
    }
}

static void make_gate(struct words *w)
{
    if (dice(3) == 0) {
        word(w, "FLUSHDB");
        return;
    }
    word(w, "SWAPDB");
    word_number(w, dice(sim.plan.databases));
    word_number(w, dice(sim.plan.databases));
}

static void put_command(struct client *c, bool in_multi)
{
    struct words w = {.count = 0};
    uint64_t pick = dice(100);
    if (pick < 30)
        make_read(&w);
    else if (pick < 50)
        make_set(c, &w);
    else if (pick < 60)
        word(&w, "INCR"), word_key(&w, VALUE_NONE);
    else if (pick < 67)
        word(&w, "APPEND"), word_key(&w, VALUE_STRING), word_value(c, &w);
    else if (pick < 75)
        make_pairs(c, &w);
    else if (pick < 86)
        make_hash_write(c, &w);
    else
        make_key_write(c, &w);
    if (dice(100) < sim.plan.gate_share && (in_multi || dice(2))) {
        w = (struct words){.count = 0};
        make_gate(&w);
    } else if (!in_multi && dice(100) < sim.plan.gate_share) {
        w = (struct words){.count = 0};
        c->db = (unsigned)dice(sim.plan.databases);
        word(&w, "SELECT");
        word_number(&w, c->db);
    }
    put_words(c, &w);
}

static void put_watch(struct client *c)
{
    struct words w = {.count = 0};
    word(&w, "WATCH");
    for (uint64_t n = 1 + dice(3); n > 0; n--)
        word_any_key(&w);
    put_words(c, &w);
}

static void put_transaction(struct client *c)
{
    put_line(c, "MULTI", NULL);
    for (uint64_t n = 1 + dice(5); n > 0; n--)
        put_command(c, true);
    put_line(c, dice(12) ? "EXEC" : "DISCARD", NULL);
}

/* ---- sending and waiting ---- */

static void send_out(struct client *c)
{
    size_t first = c->out.size > 1 && dice(6) == 0 ? 1 + dice(c->out.size - 1) : c->out.size;
    wire_send(c->wire, c->out.data, first);
    if (first < c->out.size) {
        sim_sleep(dice(sim.plan.think_ns + 1));
        wire_send(c->wire, c->out.data + first, c->out.size - first);
    }
    buf_reset(&c->out);
    sim_yield();
}

static bool owed(const struct client *c, uint64_t more_than)
{
    const struct peer_record *p = c->peer;
    bool held = p->executed < p->issued || c->taken < p->stream.size;
    return held && (more_than == 0 || p->issued - p->executed > more_than || c->taken < p->stream.size);
}

static void no_reply(const struct client *c)
{
    const struct peer_record *p = c->peer;
    fprintf(stderr, "connection %u: %llu commands sent, %llu run; %zu bytes of replies made, %llu sent, %zu received; log: %llu "
            "written, %llu durable, %llu tail, state %d\n", p->number, (unsigned long long)p->issued, (unsigned long long)p->executed,
            p->stream.size, (unsigned long long)p->sent, c->taken, (unsigned long long)log_written(engine_log(sim.engine)),
            (unsigned long long)log_durable(engine_log(sim.engine)), (unsigned long long)log_tail(engine_log(sim.engine)),
            (int)log_state(engine_log(sim.engine)));
    sim_fail("a reply is owed since %.1f ms", (double)sim.plan.patience_ns / 1e6);
}

/* Until at most `left` commands are owed their replies. False: the server is stopping and has closed. */
static bool await(struct client *c, uint64_t left)
{
    uint64_t seen = c->peer->executed, since = sim.now;
    for (;;) {
        size_t got = wire_take(c->wire);
        c->taken += got;
        if (got || c->peer->executed != seen || disk_faulty()) {
            seen = c->peer->executed;
            since = sim.now;
        }
        if (sim.stopping && (c->wire->server_closed || !c->wire->accepted))
            return false;
        if (!owed(c, left))
            return true;
        if (c->wire->server_closed)
            sim_fail("the server closed connection %u", c->peer->number);
        if (sim.now - since >= sim.plan.patience_ns)
            no_reply(c);
        sim_block(c->wire, sim.plan.patience_ns / 8);
    }
}

static void connect_client(struct client *c)
{
    c->wire = wire_connect();
    c->peer = history_peer(c->wire);
    c->taken = 0;
    c->db = 0;
}

/* False: hang up now. */
static bool burst(struct client *c)
{
    uint64_t pick = dice(8);
    if (dice(100) >= sim.plan.watch_share) {
        for (uint64_t n = pick < 4 ? 1 : 2 + dice(7); n > 0 && pick < 7; n--)
            put_command(c, false);
        if (pick == 7)
            put_transaction(c);
    } else {
        put_watch(c);
        if (dice(2)) { /* somebody else's turn before the transaction */
            send_out(c);
            if (!await(c, 0))
                return false;
            sim_sleep(dice(sim.plan.think_ns + 1));
            if (sim.plan.hangups && dice(3) == 0)
                return false;
        }
        if (dice(4) == 0)
            put_command(c, false);
        put_transaction(c);
    }
    if (sim.plan.save_one_in && dice(sim.plan.save_one_in) == 0)
        put_line(c, dice(6) ? "BGSAVE" : "SAVE", NULL);
    if (sim.plan.hangups && dice(24) == 0) {
        put_line(c, "RESET", NULL);
        c->db = 0;
    }
    send_out(c);
    return !sim.plan.hangups || dice(16) > 0;
}

/* QUIT: answered, then closed by the server. */
static void say_goodbye(struct client *c)
{
    uint64_t since = sim.now;
    put_line(c, "QUIT", NULL);
    send_out(c);
    while (!c->wire->server_closed && !sim.stopping) {
        c->taken += wire_take(c->wire);
        if (sim.now - since >= sim.plan.patience_ns && !disk_faulty())
            no_reply(c);
        sim_block(c->wire, sim.plan.patience_ns / 8);
    }
    c->taken += wire_take(c->wire);
    if (owed(c, 0) && !sim.stopping)
        sim_fail("QUIT closed connection %u before all replies", c->peer->number);
}

void *client_main(void *number)
{
    struct client c = {.number = (unsigned)(uintptr_t)number};
    buf_init(&c.out, SIZE_MAX);
    connect_client(&c);
    for (unsigned i = 0; i < sim.plan.bursts && !sim.stopping; i++) {
        if (burst(&c)) {
            await(&c, dice(3) ? 0 : OWED_MAX);
        } else if (dice(3) == 0) {
            say_goodbye(&c);
            connect_client(&c);
        } else {
            sim_sleep(dice(4) ? dice(sim.plan.think_ns + 1) : 0);
            wire_close(c.wire);
            connect_client(&c);
        }
        sim_sleep(dice(3) ? dice(sim.plan.think_ns + 1) : 0);
    }
    await(&c, 0);
    if (dice(2))
        wire_close(c.wire);
    buf_release(&c.out);
    living--;
    return NULL;
}

void client_audit(void)
{
    struct client c = {.number = 99};
    buf_init(&c.out, SIZE_MAX);
    connect_client(&c);
    for (unsigned db = 0; db < sim.plan.databases; db++) {
        char number[16];
        snprintf(number, sizeof(number), "%u", db);
        put_line(&c, "SELECT", number);
        for (unsigned k = 0; k < sim.plan.keys; k++) {
            struct words w = {.count = 0};
            put_line(&c, "GET", sim_keys[k]);
            word(&w, "HMGET");
            word(&w, sim_keys[k]);
            for (unsigned i = 0; i < SIM_FIELDS; i++)
                word(&w, sim_fields[i]);
            put_words(&c, &w);
            put_line(&c, "PEXPIRETIME", sim_keys[k]);
        }
    }
    send_out(&c);
    await(&c, 0);
    wire_close(c.wire);
    buf_release(&c.out);
}
