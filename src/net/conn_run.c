/* conn_run.c -- from the bytes of a connection to replies and marks.
 *
 * Commands are parsed up to RUN_CHUNK at a time, prefetched together, run in order. A
 * chunk may stop early (parked, asleep, too much output): the bytes of the rest stay
 * and are parsed again later, so nothing has to keep views alive. Parsing twice is
 * rare and costs tens of nanoseconds a command.
 */
#include "net/worker.h"

#include "base/memory.h"
#include "cmd/replicas.h"
#include "cmd/tracking.h"
#include "durable/log.h"
#include "engine/engine.h"
#include "os/os.h"
#include "proto/resp/resp_reply.h"

#include <stdio.h>

#define UNAUTHENTICATED_OUTPUT_MAX 4096
#define OUTPUT_SLACK ((size_t)1 << 20) /* of a reply beyond what closes the connection: it then ends there */

static struct mark *mark_at(const struct conn *c, size_t i)
{
    return &c->marks[(c->mark_first + i) & (c->mark_capacity - 1)];
}

static void mark_push(struct conn *c, struct mark m)
{
    if (c->mark_count == c->mark_capacity) {
        size_t capacity = c->mark_capacity ? c->mark_capacity * 2 : 8;
        struct mark *fresh = mem_alloc(capacity * sizeof(*fresh));
        for (size_t i = 0; i < c->mark_count; i++)
            fresh[i] = *mark_at(c, i);
        mem_free(c->marks);
        c->marks = fresh;
        c->mark_first = 0;
        c->mark_capacity = capacity;
    }
    *mark_at(c, c->mark_count++) = m;
}

void conn_mark(struct conn *c, size_t begin, uint64_t lsn, unsigned replies)
{
    struct worker *w = c->worker;
    bool commit = c->session.durability == DURABILITY_COMMIT;
    bool waits = lsn > (commit ? w->durable : w->written);
    uint64_t end = c->output_base + c->output.size;
    if (c->mark_count) {
        struct mark *last = mark_at(c, c->mark_count - 1);
        bool same = last->lsn == 0 || !waits ? last->lsn == 0 && !waits
                                             : last->commit == commit && (lsn <= last->lsn || c->mark_chunk == w->chunk);
        if (same) {
            last->replies += replies;
            last->end = end;
            last->lsn = lsn > last->lsn && waits ? lsn : last->lsn;
            return;
        }
    } else if (!waits) {
        return;
    } else {
        c->open_end = c->output_base + begin;
    }
    c->mark_chunk = w->chunk;
    mark_push(c, (struct mark){end, waits ? lsn : 0, replies, commit});
}

const struct output_limits *conn_output_limits(const struct conn *c)
{
    enum output_class class = session_follows(&c->session) ? OUTPUT_REPLICA : session_listens(&c->session) ? OUTPUT_PUBSUB : OUTPUT_NORMAL;
    return &c->worker->net->limits->output[class];
}

size_t conn_judged(const struct conn *c, size_t unsent)
{
    if (HF_UNLIKELY(c->blocked & BLOCKED_FILE))
        return conn_file_held(c);
    uint64_t file_end = session_follows(&c->session) ? c->session.replica->file_end : 0, at = c->output_base + c->sent;
    size_t of_file = file_end > at ? (size_t)(file_end - at) : 0;
    return unsent > of_file ? unsent - of_file : 0;
}

/* One reply of the largest value always passes. 0: no limit. */
static uint64_t output_most(const struct conn *c)
{
    uint64_t hard = atomic_load_explicit(&conn_output_limits(c)->hard, memory_order_relaxed);
    uint64_t bulk = atomic_load_explicit(&c->worker->net->limits->bulk_max, memory_order_relaxed) + (1u << 20);
    return hard && hard < bulk ? bulk : hard;
}

/* The output ends where its limit is passed, in the middle of a reply: one of many values, or of EXEC, may be longer than there is
 * memory. Other protocols append without a look at the maximum; one of their replies is one value. */
static void bound_output(struct conn *c)
{
    uint64_t most = output_most(c);
    if (!c->protocol && !resp_reply_overflowed(&c->output))
        c->output.size_max = most && !session_follows(&c->session) ? c->sent + most + OUTPUT_SLACK : CONN_BUFFER_MAX;
}

