/* net.c -- start, stop, wake-ups, totals. */
#include "net/worker.h"

#include "base/memory.h"
#include "engine/engine.h"
#include "os/os.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define SPARE_FILES 128 /* descriptors beside the clients': log, snapshots, listeners */

static _Atomic(struct net *) running;
static struct { struct spin lock; struct tls_context *context; } tls; /* of new connections */
static _Atomic uint32_t wakers; /* threads inside net_wake_workers: net_stop waits for them */

_Static_assert(WORKERS_MAX <= 64, "struct net holds 64 workers");

void net_limits_init(struct net_limits *l)
{
    atomic_init(&l->maxclients, 10000);
    atomic_init(&l->timeout_s, 0);
    atomic_init(&l->tcp_keepalive_s, 300);
    atomic_init(&l->unauthenticated_s, 10);
    atomic_init(&l->protected_mode, true);
    atomic_init(&l->query_buffer_max, 1ull << 30);
    atomic_init(&l->bulk_max, 512ull << 20);
    for (int class = OUTPUT_NORMAL; class <= OUTPUT_REPLICA; class++) {
        atomic_init(&l->output[class].hard, class == OUTPUT_PUBSUB ? 32ull << 20 : 256ull << 20);
        atomic_init(&l->output[class].soft, class == OUTPUT_PUBSUB ? 8ull << 20 : 64ull << 20);
        atomic_init(&l->output[class].soft_s, 60);
    }
    atomic_init(&l->failed_hold_ms, 1000);
    atomic_init(&l->clients_memory_max, 0);
    atomic_init(&l->held_max, 1ull << 20);
}

void net_log(const struct net *n, int level, const char *format, ...)
{
    char line[512];
    va_list args;
    if (!n->on_log_line)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    n->on_log_line(n->context, level, line);
}

struct net *net_running(void) { return atomic_load(&running); }

static void raise_file_limit(struct net *n)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)atomic_load(&n->limits->maxclients) + SPARE_FILES;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= wanted)
        return;
    uint32_t fits = limit.rlim_cur > SPARE_FILES + 32 ? (uint32_t)(limit.rlim_cur - SPARE_FILES) : 32;
    net_log(n, 3, "maxclients is lowered to %u: the process may open only %llu files", fits,
            (unsigned long long)limit.rlim_cur);
    atomic_store(&n->limits->maxclients, fits);
}

static void free_workers(struct net *n)
{
    for (unsigned i = 0; i < n->worker_count; i++)
        worker_free(n->workers[i]);
    listeners_leave(n->listeners);
    mem_free(n);
}

status net_start(const struct net_config *config, struct net **out, char *detail, size_t detail_size)
{
    hf_assert(config->limits && config->workers >= 1 && config->workers <= WORKERS_MAX && !net_running());
    struct net *n = mem_zalloc(sizeof(*n));
    exec_on_served = net_served;
    n->limits = config->limits;
    n->engine = config->engine;
    atomic_init(&n->default_durability, config->default_durability);
    n->on_log_line = config->on_log_line;
    n->context = config->context;
    raise_file_limit(n);
    n->listeners = mem_alloc(sizeof(*n->listeners));
    status s = listeners_open(n->listeners, config, NULL, detail, detail_size);
    if (s != HF_OK) {
        mem_free(n->listeners);
        mem_free(n);
        return s;
    }
    atomic_store(&n->listeners->users, 1);
    for (unsigned i = 0; i < config->workers && s == HF_OK; i++) {
        s = worker_new(n, i, &n->workers[i]);
        n->worker_count += s == HF_OK;
    }
    if (s != HF_OK) {
        snprintf(detail, detail_size, "cannot make an event loop (out of file descriptors?)");
        free_workers(n);
        return s;
    }
    *out = n; /* commands may look for it */
    atomic_store(&running, n);
    for (unsigned i = 0; i < n->worker_count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "hf-worker-%u", i % 100);
        n->threads[i] = thread_start(name, worker_main, n->workers[i]);
    }
    return HF_OK;
}

