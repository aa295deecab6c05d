/* check.c -- the history of a world against the model.
 *
 * Whoever changes something places one log record while it holds its locks, so the order of
 * the records is the order in which everything happened. The check
 *   1. puts the records in order of lsn; none may stand before one that had ended before it began;
 *   2. runs the model through them, comparing every reply, at the record's own time;
 *   3. gives every operation without a record a place between two records, inside its window and
 *      not before an operation that had ended before it began (the earliest place that
 *      explains its reply: later ones only constrain more). No place: a failure;
 *   4. notes how far the log must have survived for all replies that have left, those of reads
 *      included.
 * After a crash the log's end says how many records survived: not fewer than noted, and what the
 * next world reads is checked against the model at exactly that record.
 */
#include "sim.h"

#include "base/wire.h"
#include "durable/effect.h"
#include "engine/internal.h"

#include <stdlib.h>
#include <string.h>

static struct {
    struct model base;     /* before the first record of the history */
    struct model now;      /* the sweep's */
    struct op **records;   /* in order of lsn, 1.. (0 unused) */
    size_t record_count;
    struct op **reads;     /* by start */
    size_t read_count;
    uint64_t keep;         /* records that must survive */
    uint64_t keep_power;   /* and if the power fails, too; fewer in `interval`, whose replies wait for the write only */
    uint64_t known_lsn;    /* where the base ends */
    bool checked;          /* this history; a world cut while it recovered adds none */
} check;

static _Noreturn void fail_op(const struct op *op, const char *what, bytes expected)
{
    op_print(stderr, op);
    if (expected.size)
        fprintf(stderr, "  the model says %.*s\n", (int)(expected.size < 200 ? expected.size : 200), (const char *)expected.data);
    sim_fail("%s", what);
}

/* ---- sessions ---- */

static struct op **with(struct op **list, size_t *count, struct op *op)
{
    list = realloc(list, (*count + 1) * sizeof(struct op *));
    hf_assert(list);
    list[(*count)++] = op;
    return list;
}

static bool refused(const struct op *op)
{
    return op->end != UINT64_MAX && op->reply_size > 8 && memcmp(op->reply, "-MISCONF", 8) == 0;
}

static void end_transaction(struct peer_record *p)
{
    p->in_multi = p->aborted = false;
    p->queue = p->watches = NULL;
    p->queue_count = p->watch_count = 0;
}

/* Gives the op its database, and EXEC its queue and what is watched. */
static void walk_session(struct op *op)
{
    struct peer_record *p = op->peer;
    bytes name = op->argv[0];
    op->db = p->db;
    if (bytes_is_word(name, "EXEC") || bytes_is_word(name, "DISCARD")) {
        op->queue = p->queue;
        op->queue_count = p->queue_count;
        op->watches = p->watches;
        op->watch_count = p->watch_count;
        end_transaction(p);
    } else if (bytes_is_word(name, "RESET")) {
        end_transaction(p);
        p->db = 0;
        op->done = true;
    } else if (bytes_is_word(name, "QUIT")) {
        op->done = true;
    } else if (p->in_multi) {
        bool queued = op->end == UINT64_MAX || (op->reply_size == 9 && memcmp(op->reply, "+QUEUED\r\n", 9) == 0);
        if (!queued && !(refused(op) && sim.plan.faults))
            fail_op(op, "a command was not queued", BYTES(""));
        p->aborted |= !queued;
        p->queue = with(p->queue, &p->queue_count, op);
        op->done = true;
    } else if (bytes_is_word(name, "MULTI")) {
        p->in_multi = op->done = true;
    } else if (bytes_is_word(name, "SELECT")) {
        p->db = (unsigned)(((const char *)op->argv[1].data)[0] - '0');
        op->done = true;
    } else if (bytes_is_word(name, "WATCH")) {
        p->watches = with(p->watches, &p->watch_count, op);
    } else if (bytes_is_word(name, "BGSAVE") || bytes_is_word(name, "SAVE")) {
        op->done = true;
    }
}

/* ---- one operation against the model ---- */

static bool is_exec(const struct op *op) { return op->argc && bytes_is_word(op->argv[0], "EXEC"); }

