/* memory.c -- MEMORY: what a key takes, where the memory of the server goes, and giving unused memory back. */
#include "base/memory.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/host.h"
#include "engine/engine.h"
#include "engine/keys.h"

#include <stdarg.h>
#include <stdio.h>

/* SAMPLES is checked and not needed: sizes here are exact. */
void cmd_memory_usage(struct call *c)
{
    struct key_info info;
    int64_t samples;
    for (size_t i = 3; i < c->argc; i += 2) {
        bool is_samples = bytes_is_word(c->argv[i], "SAMPLES") && i + 1 < c->argc;
        if (is_samples && !arg_int(c, i + 1, &samples))
            return;
        if (!is_samples || samples < 0) {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return;
        }
    }
    key_info(c->txn, call_key(c, 0), &info);
    if (info.found)
        reply_int(c->reply, (int64_t)(info.memory + info.index_memory));
    else
        reply_null(c->reply);
}

static void gather(struct call *c, struct engine_stats *stats, struct memory_facts *facts)
{
    *facts = (struct memory_facts){0};
    engine_stats(txn_engine(c->txn), c->txn, stats);
    if (host && host->memory_facts)
        host->memory_facts(stats, facts);
}

static void stat_int(struct call *c, const char *name, uint64_t value)
{
    reply_text(c->reply, name);
    reply_int(c->reply, (int64_t)value);
}

static double ratio(uint64_t a, uint64_t b) { return b ? (double)a / (double)b : 0; }

static void stat_ratio(struct call *c, const char *name, double value)
{
    reply_text(c->reply, name);
    c->reply->ops->dbl(c->reply, value);
}

/* Databases that have keys, read once: others change them meanwhile, and the reply begins with their number. */
struct db_stats { size_t count; struct { uint32_t db; struct db_memory memory; } *items; };

static void gather_databases(struct call *c, struct db_stats *out)
{
    struct engine *e = txn_engine(c->txn);
    uint32_t databases = engine_databases(e);
    *out = (struct db_stats){.items = arena_alloc(txn_arena(c->txn), databases * sizeof(*out->items))};
    for (uint32_t db = 0; db < databases; db++) {
        out->items[out->count].db = db;
        engine_db_memory(e, c->txn, db, &out->items[out->count].memory);
        out->count += out->items[out->count].memory.keys > 0;
    }
}

/* One index serves keys with and without a deadline, so the second figure is what the wheels take. */
static void stat_databases(struct call *c, const struct db_stats *databases)
{
    for (size_t i = 0; i < databases->count; i++) {
        const struct db_memory *m = &databases->items[i].memory;
        char name[24];
        snprintf(name, sizeof(name), "db.%u", databases->items[i].db);
        reply_text(c->reply, name);
        reply_map(c->reply, 3);
        stat_int(c, "overhead.hashtable.main", m->index);
        stat_int(c, "overhead.hashtable.expires", m->wheels);
        stat_int(c, "overhead.hashtable.slot-to-keys", 0);
    }
}