status net_listen(struct net *n, const struct net_config *config, char *detail, size_t detail_size)
{
    struct listeners *old = n->listeners, *fresh = mem_alloc(sizeof(*fresh));
    status s = listeners_open(fresh, config, old, detail, detail_size);
    if (s != HF_OK) {
        mem_free(fresh);
        return s;
    }
    atomic_store(&fresh->users, n->worker_count + 1);
    listeners_replace(old, fresh);
    n->listeners = fresh;
    listeners_leave(old);
    for (unsigned i = 0; i < n->worker_count; i++)
        wakefd_signal(n->workers[i]->inbox.wakefd);
    return HF_OK;
}

void net_set_durability(struct net *n, int durability)
{
    atomic_store_explicit(&n->default_durability, durability, memory_order_relaxed);
}

void net_set_tls(struct tls_context *context)
{
    struct tls_context *fresh = context ? tls_context_ref(context) : NULL;
    spin_lock(&tls.lock);
    struct tls_context *old = tls.context;
    tls.context = fresh;
    spin_unlock(&tls.lock);
    tls_context_unref(old);
}

struct tls_context *net_tls(void)
{
    spin_lock(&tls.lock);
    struct tls_context *context = tls.context ? tls_context_ref(tls.context) : NULL;
    spin_unlock(&tls.lock);
    return context;
}

void net_wake_workers(void *context)
{
    (void)context;
    atomic_fetch_add(&wakers, 1);
    struct net *n = atomic_load(&running);
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; n && i < n->worker_count; i++) {
        struct worker *w = n->workers[i];
        if (atomic_load_explicit(&w->wants_wake, memory_order_relaxed) && atomic_exchange(&w->wants_wake, false))
            wakefd_signal(w->inbox.wakefd);
    }
    atomic_fetch_sub(&wakers, 1);
}

void net_stop(struct net *n, unsigned drain_ms)
{
    atomic_store(&n->stop_at_us, OS.monotonic_us() + (uint64_t)drain_ms * 1000);
    atomic_store(&n->stopping, true);
    for (unsigned i = 0; i < n->worker_count; i++)
        wakefd_signal(n->workers[i]->inbox.wakefd);
    for (unsigned i = 0; i < n->worker_count; i++)
        thread_join(n->threads[i]);
    atomic_store(&running, NULL);
    while (atomic_load(&wakers))
        cpu_relax();
    /* Sockets handed to a worker that had already gone. */
    for (unsigned i = 0; i < n->worker_count; i++) {
        worker_step(n->workers[i], 0);
    }
    free_workers(n);
}

#ifdef HF_SIM
void net_forget(void)
{
    atomic_store(&running, NULL);
    atomic_store(&wakers, 0);
}
#endif

/* ---- totals ---- */

void net_sum(const struct net *n, struct net_stats *out)
{
    *out = (struct net_stats){0};
    for (unsigned i = 0; i < n->worker_count; i++) {
        const struct worker_stats *s = &n->workers[i]->stats;
        out->connections_received += atomic_load_explicit(&s->received, memory_order_relaxed);
        out->connections_rejected += atomic_load_explicit(&s->rejected, memory_order_relaxed);
        out->commands += atomic_load_explicit(&s->commands, memory_order_relaxed);
        out->bytes_in += atomic_load_explicit(&s->bytes_in, memory_order_relaxed);
        out->bytes_out += atomic_load_explicit(&s->bytes_out, memory_order_relaxed);
        out->replica_bytes_out += atomic_load_explicit(&s->replica_bytes_out, memory_order_relaxed);
        uint64_t reads = atomic_load_explicit(&s->reads, memory_order_relaxed);
        uint64_t writes = atomic_load_explicit(&s->writes, memory_order_relaxed);
        out->reads += reads;
        out->writes += writes;
        out->reads_aside += i ? reads : 0;
        out->writes_aside += i ? writes : 0;
        out->parks += atomic_load_explicit(&s->parks, memory_order_relaxed);
        out->protocol_errors += atomic_load_explicit(&s->protocol_errors, memory_order_relaxed);
        out->query_limit_closed += atomic_load_explicit(&s->query_closed, memory_order_relaxed);
        out->output_limit_closed += atomic_load_explicit(&s->output_closed, memory_order_relaxed);
        out->tls_refused += atomic_load_explicit(&s->tls_refused, memory_order_relaxed);
        out->idle_closed += atomic_load_explicit(&s->idle_closed, memory_order_relaxed);
        out->accept_errors += atomic_load_explicit(&s->accept_errors, memory_order_relaxed);
        out->clients_memory += atomic_load_explicit(&s->clients_memory, memory_order_relaxed);
        out->evicted += atomic_load_explicit(&s->evicted, memory_order_relaxed);
        out->waiting_now += atomic_load_explicit(&s->waiting_now, memory_order_relaxed);
        out->parked_now += atomic_load_explicit(&s->parked_now, memory_order_relaxed);
        out->gated_now += atomic_load_explicit(&s->gated_now, memory_order_relaxed);
        uint64_t step_us = atomic_load_explicit(&s->step_us_max, memory_order_relaxed);
        out->step_us_max = step_us > out->step_us_max ? step_us : out->step_us_max;
        out->paused_now += atomic_load_explicit(&s->paused_now, memory_order_relaxed);
    }
    out->connections_now = atomic_load(&n->connections);
}

