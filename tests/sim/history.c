/* history.c -- what ran when, where in the log, with which reply; which bytes have left.
 *
 * The linker (--wrap) leads exec_run, exec_batch_begin and log_append through this file, so
 * the product runs as it is. An operation's window is the call of exec_run that did it: its
 * point in the order of all lies inside. A log record is noted before it is appended, because the
 * power may fail after it is published and before log_append returns; its lsn then stands in
 * its header.
 */
#include "sim.h"

#include "base/memory.h"
#include "durable/log_private.h"
#include "engine/internal.h"
#include "net/conn.h"

#include <stdlib.h>
#include <string.h>

#define LSN_NONE UINT64_MAX

struct history history;
static uint64_t moment;

uint64_t history_moment(void) { return ++moment; }

void history_world_begin(void)
{
    for (size_t i = 0; i < history.count; i++) {
        struct op *op = history.ops[i];
        for (size_t k = 0; k < op->argc; k++)
            free((void *)op->argv[k].data);
        free(op->argv);
        free(op->reply);
        free(op->body);
        free(op->queue);
        free(op->watches);
        free(op);
    }
    history.count = 0;
    history.peer_count = 0; /* the few peers of before are left to the end of the process */
}

static void op_keep(struct op *op)
{
    if (history.count == history.capacity) {
        history.capacity = history.capacity ? history.capacity * 2 : 1024;
        history.ops = realloc(history.ops, history.capacity * sizeof(*history.ops));
        hf_assert(history.ops);
    }
    history.ops[history.count++] = op;
}

struct peer_record *history_peer(struct wire *w)
{
    struct peer_record *p = calloc(1, sizeof(*p));
    history.peers = realloc(history.peers, (history.peer_count + 1) * sizeof(*history.peers));
    hf_assert(p && history.peers);
    history.peers[history.peer_count] = p;
    p->number = (unsigned)history.peer_count++;
    p->wire = w;
    buf_init(&p->stream, SIZE_MAX);
    w->record = p;
    return p;
}

void history_sent(struct wire *w, const void *data, size_t size)
{
    struct peer_record *p = w->record;
    if (p->sent + size > p->stream.size || memcmp(p->stream.data + p->sent, data, size) != 0)
        sim_fail("connection %u is sent bytes that no command of its replied", p->number);
    p->sent += size;
    const struct log *log = sim.engine->log;
    while (p->unsent && p->unsent->reply_end <= p->sent) {
        p->unsent->safe_lsn = (sim.plan.interval ? log->written : log->durable) + 1;
        p->unsent = p->unsent->unsent;
    }
}

bool op_released(const struct op *op) { return op->safe_lsn != 0; }

static void will_be_sent(struct peer_record *p, struct op *op)
{
    if (p->unsent)
        p->unsent_last->unsent = op;
    else
        p->unsent = op;
    p->unsent_last = op;
}

static void print_text(FILE *out, const char *data, size_t size)
{
    for (size_t i = 0; i < size && i < 160; i++) {
        if (data[i] == '\r')
            continue;
        fputc(data[i] == '\n' ? ' ' : data[i] < 32 || data[i] > 126 ? '?' : data[i], out);
    }
    if (size > 160)
        fprintf(out, "... (%zu bytes)", size);
}

void op_print(FILE *out, const struct op *op)
{
    fprintf(out, "  [%llu, %lld] ", (unsigned long long)op->start, (long long)op->end);
    if (op->peer)
        fprintf(out, "connection %u db %u: ", op->peer->number, op->db);
    else
        fprintf(out, "housekeeping ");
    for (size_t i = 0; i < op->argc; i++) {
        print_text(out, (const char *)op->argv[i].data, op->argv[i].size);
        fputc(' ', out);
    }
    if (op->end != UINT64_MAX) {
        fprintf(out, "=> ");
        print_text(out, op->reply, op->reply_size);
    }
    if (op->wrote)
        fprintf(out, " record %llu lsn %llu time %llu", (unsigned long long)op->index, (unsigned long long)op->lsn,
                (unsigned long long)op->time_ms);
    fprintf(out, "%s\n", op->peer && !op_released(op) ? " (not released)" : "");
}

/* ---- the product's calls ---- */

enum exec_result __real_exec_run(struct exec *x, struct session *s, struct parsed_command *p, struct park_node *node, uint64_t *lsn);
enum exec_result __wrap_exec_run(struct exec *x, struct session *s, struct parsed_command *p, struct park_node *node, uint64_t *lsn);
bool __real_exec_batch_begin(struct exec *x);
bool __wrap_exec_batch_begin(struct exec *x);
uint64_t __real_log_append(struct log *log, enum record_kind kind, uint16_t slot, uint64_t time_ms, uint8_t *record, size_t size);
uint64_t __wrap_log_append(struct log *log, enum record_kind kind, uint16_t slot, uint64_t time_ms, uint8_t *record, size_t size);