void cmd_memory_stats(struct call *c)
{
    struct engine_stats e;
    struct memory_facts f;
    struct db_stats databases;
    gather(c, &e, &f);
    gather_databases(c, &databases);
    uint64_t overhead = f.startup + e.index_memory + f.clients + f.backlog + f.scripts + f.functions;
    uint64_t data = e.used_memory > overhead ? e.used_memory - overhead : 0;
    uint64_t net = e.used_memory > f.startup ? e.used_memory - f.startup : 0;
    reply_map(c->reply, 27 + databases.count);
    stat_int(c, "peak.allocated", e.used_memory_peak);
    stat_int(c, "total.allocated", e.used_memory);
    stat_int(c, "startup.allocated", f.startup);
    stat_int(c, "replication.backlog", f.backlog);
    stat_int(c, "clients.slaves", f.replicas);
    stat_int(c, "clients.normal", f.clients - f.replicas);
    stat_int(c, "cluster.links", 0);
    stat_int(c, "aof.buffer", e.uncounted_memory);
    stat_int(c, "lua.caches", f.scripts);
    stat_int(c, "functions.caches", f.functions);
    stat_databases(c, &databases);
    stat_int(c, "overhead.total", overhead);
    stat_int(c, "keys.count", e.keys);
    stat_int(c, "keys.bytes-per-key", e.keys ? net / e.keys : 0);
    stat_int(c, "dataset.bytes", data);
    stat_ratio(c, "dataset.percentage", ratio(data, net) * 100);
    stat_ratio(c, "peak.percentage", ratio(e.used_memory, e.used_memory_peak) * 100);
    stat_int(c, "allocator.allocated", e.used_memory);
    stat_int(c, "allocator.active", f.active);
    stat_int(c, "allocator.resident", f.resident);
    stat_ratio(c, "allocator-fragmentation.ratio", ratio(f.active, e.used_memory));
    stat_int(c, "allocator-fragmentation.bytes", f.active - e.used_memory);
    stat_ratio(c, "allocator-rss.ratio", ratio(f.resident, f.active));
    stat_int(c, "allocator-rss.bytes", f.resident - f.active);
    stat_ratio(c, "rss-overhead.ratio", ratio(f.rss, f.resident));
    stat_int(c, "rss-overhead.bytes", f.rss - f.resident);
    stat_ratio(c, "fragmentation", ratio(f.rss, e.used_memory));
    stat_int(c, "fragmentation.bytes", f.rss - e.used_memory);
}

#define TEXT_MAX 2048
#define SMALL_SERVER (UINT64_C(5) << 20) /* below this the ratios say nothing */

static void say(char text[TEXT_MAX], const char *format, ...) HF_PRINTF(2, 3);
static void say(char text[TEXT_MAX], const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, TEXT_MAX - used, format, arguments);
    va_end(arguments);
}

void cmd_memory_doctor(struct call *c)
{
    struct engine_stats e;
    struct memory_facts f;
    char text[TEXT_MAX] = "";
    gather(c, &e, &f);
    double mb = 1 << 20;
    say(text, "%llu keys; %.1f MB are in use, %.1f MB of them for the index and %.1f MB for clients; the system gives the process %.1f MB.\n",
        (unsigned long long)e.keys, (double)e.used_memory / mb, (double)e.index_memory / mb, (double)f.clients / mb, (double)f.rss / mb);
    size_t plain = strlen(text);
    if (e.used_memory_peak > SMALL_SERVER && ratio(e.used_memory_peak, e.used_memory) > 1.5)
        say(text, "* Peak: %.1f MB were in use at one time, far more than now. What the allocator keeps of it is used again, or goes back to the "
            "system by itself; MEMORY PURGE does it at once.\n", (double)e.used_memory_peak / mb);
    if (e.used_memory > SMALL_SERVER && ratio(f.active, e.used_memory) > 1.4)
        say(text, "* Fragmentation: the pages in use hold %.1f MB for %.1f MB of data, as it happens when values change in size or many keys "
            "go. New values fill the gaps.\n", (double)f.active / mb, (double)e.used_memory / mb);
    if (e.used_memory > SMALL_SERVER && f.clients > e.used_memory / 4)
        say(text, "* Clients: their buffers take more than a quarter of all memory in use. CLIENT LIST shows tot-mem of each; "
            "maxmemory-clients and client-output-buffer-limit bound it.\n");
    if (e.freeing > 0)
        say(text, "* %llu entries that were removed are being freed in the background.\n", (unsigned long long)e.freeing);
    if (e.over_ms > 0)
        say(text, "* maxmemory: more is in use than allowed, since %llu ms.\n", (unsigned long long)e.over_ms);
    if (strlen(text) == plain)
        say(text, "Nothing is wrong with it.\n");
    c->reply->ops->verbatim(c->reply, "txt", bytes_str(text));
}

void cmd_memory_purge(struct call *c)
{
    mem_give_back();
    reply_ok(c->reply);
}

static void keep_text(void *context, const char *text)
{
    buf_append(context, text, strlen(text));
}

void cmd_memory_malloc_stats(struct call *c)
{
    struct buf text;
    buf_init(&text, SIZE_MAX);
    if (mem_allocator_report(keep_text, &text))
        c->reply->ops->verbatim(c->reply, "txt", buf_view(&text));
    else
        reply_text(c->reply, "Stats not supported for the current allocator");
    buf_release(&text);
}