void net_sample(struct net *n, uint64_t now_us)
{
    if (n->sample_us && now_us - n->sample_us < 900000)
        return;
    struct net_stats total;
    net_sum(n, &total);
    uint64_t passed = now_us - n->sample_us;
    if (n->sample_us) {
        atomic_store(&n->commands_per_second, (total.commands - n->sample_commands) * 1000000 / passed);
        atomic_store(&n->in_per_second, (total.bytes_in - n->sample_in) * 1000000 / passed);
        atomic_store(&n->out_per_second, (total.bytes_out - n->sample_out) * 1000000 / passed);
        atomic_store(&n->replica_out_per_second, (total.replica_bytes_out - n->sample_replica_out) * 1000000 / passed);
    }
    n->sample_us = now_us;
    n->sample_commands = total.commands;
    n->sample_in = total.bytes_in;
    n->sample_out = total.bytes_out;
    n->sample_replica_out = total.replica_bytes_out;
}

static struct spin zero_lock; /* guards net->zero */

void net_stats(struct net_stats *out)
{
    struct net *n = net_running();
    *out = (struct net_stats){0};
    if (!n)
        return;
    net_sum(n, out);
    spin_lock(&zero_lock);
    struct net_stats zero = n->zero;
    spin_unlock(&zero_lock);
    out->connections_received -= zero.connections_received;
    out->connections_rejected -= zero.connections_rejected;
    out->commands -= zero.commands;
    out->bytes_in -= zero.bytes_in;
    out->bytes_out -= zero.bytes_out;
    out->replica_bytes_out -= zero.replica_bytes_out;
    out->reads -= zero.reads;
    out->writes -= zero.writes;
    out->reads_aside -= zero.reads_aside;
    out->writes_aside -= zero.writes_aside;
    out->parks -= zero.parks;
    out->protocol_errors -= zero.protocol_errors;
    out->query_limit_closed -= zero.query_limit_closed;
    out->output_limit_closed -= zero.output_limit_closed;
    out->tls_refused -= zero.tls_refused;
    out->idle_closed -= zero.idle_closed;
    out->accept_errors -= zero.accept_errors;
    out->evicted -= zero.evicted;
    out->commands_per_second = atomic_load(&n->commands_per_second);
    out->bytes_in_per_second = atomic_load(&n->in_per_second);
    out->bytes_out_per_second = atomic_load(&n->out_per_second);
    out->replica_bytes_out_per_second = atomic_load(&n->replica_out_per_second);
}

void net_stats_reset(void)
{
    struct net *n = net_running();
    struct net_stats now;
    if (!n)
        return;
    net_sum(n, &now);
    spin_lock(&zero_lock);
    n->zero = now;
    spin_unlock(&zero_lock);
}
