/* monitor.c -- lines for MONITOR: made by the worker that runs the command, posted to the workers of those who look. */
#include "cmd/monitor.h"

#include "base/memory.h"
#include "cmd/handlers.h"
#include "cmd/message.h"
#include "cmd/observe.h"
#include "cmd/slowlog.h"
#include "engine/engine.h"
#include "os/os.h"

_Atomic uint32_t monitor_count;
static _Atomic uint32_t by_worker[WORKERS_MAX];

/* The sessions of a worker that look; touched by it alone. */
static struct looking { struct session **at; size_t count, capacity; } looking[WORKERS_MAX];

/* ---- on and off ---- */

void cmd_monitor(struct call *c)
{
    struct session *s = c->session;
    struct looking *l = &looking[s->worker];
    if (s->in_multi) {
        reply_errorf(c->reply, "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    if (s->monitors) {
        return;
    }
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? l->capacity * 2 : 4;
        l->at = mem_realloc(l->at, l->capacity * sizeof(struct session *));
    }
    l->at[l->count++] = s;
    s->monitors = s->looks_on = true;
    atomic_fetch_add(&by_worker[s->worker], 1);
    atomic_fetch_add(&monitor_count, 1);
    atomic_fetch_add(&observer_count, 1);
    reply_ok(c->reply);
}

void monitor_leave(struct session *s)
{
    struct looking *l = &looking[s->worker];
    if (!s->monitors)
        return;
    size_t i = 0;
    while (l->at[i] != s)
        i++;
    l->at[i] = l->at[--l->count];
    s->monitors = s->looks_on = false;
    atomic_fetch_sub(&by_worker[s->worker], 1);
    atomic_fetch_sub(&monitor_count, 1);
    atomic_fetch_sub(&observer_count, 1);
}

/* ---- lines ---- */

struct line { struct message message; bytes text; };

static void arrive(const struct message *m, unsigned worker, message_pushed *pushed)
{
    const struct looking *l = &looking[worker];
    for (size_t i = 0; i < l->count; i++) {
        struct reply *r = &l->at[i]->reply;
        size_t begin = r->out->size;
        r->ops->simple(r, ((const struct line *)m)->text);
        pushed(l->at[i], begin, 0, PUSH_NEWS);
    }
}

static void put_quoted(struct buf *out, bytes word)
{
    static const char plain[] = "\\\"\n\r\t\a\b", letters[] = "\\\"nrtab";
    buf_printf(out, " \"");
    for (size_t i = 0; i < word.size; i++) {
        const char *special = word.data[i] ? strchr(plain, word.data[i]) : NULL;
        if (special)
            buf_printf(out, "\\%c", letters[special - plain]);
        else if (word.data[i] >= ' ' && word.data[i] <= '~')
            buf_append(out, &word.data[i], 1);
        else
            buf_printf(out, "\\x%02x", word.data[i]);
    }
    buf_printf(out, "\"");
}

static void put_line(const struct call *c, struct buf *out)
{
    const struct session *s = c->session;
    uint64_t now_us = OS.wall_us();
    buf_printf(out, "%llu.%06u [%u ", (unsigned long long)(now_us / 1000000), (unsigned)(now_us % 1000000), s->db);
    if (s->in_script)
        buf_printf(out, "lua]");
    else
        buf_printf(out, "%s]", s->address ? s->address : "?:0");
    for (size_t i = 0; i < c->argc; i++)
        put_quoted(out, slowlog_is_secret(c->command, c->argv, c->argc, i) ? BYTES("(redacted)") : c->argv[i]);
}

static void post(bytes text)
{
    struct line *line = message_new(sizeof(*line) + text.size, 0, arrive);
    memcpy(line + 1, text.data, text.size);
    line->text = bytes_of(line + 1, text.size);
    for (unsigned w = 0; w < WORKERS_MAX; w++) {
        if (atomic_load_explicit(&by_worker[w], memory_order_relaxed))
            message_post(&line->message, w);
    }
    message_release(&line->message);
}

struct line_note { struct delivery delivery; bytes text; };

static void deliver(struct txn *t, struct delivery *d, uint64_t lsn)
{
    (void)t;
    (void)lsn;
    post(((const struct line_note *)d)->text); /* its first member */
}

void monitor_show(const struct call *c)
{
    struct buf line;
    if (c->command->flags & CMD_ADMIN)
        return;
    buf_init(&line, SIZE_MAX);
    put_line(c, &line);
    if (c->txn) {
        struct line_note *note = arena_alloc(txn_arena(c->txn), sizeof(*note));
        *note = (struct line_note){.delivery.deliver = deliver, .text = arena_dup(txn_arena(c->txn), buf_view(&line))};
        txn_deliver(c->txn, &note->delivery);
    } else {
        post(buf_view(&line));
    }
    buf_release(&line);
}