static uint64_t time_high(void) { return sim.engine ? sim.engine->time_high : 0; }

bool __wrap_exec_batch_begin(struct exec *x)
{
    struct task_note *note = sim_note();
    uint64_t wall = OS.wall_ms(), high = time_high();
    note->now_low_ms = wall > high && !sim.plan.clock_steps ? wall : high; /* it may step before the product looks */
    bool begun = __real_exec_batch_begin(x);
    note->now_high_ms = time_high();
    return begun;
}

static struct op *op_new(struct peer_record *peer, const bytes *argv, size_t argc)
{
    struct op *op = calloc(1, sizeof(*op));
    hf_assert(op);
    op->peer = peer;
    op->argc = argc;
    op->argv = calloc(argc + 1, sizeof(*op->argv));
    hf_assert(op->argv);
    for (size_t i = 0; i < argc; i++) {
        char *copy = malloc(argv[i].size + 1);
        hf_assert(copy);
        memcpy(copy, argv[i].data, argv[i].size);
        op->argv[i] = bytes_of(copy, argv[i].size);
    }
    op->end = UINT64_MAX;
    op->start = history_moment();
    op->now_low_ms = sim_note()->now_low_ms;
    op->now_high_ms = sim_note()->now_high_ms;
    return op;
}

/* A command that parked has done nothing: it leaves the history. */
static void op_drop(struct op *op)
{
    hf_assert(!op->wrote);
    for (size_t i = history.count; i-- > 0;) {
        if (history.ops[i] != op)
            continue;
        memmove(&history.ops[i], &history.ops[i + 1], (--history.count - i) * sizeof(*history.ops));
        break;
    }
    for (size_t k = 0; k < op->argc; k++)
        free((void *)op->argv[k].data);
    free(op->argv);
    free(op);
}

enum exec_result __wrap_exec_run(struct exec *x, struct session *s, struct parsed_command *p, struct park_node *node, uint64_t *lsn)
{
    struct peer_record *peer = wire_of(((struct conn *)s->connection)->fd)->record;
    struct op *op = op_new(peer, p->argv, p->argc);
    size_t before = s->reply.out->size;
    op_keep(op);
    struct op *outer = sim_note()->op; /* it takes long, and this one runs between its steps, at a later time */
    if (outer)
        op->now_high_ms = time_high();
    sim_note()->op = op;
    enum exec_result result = __real_exec_run(x, s, p, node, lsn);
    sim_note()->op = outer;
    if (result == EXEC_PARKED) {
        sim_trace("connection %u parks", peer->number);
        op_drop(op);
        return result;
    }
    op->reply_size = s->reply.out->size - before;
    op->reply = malloc(op->reply_size + 1);
    hf_assert(op->reply);
    memcpy(op->reply, s->reply.out->data + before, op->reply_size);
    op->reply[op->reply_size] = 0;
    buf_append(&peer->stream, op->reply, op->reply_size);
    op->reply_end = peer->stream.size;
    op->end = history_moment();
    op->made_at = sim.now;
    if (op->reply_size)
        will_be_sent(peer, op);
    peer->executed++;
    if (sim.trace) {
        fprintf(stderr, "%12.6f ms  %-16s", (double)sim.now / 1e6, sim_task_name());
        op_print(stderr, op);
    }
    return result;
}

uint64_t __wrap_log_append(struct log *log, enum record_kind kind, uint16_t slot, uint64_t time_ms, uint8_t *record, size_t size)
{
    struct op *op = sim_note()->op;
    bool housekeeping = !op;
    if (housekeeping) {
        op = op_new(NULL, NULL, 0);
        op_keep(op);
    }
    if (op->wrote)
        sim_fail("one command wrote two log records");
    op->wrote = true;
    op->time_ms = time_ms;
    op->body_size = size - RECORD_HEADER_SIZE;
    op->body = malloc(op->body_size + 1);
    hf_assert(op->body);
    memcpy(op->body, record + RECORD_HEADER_SIZE, op->body_size);
    put_u64(record + 24, LSN_NONE);
    op->pending = record;
    op->lsn = LSN_NONE;
    uint64_t end = __real_log_append(log, kind, slot, time_ms, record, size);
    op->lsn = get_u64(record + 24);
    op->pending = NULL;
    if (housekeeping)
        op->end = history_moment();
    sim_trace("record at lsn %llu .. %llu", (unsigned long long)op->lsn, (unsigned long long)end);
    return end;
}