/* Output limits, and whether to stop here for now. */
static bool stop_after(struct conn *c)
{
    struct worker *w = c->worker;
    struct session *s = &c->session;
    const struct net_limits *limits = w->net->limits;
    size_t unsent = conn_unsent(c);
    if (HF_UNLIKELY(s->close_after_reply)) {
        c->closing = true;
        c->end = END_NORMAL;
        return true;
    }
    if (HF_UNLIKELY(s->sleep_until_us > w->now_us)) {
        c->blocked |= BLOCKED_ASLEEP;
        list_append(&w->sleeping, &c->sleeping);
    }
    if (HF_UNLIKELY(unsent > UNAUTHENTICATED_OUTPUT_MAX)) {
        if (session_follows(s) && !s->replica->file_end)
            s->replica->file_end = c->output_base + c->output.size;
        unsent = conn_judged(c, unsent);
        uint64_t most = output_most(c);
        if ((most && unsent > most) || !s->authenticated || resp_reply_overflowed(&c->output)) {
            counter_add(&w->stats.output_closed, 1);
            net_log(w->net, 3, "client id=%llu addr=%s closed: its output limit was reached (%zu bytes)",
                    (unsigned long long)s->id, c->record.address, unsent);
            conn_close(c);
            return true;
        }
        if (unsent > atomic_load_explicit(&limits->held_max, memory_order_relaxed) && !session_follows(s))
            c->blocked |= BLOCKED_OUTPUT;
    }
    return c->blocked != 0;
}

static void protocol_error(struct conn *c)
{
    struct worker *w = c->worker;
    counter_add(&w->stats.protocol_errors, 1);
    if (c->protocol) {
        net_log(w->net, 1, "%s: nonsense from client id=%llu addr=%s", c->protocol->name, (unsigned long long)c->session.id, c->record.address);
        c->closing = true;
        return;
    }
    if (!c->parser.error[0]) {
        net_log(w->net, 3, "Possible SECURITY ATTACK detected: POST or Host: came from %s, as from a browser. Connection dropped.",
                c->record.address);
        conn_close(c);
        return;
    }
    net_log(w->net, 1, "%s from client id=%llu addr=%s", c->parser.error, (unsigned long long)c->session.id, c->record.address);
    char line[128];
    snprintf(line, sizeof(line), "ERR %s", c->parser.error);
    size_t begin = c->output.size;
    reply_error_line(&c->session.reply, line);
    conn_mark(c, begin, 0, 1);
    c->closing = true;
}

struct chunk {
    size_t count, at;            /* commands; where the bytes after them begin */
    enum parse_result last;
    bool repeats;                /* its last command stays in the input */
    size_t end[RUN_CHUNK];       /* of each command's bytes */
    struct protocol_command foreign[RUN_CHUNK]; /* beside RESP */
};

/* The rest of it is filled in before it runs: not cleared here. */
static inline void begin_command(struct worker *w, struct chunk *k, size_t first_word, const struct command *row)
{
    struct parsed_command *command = &w->batch[k->count++];
    command->argc = w->words.count - first_word;
    command->command = row;
}

/* What stops a chunk: input without a command in it, which may not come again; a command that says what is skipped behind it, or
 * that may have to run once more. */
static void parse_foreign(struct conn *c, const uint8_t *data, size_t size, size_t at, struct chunk *k)
{
    struct worker *w = c->worker;
    struct protocol_limits limits = {.authenticated = c->session.authenticated};
    size_t most = limits.authenticated ? RUN_CHUNK : 1, first[RUN_CHUNK], begin = at;
    w->words.count = k->count = 0;
    k->last = PARSE_DONE;
    k->repeats = false;
    while (k->count < most && at < size) {
        size_t used, before = w->words.count;
        struct protocol_command *p = &k->foreign[k->count];
        k->last = c->protocol->parse(c->session.protocol, &limits, bytes_of(data + at, size - at), &w->words, p, &used);
        if (k->last != PARSE_DONE)
            break;
        at += used;
        if (w->words.count == before)
            break;
        first[k->count] = before;
        k->end[k->count] = at;
        begin_command(w, k, before, p->row);
        k->repeats = p->stays != 0;
        if (p->skip || p->stays)
            break;
    }
    hf_assert(k->count == 0 || k->end[k->count - 1] == at || at == begin);
    k->at = at;
    for (size_t i = 0; i < k->count; i++)
        w->batch[i].argv = w->words.items + first[i];
}

