/* worker_aside.c -- other connections are served while a script, or another command, of this worker takes long (docs/adr/0010).
 *
 * The hook of the script, or the loop of the command (cmd/exec_breathe.c), calls worker_aside_step about once a millisecond, in the middle
 * of conn_serve of its connection; what is said of scripts here holds for both: the stack below holds a half-done batch. So a step here works with an executor, words and read buffer of its own,
 * leaves the script's connection alone, and takes no lock by waiting, since the script may hold it on this very
 * thread: burials, timeouts and CLIENT UNBLOCK wait for its end. Commands that would wait for the
 * script (exec_aside) are parked until then. Messages reach all others now, and what they are for the script's connection is kept for
 * the end of its command (conn_push.c): so all see them in the order in which they came.
 */
#include "net/worker.h"

#include "base/memory.h"

struct worker_aside {
    struct exec *exec;
    uint8_t *shared;
    struct resp_words words;
    struct arena text;
    struct parsed_command *batch;
    struct pushes pushes;
};

static struct worker_aside *aside_of(struct worker *w)
{
    struct worker_aside *a = w->aside;
    if (a)
        return a;
    a = w->aside = mem_zalloc(sizeof(*a));
    a->exec = exec_aside_new(w->exec);
    a->shared = mem_alloc_aligned(64, READ_SHARED);
    a->batch = mem_alloc(RUN_CHUNK * sizeof(*a->batch));
    pushes_init(&a->pushes);
    return a;
}

void worker_aside_free(struct worker *w)
{
    struct worker_aside *a = w->aside;
    if (!a)
        return;
    exec_free(a->exec);
    mem_free(a->shared);
    mem_free(a->batch);
    pushes_release(&a->pushes);
    resp_words_release(&a->words);
    arena_release(&a->text);
    mem_free(a);
}

#define SWAP(type, a, b) do { type kept = (a); (a) = (b); (b) = kept; } while (0)

static void swap(struct worker *w, struct worker_aside *a)
{
    SWAP(struct exec *, w->exec, a->exec);
    SWAP(uint8_t *, w->shared, a->shared);
    SWAP(struct resp_words, w->words, a->words);
    SWAP(struct arena, w->text, a->text);
    SWAP(struct parsed_command *, w->batch, a->batch);
    SWAP(struct pushes, w->pushes, a->pushes);
    w->words.text = &w->text;
    a->words.text = &a->text;
}

/* Those of the interrupted batch, too. Whoever gets ready meanwhile has the next turn. */
static void serve_ready(struct worker *w)
{
    struct link now;
    while (!list_empty(&w->turn)) {
        struct conn *c = LIST_OF(w->turn.next, struct conn, ready);
        list_remove(&c->ready);
        list_append(&w->ready, &c->ready);
    }
    list_move(&w->ready, &now);
    while (!list_empty(&now)) {
        struct conn *c = LIST_OF(now.next, struct conn, ready);
        list_remove(&c->ready);
        conn_serve(c);
    }
}

bool worker_aside_step(struct worker *w)
{
    struct worker_aside *a = aside_of(w);
    struct conn *busy = w->serving;
    if (w->aside_now)
        return true;
    w->aside_now = true;
    if (busy) {
        busy->blocked |= BLOCKED_SCRIPT;
        list_remove(&busy->ready);
    }
    swap(w, a);
    if (busy)
        conn_keep_pushes(busy, &a->pushes);
    exec_aside_begin(w->exec, a->exec);
    worker_take_events(w, 0);
    worker_take_user_changes(w);
    worker_take_inbox(w);
    worker_take_kills(w);
    bool moved = worker_look_at_log(w);
    serve_ready(w);
    exec_aside_end(w->exec, a->exec);
    moved |= worker_look_at_log(w);
    worker_flush(w, moved);
    swap(w, a);
    if (busy) {
        busy->blocked &= ~(unsigned)BLOCKED_SCRIPT;
        conn_end_keeping(busy);
    }
    if (HF_UNLIKELY(w->user_due))
        atomic_store(&w->users_changed, true);
    w->user_due = false;
    w->serving = busy;
    w->aside_now = false;
    if (!busy)
        worker_aside_over(w);
    return !atomic_load_explicit(&w->net->stopping, memory_order_relaxed);
}

void worker_aside_over(struct worker *w)
{
    struct worker_aside *a = w->aside;
    if (!a)
        return;
    exec_aside_over(a->exec);
}

bool net_serve_aside(unsigned worker)
{
    return worker_aside_step(net_running()->workers[worker]);
}

void net_aside_over(unsigned worker)
{
    worker_aside_over(net_running()->workers[worker]);
}