/* Has a watched key changed between its WATCH and the model's state? certain: surely. */
static bool watch_broken(struct model *m, const struct op *exec, bool certain)
{
    bool broken = false;
    for (size_t i = 0; i < exec->watch_count; i++) {
        const struct op *w = exec->watches[i];
        uint64_t since = w->wrote ? w->index : certain ? w->high : w->low;
        for (size_t k = 1; k < w->argc; k++) {
            unsigned key = (unsigned)model_key(w->argv[k]);
            model_sees(m, w->db, key);
            bool perhaps = m->perhaps[w->db][key] > since;
            broken |= m->touched[w->db][key] > since || (model_is_expired(m, w->db, key) && !perhaps);
            broken |= !certain && perhaps;
        }
    }
    return broken;
}

static bool reply_is(const struct op *op, const char *text)
{
    return op->reply_size == strlen(text) && memcmp(op->reply, text, op->reply_size) == 0;
}

static int database_of(const struct model *m, uint32_t id)
{
    for (int i = 0; i < SIM_DBS_MAX; i++) {
        if (m->ids[i] == id)
            return i;
    }
    return -1;
}

/* Keys that the operation met expired, and removed; it may have met more than the model looks at. */
static void remove_expired(struct model *m, const struct op *op)
{
    bytes in = bytes_of(op->body, op->body_size);
    struct effect f;
    while (in.size && effect_next(&in, &f) == HF_OK) {
        int db = f.kind == EFFECT_REMOVE ? database_of(m, f.db_id) : -1, key = db < 0 ? -1 : model_key(f.key);
        if (key >= 0 && model_is_expired(m, (unsigned)db, (unsigned)key))
            model_remove(m, (unsigned)db, (unsigned)key);
    }
}

/* EXEC: the queue's replies, or nil. Appends what the model would reply. What its commands removed, its watches have not seen go. */
static void run_exec(struct model *m, struct op *op, struct buf *reply)
{
    bool surely = watch_broken(m, op, true), nil = op->end != UINT64_MAX ? reply_is(op, "*-1\r\n") : surely;
    bool broken = surely || (nil && watch_broken(m, op, false));
    remove_expired(m, op);
    if (broken) {
        buf_append(reply, "*-1\r\n", 5);
        return;
    }
    char line[32];
    buf_append(reply, line, (size_t)snprintf(line, sizeof(line), "*%zu\r\n", op->queue_count));
    for (size_t i = 0; i < op->queue_count; i++) {
        if (!model_run(m, op->db, op->queue[i]->argv, op->queue[i]->argc, reply))
            fail_op(op->queue[i], "not modelled", BYTES(""));
    }
}

static void run_op(struct model *m, struct op *op, struct buf *reply)
{
    bytes name = op->argv[0];
    m->seen = 0;
    if (is_exec(op))
        run_exec(m, op, reply);
    else if (bytes_is_word(name, "DISCARD"))
        buf_append(reply, "+OK\r\n", 5);
    else if (!model_run(m, op->db, op->argv, op->argc, reply))
        fail_op(op, "not modelled", BYTES(""));
}

static bool same(const struct op *op, const struct buf *reply)
{
    return op->reply_size == reply->size && memcmp(op->reply, reply->data, reply->size) == 0;
}

/* ---- records ---- */

static int by_lsn(const void *a, const void *b)
{
    const struct op *x = *(struct op *const *)a, *y = *(struct op *const *)b;
    return x->lsn < y->lsn ? -1 : x->lsn > y->lsn;
}

/* What the record says by itself: the map of databases, and for housekeeping the keys that went. */
static void apply_body(struct model *m, const struct op *op)
{
    bytes in = bytes_of(op->body, op->body_size);
    while (in.size) {
        struct effect f;
        uint32_t ids[DATABASES_MAX], next, count;
        if (effect_next(&in, &f) != HF_OK)
            fail_op(op, "a record that cannot be read", BYTES(""));
        if (f.kind == EFFECT_DB_MAP) {
            if (effect_db_map_read(f.a, &next, ids, DATABASES_MAX, &count) != HF_OK)
                fail_op(op, "a map that cannot be read", BYTES(""));
            memcpy(m->ids, ids, sizeof(m->ids));
        } else if (!op->peer) {
            int db = database_of(m, f.db_id), key = model_key(f.key);
            if (f.kind != EFFECT_REMOVE)
                fail_op(op, "housekeeping did more than remove", BYTES(""));
            if (db < 0)
                continue;
            if (!model_is_expired(m, (unsigned)db, (unsigned)key))
                fail_op(op, "housekeeping removed a key that has not expired", f.key);
            model_remove(m, (unsigned)db, (unsigned)key);
        }
    }
}