static void parser_reset(struct conn *c)
{
    if (c->protocol)
        c->protocol->reset(c->session.protocol);
    else
        resp_parser_reset(&c->parser);
}

static void parse_chunk(struct conn *c, const uint8_t *data, size_t size, size_t at, struct chunk *k)
{
    struct worker *w = c->worker;
    struct resp_limits limits = {
        .bulk_max = atomic_load_explicit(&w->net->limits->bulk_max, memory_order_relaxed),
        .args_max = RESP_ARGS_MAX,
        .authenticated = c->session.authenticated,
    };
    size_t most = limits.authenticated ? RUN_CHUNK : 1; /* AUTH changes the limits of what follows */
    size_t first[RUN_CHUNK];
    w->words.count = 0;
    k->count = 0;
    k->last = PARSE_DONE;
    k->repeats = false;
    while (k->count < most && at < size) {
        size_t used, before = w->words.count;
        k->last = resp_parse(&c->parser, &limits, bytes_of(data + at, size - at), &w->words, &used);
        if (k->last != PARSE_DONE)
            break;
        at += used;
        if (w->words.count == before)
            continue;
        first[k->count] = before;
        k->end[k->count] = at;
        begin_command(w, k, before, NULL);
    }
    k->at = at;
    for (size_t i = 0; i < k->count; i++)
        w->batch[i].argv = w->words.items + first[i];
}

static bool news_arrived(const struct conn *c)
{
    return atomic_load_explicit(&c->worker->inbox.top, memory_order_acquire) != NULL;
}

static bool caches(const struct conn *c)
{
    return HF_UNLIKELY(c->session.tracking != NULL) && tracking_is_on(&c->session);
}

/* Before a command: also who listens to channels is told what was published before, lest UNSUBSCRIBE drops it. */
static bool news_are_due(const struct conn *c)
{
    return HF_UNLIKELY(c->session.tracking != NULL || c->session.topics != NULL) && news_arrived(c);
}

/* Its command is over, and what has arrived meanwhile is told around the reply. */
static void keep_news(struct conn *c)
{
    conn_keep_pushes(c, &c->worker->pushes);
    worker_take_inbox(c->worker);
    conn_end_keeping(c);
}

/* Not yet told: kept while the command ran (worker_aside.c). */
static bool has_pushes(const struct worker *w) { return HF_UNLIKELY(w->pushes.text.size != 0); }

/* The command is over or begins again later. Whoever may hear no more hears nothing; that may close the connection. */
static void look_at_pushes(struct conn *c, bool is_replied)
{
    if (!c->dead)
        worker_take_user_changes(c->worker);
    if (c->dead)
        session_leave(&c->session); /* closed while its transaction ran, which may have subscribed behind that */
    if (c->dead || !is_replied)
        conn_tell_behind(c, false);
}

/* The reply's mark, with what this connection has to be told on both sides of it, if it cached before the command: nobody is told
 * anything before the reply that says that caching is on. */
static void finish_reply(struct conn *c, bool cached, size_t before, uint64_t lsn)
{
    if (HF_UNLIKELY(cached) && news_arrived(c) && !c->dead)
        keep_news(c);
    bool tells = has_pushes(c->worker);
    if (HF_UNLIKELY(c->dead)) { /* what arrived has ended it */
        conn_tell_behind(c, false);
        return;
    }
    if (tells && cached)
        before = conn_tell_before(c, before);
    if (c->output.size != before && (lsn || c->mark_count))
        conn_mark(c, before, lsn, 1);
    if (tells)
        conn_tell_behind(c, cached);
}

/* Runs the chunk; returns how many of its commands are done. */
static size_t run_chunk(struct conn *c, const struct chunk *k)
{
    struct worker *w = c->worker;
    w->chunk++;
    if (HF_UNLIKELY(atomic_load_explicit(&w->net->pause_until_ms, memory_order_relaxed) != 0))
        worker_update_pause(w); /* it may have come after the step began, and before these commands */
    if (HF_UNLIKELY(c->protocol != NULL))
        exec_prefetch_rows(w->exec, &c->session, w->batch, k->count);
    else
        exec_prefetch(w->exec, &c->session, w->batch, k->count);
    size_t i = 0;
    if (HF_UNLIKELY(c->skip) && k->count) {
        c->skip = false;
        i = 1;
    }
    for (; i < k->count; i++) {
        if (HF_UNLIKELY(w->pause != PAUSE_NONE) && !c->resumed && exec_would_wait(&c->session, &w->batch[i], w->pause == PAUSE_WRITES)) {
            c->blocked |= BLOCKED_PAUSED;
            counter_add(&w->stats.paused_now, 1);
            list_append(&w->sleeping, &c->sleeping);
            return i;
        }
        if (news_are_due(c))
            worker_take_inbox(w); /* changes that were acknowledged before the command was sent are told before its reply */
        if (HF_UNLIKELY(c->dead))
            return i;
        uint64_t lsn = 0;
        size_t before = c->output.size;
        bool cached = caches(c);
        c->wake_due = true;
        c->resumed = false;
        if (HF_UNLIKELY(c->protocol != NULL))
            c->protocol->begin(c->session.protocol, &k->foreign[i]);
        enum exec_result result = exec_run(w->exec, &c->session, &w->batch[i], &c->park, &lsn);
        if (HF_UNLIKELY(c->dead) || has_pushes(w))
            look_at_pushes(c, result == EXEC_DONE);
        if (HF_UNLIKELY(result == EXEC_PARKED)) {
            if (HF_UNLIKELY(c->dead))
                return i; /* killed while its script ran */
            c->blocked |= BLOCKED_PARKED;
            counter_add(&w->stats.parks, 1);
            counter_add(&w->stats.parked_now, 1);
            return i;
        }
        c->wake_due = false;
        if (HF_UNLIKELY(result == EXEC_WAITING)) {
            conn_wait(c, lsn);
            return i;
        }
        finish_reply(c, cached, before, lsn);
        if (HF_UNLIKELY(c->dead))
            return i + 1;
        if (HF_UNLIKELY(tracking_has_own(&c->session)))
            tracking_tell_own(&c->session, conn_pushed);
        if (HF_UNLIKELY(stop_after(c) || exec_is_late(w->exec)))
            return i + 1;
    }
    return k->count;
}

size_t conn_run(struct conn *c, const uint8_t *data, size_t size)
{
    struct worker *w = c->worker;
    size_t at = 0;
    c->more = false;
    bound_output(c);
    while (at < size && !c->blocked && !c->closing) {
        struct chunk k;
        if (HF_UNLIKELY(c->protocol != NULL))
            parse_foreign(c, data, size, at, &k);
        else
            parse_chunk(c, data, size, at, &k);
        w->running = k.at - at;
        size_t done = k.count ? run_chunk(c, &k) : 0;
        exec_unexpect(&c->session); /* what stands in the input may move from here on */
        w->running = 0;
        counter_add(&w->stats.commands, done);
        if (w->text.current)
            arena_reset(&w->text);
        if (c->dead)
            return size;
        if (done < k.count || c->blocked || c->closing) {
            size_t stopped = done < k.count ? (done ? k.end[done - 1] : at) : k.at;
            if (done < k.count || k.last == PARSE_BAD)
                parser_reset(c);
            c->more = stopped < size && (stopped != k.at || k.last != PARSE_MORE);
            return stopped;
        }
        at = k.at;
        if (HF_UNLIKELY(k.repeats || (exec_is_late(w->exec) && at < size && k.last == PARSE_DONE))) {
            c->more = true;
            return at;
        }
        if (k.last == PARSE_BAD) {
            protocol_error(c);
            return size;
        }
        if (k.last == PARSE_MORE)
            break;
    }
    return at;
}