static void model_apply(struct model *m, struct op *op, bool compare)
{
    struct buf reply;
    m->index = op->index;
    m->now_ms = op->time_ms;
    m->may_write = true;
    m->wrote = false;
    if (op->peer && !is_exec(op))
        remove_expired(m, op);
    buf_init(&reply, SIZE_MAX);
    if (op->peer)
        run_op(m, op, &reply);
    if (compare && op->peer && op->end != UINT64_MAX && !same(op, &reply))
        fail_op(op, "a reply that the order of the log does not explain", buf_view(&reply));
    buf_release(&reply);
    apply_body(m, op);
}

/* ---- reads ---- */

/* A reply that has left shows the records that its operation saw: the log had to call them safe, and
 * they must survive. */
static void shows(const struct op *op, uint64_t seen)
{
    if (!op_released(op) || seen == 0)
        return;
    if (check.records[seen]->lsn + 1 >= op->safe_lsn) {
        op_print(stderr, check.records[seen]);
        fail_op(op, "this reply left when the log did not yet call safe what it shows (above)", BYTES(""));
    }
    if (seen > check.keep) {
        check.keep = seen;
        sim_trace("record %llu must survive: connection %u has its reply %.*s", (unsigned long long)seen, op->peer->number,
                  (int)(op->reply_size < 60 ? op->reply_size : 60), op->reply);
    }
}

/* Does the state explain the read, at some moment of its batch's clock? */
static bool explains(struct model *m, struct op *op, struct buf *reply)
{
    uint64_t candidates[2 + SIM_DBS_MAX * SIM_KEYS_MAX] = {op->now_high_ms, op->now_low_ms};
    size_t count = 2;
    for (unsigned d = 0; d < SIM_DBS_MAX; d++) {
        for (unsigned k = 0; k < SIM_KEYS_MAX; k++) {
            uint64_t deadline = m->values[d][k].deadline_ms;
            if (deadline > op->now_low_ms && deadline <= op->now_high_ms)
                candidates[count++] = deadline;
        }
    }
    for (size_t i = 0; i < count; i++) {
        buf_reset(reply);
        m->now_ms = candidates[i];
        m->may_write = m->wrote = false;
        run_op(m, op, reply);
        if (!m->wrote && same(op, reply))
            return true;
    }
    return false;
}

static bool aborted(const struct op *op)
{
    return is_exec(op) && sim.plan.faults && op->reply_size > 10 && memcmp(op->reply, "-EXECABORT", 10) == 0;
}

static void place_reads(uint64_t index)
{
    uint64_t first_end = UINT64_MAX; /* of those that have no place yet */
    struct buf reply;
    buf_init(&reply, SIZE_MAX);
    for (size_t i = 0; i < check.read_count; i++) {
        struct op *op = check.reads[i];
        if (op->low > index)
            break; /* by start, so by low */
        if (op->done)
            continue;
        bool turned_away = sim.plan.faults && (refused(op) || aborted(op));
        if (first_end > op->start && (turned_away || explains(&check.now, op, &reply))) {
            op->done = true;
            op->placed = index;
            if (!turned_away)
                shows(op, check.now.seen);
            continue;
        }
        if (op->end < first_end)
            first_end = op->end;
        if (index >= op->high)
            fail_op(op, "a reply that no moment of its call explains", buf_view(&reply));
    }
    buf_release(&reply);
}

static int by_start(const void *a, const void *b)
{
    const struct op *x = *(struct op *const *)a, *y = *(struct op *const *)b;
    return x->start < y->start ? -1 : x->start > y->start;
}

/* ---- the whole ---- */

static void sort_out(void)
{
    check.records = realloc(check.records, (history.count + 2) * sizeof(struct op *));
    check.reads = realloc(check.reads, (history.count + 1) * sizeof(struct op *));
    hf_assert(check.records && check.reads);
    check.record_count = check.read_count = 0;
    for (size_t i = 0; i < history.count; i++) {
        struct op *op = history.ops[i];
        if (op->pending)
            op->lsn = get_u64(op->pending + 24); /* the world ended inside log_append */
        if (op->peer)
            walk_session(op);
        if (op->wrote && op->lsn != UINT64_MAX)
            check.records[++check.record_count] = op;
        else if (op->peer && op->end != UINT64_MAX && !op->done)
            check.reads[check.read_count++] = op;
    }
    qsort(check.records + 1, check.record_count, sizeof(struct op *), by_lsn);
    qsort(check.reads, check.read_count, sizeof(struct op *), by_start);
}

static void check_order(void)
{
    uint64_t begun = 0;
    for (size_t i = 1; i <= check.record_count; i++) {
        struct op *op = check.records[i];
        op->index = i;
        if (op->end < begun)
            fail_op(op, "its record stands behind one that began after its end", BYTES(""));
        begun = op->start > begun ? op->start : begun;
    }
}

static void find_windows(void)
{
    for (size_t i = 0; i < check.read_count; i++) {
        struct op *op = check.reads[i];
        op->low = 0;
        op->high = check.record_count;
        for (size_t k = 1; k <= check.record_count; k++) {
            if (check.records[k]->end < op->start)
                op->low = k;
            if (check.records[k]->start > op->end && k - 1 < op->high)
                op->high = k - 1;
        }
    }
}

void check_start(void)
{
    check.checked = true; /* nothing to check before the first world has opened */
    for (unsigned i = 0; i < SIM_DBS_MAX; i++)
        check.base.ids[i] = i;
}

static void forget_records(struct model *m)
{
    memset(m->touched, 0, sizeof(m->touched));
    memset(m->perhaps, 0, sizeof(m->perhaps));
    memset(m->mapped, 0, sizeof(m->mapped));
}

static uint64_t records_below(uint64_t lsn)
{
    uint64_t count = 0;
    while (count < check.record_count && check.records[count + 1]->lsn < lsn)
        count++;
    return count;
}

void check_world(void)
{
    if (check.checked) {
        if (!sim.crash)
            check.keep = check.keep_power;
        return;
    }
    check.checked = true;
    check.keep = 0;
    sort_out();
    check_order();
    find_windows();
    model_copy(&check.now, &check.base);
    forget_records(&check.now);
    place_reads(0);
    for (size_t i = 1; i <= check.record_count; i++) {
        model_apply(&check.now, check.records[i], true);
        shows(check.records[i], i);
        place_reads(i);
    }
    uint64_t claimed = records_below(sim.durable_at_end);
    check.keep = claimed > check.keep ? claimed : check.keep;
    check.keep_power = sim.plan.interval ? claimed : check.keep;
    if (!sim.crash)
        check.keep = check.keep_power;
    sim_trace("the world had %zu records, %zu reads; %llu records must survive", check.record_count, check.read_count,
              (unsigned long long)check.keep);
}

/* `interval`: what left and was lost all the same was made within the window. */
static void check_window(uint64_t survived)
{
    const struct plan *p = &sim.plan;
    uint64_t slack = 5 * SIM_MS + 20 * (p->stall_ns + p->slow_ns + p->sync_ns + p->write_ns), first = 0;
    for (uint64_t i = survived + 1; i <= check.record_count && !p->faults; i++) {
        const struct op *op = check.records[i];
        if (!op_released(op))
            continue;
        first = first ? first : op->made_at;
        if (op->made_at > first + p->interval_ms * SIM_MS + slack)
            fail_op(op, "this reply left although older ones were not yet fsynced for longer than the interval", BYTES(""));
    }
}

void check_opened(struct engine *e)
{
    uint64_t end = log_tail(e->log), survived = records_below(end);
    sim_trace("recovered up to lsn %llu: %llu records", (unsigned long long)end, (unsigned long long)survived);
    if (end < check.known_lsn || survived < check.keep) {
        if (check.keep && check.keep <= check.record_count)
            op_print(stderr, check.records[check.keep]);
        sim_fail("the log ends at lsn %llu after recovery: %llu records, but %llu were shown or called durable", (unsigned long long)end,
                 (unsigned long long)survived, (unsigned long long)check.keep);
    }
    check_window(survived);
    for (uint64_t i = 1; i <= survived; i++)
        model_apply(&check.base, check.records[i], false);
    forget_records(&check.base);
    memcpy(check.base.ids, e->db_ids, sizeof(check.base.ids));
    check.record_count = 0;
    check.keep = check.keep_power = 0;
    check.known_lsn = end;
    check.checked = false;
    history_world_begin();
}
