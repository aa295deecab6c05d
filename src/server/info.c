/* info.c -- INFO: a function per section, in the order of the table at the end.
 *
 * Tools parse these lines, so a field that Redis has and common tools read is here with
 * its Redis name: with the number it means, or with the constant that is true for
 * holdfast. rdb_* tells of snapshots, aof_* of the log. Fields of our own follow those of
 * Redis in their section.
 */
#include "base/memory.h"
#include "cmd/acl.h"
#include "cmd/cluster.h"
#include "cmd/command.h"
#include "cmd/feed.h"
#include "cmd/pubsub.h"
#include "cmd/replicas.h"
#include "cmd/times.h"
#include "cmd/tracking.h"
#include "net/stats.h"
#include "os/os.h"
#include "os/ticks.h"
#include "script/script.h"
#include "server/config.h"
#include "server/percentiles.h"
#include "server/server.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#define REDIS_VERSION "7.2.4" /* clients switch features on it */

struct facts { /* gathered once per INFO */
    struct engine_stats engine;
    struct keyspace keyspace;
    struct net_stats net;
    struct client_totals clients;
    struct log_stats log;
    struct tracking_totals tracking;
    bool logged;
    uint64_t rss, now_ms;
};

#define LINE(...) buf_printf(out, __VA_ARGS__)
#define UINT(name, value) buf_printf(out, name ":%llu\r\n", (unsigned long long)(value))

/* Counters that the engine only adds to: CONFIG RESETSTAT remembers where they stood. */
static pthread_mutex_t base_lock = PTHREAD_MUTEX_INITIALIZER;
static struct engine_counts base;

void info_reset(void)
{
    pthread_mutex_lock(&base_lock);
    engine_counts(server.engine, &base);
    replicas_reset_counts();
    pthread_mutex_unlock(&base_lock);
}

static uint64_t resident_bytes(void)
{
    char text[128] = "";
    unsigned long long pages = 0;
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t size = read(file, text, sizeof(text) - 1);
    close(file);
    if (size > 0)
        sscanf(text, "%*u %llu", &pages);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void gather(struct facts *f, struct txn *t)
{
    memset(f, 0, sizeof(*f));
    engine_stats(server.engine, t, &f->engine);
    engine_keyspace(server.engine, t, OS.wall_ms(), &f->keyspace);
    net_stats(&f->net);
    net_client_totals(&f->clients);
    tracking_count(&f->tracking);
    f->logged = engine_logged(server.engine);
    if (f->logged && engine_log(server.engine))
        log_stats(engine_log(server.engine), &f->log);
    f->rss = resident_bytes();
    f->now_ms = OS.wall_ms();
    pthread_mutex_lock(&base_lock);
    f->engine.counts.hits -= base.hits;
    f->engine.counts.misses -= base.misses;
    f->engine.counts.expired -= base.expired;
    f->engine.counts.evicted -= base.evicted;
    f->engine.counts.expired_fields -= base.expired_fields;
    f->engine.counts.freed -= base.freed;
    f->engine.counts.expire_ticks -= base.expire_ticks;
    f->engine.counts.expire_capped -= base.expire_capped;
    pthread_mutex_unlock(&base_lock);
}

static void size_line(struct buf *out, const char *name, uint64_t size)
{
    static const char units[] = "BKMGTP";
    double shown = (double)size;
    int unit = 0;
    for (; shown >= 1024 && unit < 5; unit++)
        shown /= 1024;
    LINE("%s:%llu\r\n", name, (unsigned long long)size);
    if (unit == 0)
        LINE("%s_human:%lluB\r\n", name, (unsigned long long)size);
    else
        LINE("%s_human:%.2f%c\r\n", name, shown, units[unit]);
}

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

static void write_listener(struct buf *out, unsigned *count, const char *name, enum setting port)
{
    char text[CONFIG_TEXT_MAX], *rest = NULL;
    if (!config_number(port))
        return;
    LINE("listener%u:name=%s", (*count)++, name);
    text[config_copy(SETTING_BIND, text)] = 0;
    for (const char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        LINE(",bind=%s", word);
    LINE(",port=%lld\r\n", (long long)config_number(port));
}

/* As 7.2 shows them, by what the settings say. */
static void write_listeners(struct buf *out)
{
    unsigned count = 0;
    const char *unix_path = config_text(SETTING_UNIXSOCKET);
    write_listener(out, &count, "tcp", SETTING_PORT);
    if (*unix_path)
        LINE("listener%u:name=unix,bind=%s\r\n", count++, unix_path);
    write_listener(out, &count, "tls", SETTING_TLS_PORT);
}

static void write_server(struct buf *out, const struct facts *f)
{
    struct utsname os;
    uint64_t uptime_s = (OS.monotonic_us() - server.started_us) / 1000000;
    uname(&os);
    LINE("redis_version:" REDIS_VERSION "\r\nserver_name:holdfast\r\nholdfast_version:" HF_VERSION "\r\n");
    LINE("redis_git_sha1:00000000\r\nredis_git_dirty:0\r\nredis_build_id:0\r\nredis_mode:%s\r\n", cluster_on ? "cluster" : "standalone");
    LINE("os:%s %s %s\r\narch_bits:%d\r\n", os.sysname, os.release, os.machine, (int)sizeof(void *) * 8);
    LINE("monotonic_clock:POSIX clock_gettime\r\nmultiplexing_api:epoll\r\natomicvar_api:c11-builtin\r\n");
    LINE("gcc_version:%s\r\nprocess_id:%d\r\nprocess_supervised:no\r\n", __VERSION__, (int)getpid());
    LINE("run_id:%s\r\ntcp_port:%lld\r\n", server.run_id,
         (long long)config_number(config_number(SETTING_PORT) ? SETTING_PORT : SETTING_TLS_PORT));
    UINT("server_time_usec", f->now_ms * 1000);
    UINT("uptime_in_seconds", uptime_s);
    UINT("uptime_in_days", uptime_s / 86400);
    LINE("hz:%lld\r\nconfigured_hz:%lld\r\n", (long long)config_number(SETTING_HZ), (long long)config_number(SETTING_HZ));
    UINT("lru_clock", f->now_ms / 1000 & 0xffffff);
    LINE("executable:%s\r\nconfig_file:%s\r\nio_threads_active:%d\r\n", server.executable, config_file(),
         server.workers > 1);
    write_listeners(out);
    LINE("workers:%u\r\n", server.workers);
}

static void write_clients(struct buf *out, const struct facts *f)
{
    UINT("connected_clients", f->net.connections_now - replicas_walk(NULL, NULL));
    LINE("cluster_connections:0\r\nmaxclients:%lld\r\n", (long long)config_number(SETTING_MAXCLIENTS));
    UINT("client_recent_max_input_buffer", f->clients.input_max);
    UINT("client_recent_max_output_buffer", f->clients.output_max);
    UINT("blocked_clients", f->net.waiting_now + f->net.paused_now);
    UINT("tracking_clients", f->tracking.clients);
    UINT("pubsub_clients", f->clients.listening);
    UINT("watching_clients", f->clients.watching);
    UINT("clients_in_timeout_table", f->clients.timed);
    UINT("total_blocking_keys", f->keyspace.awaited);
    UINT("total_blocking_keys_on_nokey", f->keyspace.awaited_any);
    UINT("lock_waiting_clients", f->net.parked_now);
    UINT("log_waiting_clients", f->net.gated_now);
}

/* Scripts and functions run in the same states; what these take stands under eval. */
static void write_script_memory(struct buf *out)
{
    uint64_t cached, cached_bytes, libraries, functions, library_bytes, states = script_memory();
    script_cache_stats(&cached, &cached_bytes);
    script_library_stats(&libraries, &functions, &library_bytes);
    size_line(out, "used_memory_lua", states);
    UINT("used_memory_vm_eval", states);
    UINT("used_memory_scripts_eval", cached_bytes);
    LINE("used_memory_vm_functions:0\r\n");
    size_line(out, "used_memory_vm_total", states);
    UINT("used_memory_functions", library_bytes);
    size_line(out, "used_memory_scripts", cached_bytes + library_bytes);
    UINT("number_of_cached_scripts", cached);
    UINT("number_of_functions", functions);
    UINT("number_of_libraries", libraries);
}

void info_memory_facts(const struct engine_stats *engine, struct memory_facts *out)
{
    struct net_stats net;
    struct mem_pages pages = mem_pages();
    struct client_totals clients;
    struct feed_kept kept;
    uint64_t count, functions;
    net_stats(&net);
    net_client_totals(&clients);
    feed_kept(&kept);
    *out = (struct memory_facts){.rss = resident_bytes(), .startup = server.started_memory, .clients = net.clients_memory,
                                 .replicas = clients.replicas_memory, .backlog = kept.size,
                                 .active = pages.active + engine->slab_memory, .resident = pages.resident + engine->held_memory};
    script_cache_stats(&count, &out->scripts);
    out->scripts += script_memory();
    script_library_stats(&count, &functions, &out->functions);
}

static void ratio_lines(struct buf *out, const char *name, uint64_t more, uint64_t less)
{
    LINE("%s_ratio:%.2f\r\n%s_bytes:%lld\r\n", name, ratio(more, less), name, (long long)(more - less));
}

static void write_memory(struct buf *out, const struct facts *f)
{
    struct memory_facts m;
    info_memory_facts(&f->engine, &m);
    uint64_t used = f->engine.used_memory, peak = f->engine.used_memory_peak > used ? f->engine.used_memory_peak : used;
    uint64_t overhead = m.startup + f->engine.index_memory + m.clients + m.backlog + m.scripts + m.functions;
    uint64_t data = used > overhead ? used - overhead : 0, fresh = used > m.startup ? used - m.startup : 0;
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    size_line(out, "used_memory", used);
    size_line(out, "used_memory_rss", f->rss);
    size_line(out, "used_memory_peak", peak);
    LINE("used_memory_peak_perc:%.2f%%\r\n", ratio(used, peak) * 100);
    UINT("used_memory_overhead", overhead);
    UINT("used_memory_startup", m.startup);
    UINT("used_memory_dataset", data);
    LINE("used_memory_dataset_perc:%.2f%%\r\n", ratio(data, fresh) * 100);
    UINT("allocator_allocated", used);
    UINT("allocator_active", m.active);
    UINT("allocator_resident", m.resident);
    size_line(out, "total_system_memory", machine);
    write_script_memory(out);
    size_line(out, "maxmemory", (uint64_t)config_number(SETTING_MAXMEMORY));
    LINE("maxmemory_policy:%s\r\n", config_word(SETTING_MAXMEMORY_POLICY));
    ratio_lines(out, "allocator_frag", m.active, used);
    ratio_lines(out, "allocator_rss", m.resident, m.active);
    ratio_lines(out, "rss_overhead", f->rss, m.resident);
    LINE("mem_fragmentation_ratio:%.2f\r\n", ratio(f->rss, used));
    LINE("mem_fragmentation_bytes:%lld\r\n", (long long)(f->rss - used));
    UINT("mem_not_counted_for_evict", f->engine.uncounted_memory);
    UINT("mem_replication_backlog", m.backlog);
    UINT("mem_total_replication_buffers", m.backlog + m.replicas);
    UINT("mem_clients_slaves", m.replicas);
    LINE("mem_cluster_links:0\r\nmem_allocator:holdfast-slab\r\nactive_defrag_running:0\r\n");
    UINT("mem_clients_normal", m.clients - m.replicas);
    UINT("mem_aof_buffer", f->engine.uncounted_memory);
    UINT("lazyfree_pending_objects", f->engine.freeing);
    UINT("lazyfreed_objects", f->engine.counts.freed);
    UINT("lazyfree_slices", f->engine.free_slices);
    UINT("lazyfree_slice_bytes_max", f->engine.free_slice_max);
    UINT("used_memory_index", f->engine.index_memory);
}

static void write_log(struct buf *out, const struct facts *f)
{
    struct log *log = f->logged ? engine_log(server.engine) : NULL;
    enum log_state state = log ? log_state(log) : LOG_OK;
    uint64_t written = log ? log_written(log) : 0, tail = log ? log_tail(log) : 0, waiting = tail > written ? tail - written : 0;
    LINE("aof_last_write_status:%s\r\naof_last_cow_size:0\r\n", state == LOG_OK ? "ok" : "err");
    LINE("module_fork_in_progress:0\r\nmodule_fork_last_cow_size:0\r\n");
    if (f->logged) {
        UINT("aof_current_size", f->log.disk_bytes);
        LINE("aof_base_size:0\r\naof_pending_rewrite:0\r\n");
        UINT("aof_buffer_length", waiting);
        LINE("aof_pending_bio_fsync:%d\r\naof_delayed_fsync:0\r\n", f->log.durable_lag_bytes > 0);
    }
    LINE("durability:%s\r\n", f->logged ? config_word(SETTING_DURABILITY) : "none");
    LINE("io_state:%s\r\n", state == LOG_OK ? "ok" : state == LOG_FULL ? "full" : "broken");
    UINT("wal_durable_lag_ms", f->log.durable_lag_ms);
    UINT("wal_durable_lag_bytes", f->log.durable_lag_bytes);
    UINT("wal_bytes_written", f->log.bytes_written);
    UINT("wal_disk_bytes", f->log.disk_bytes);
    UINT("wal_records", f->log.records);
    UINT("wal_groups", f->log.groups);
    UINT("wal_fsyncs", f->log.fsyncs);
    UINT("wal_fsync_usec_last", f->log.fsync_us_last);
    UINT("wal_fsync_usec_max", f->log.fsync_us_max);
    UINT("wal_io_errors", f->log.io_errors);
    LINE("group_commit_batch_avg:%.2f\r\n", ratio(f->log.records, f->log.groups));
    UINT("recovery_ms", f->engine.recovery_ms);
    UINT("recovered_keys", f->engine.recovered_keys);
    UINT("recovered_records", f->engine.recovered_records);
}

static void write_persistence(struct buf *out, const struct facts *f)
{
    const struct engine_stats *e = &f->engine;
    LINE("loading:0\r\nasync_loading:0\r\ncurrent_cow_peak:0\r\ncurrent_cow_size:0\r\ncurrent_cow_size_age:0\r\n");
    LINE("current_fork_perc:0.00\r\ncurrent_save_keys_processed:%llu\r\ncurrent_save_keys_total:%llu\r\n",
         (unsigned long long)(e->snapshot_running ? e->snapshot_progress * (double)e->keys : 0),
         (unsigned long long)(e->snapshot_running ? e->keys : 0));
    UINT("rdb_changes_since_last_save", e->changes_since_snapshot);
    LINE("rdb_bgsave_in_progress:%d\r\n", e->snapshot_running);
    UINT("rdb_last_save_time", e->snapshot_last_s ? e->snapshot_last_s : server.started_s);
    LINE("rdb_last_bgsave_status:%s\r\n", e->snapshot_last_failed ? "err" : "ok");
    LINE("rdb_last_bgsave_time_sec:%lld\r\n", e->snapshot_last_s ? (long long)e->snapshot_last_duration_ms / 1000 : -1LL);
    LINE("rdb_current_bgsave_time_sec:%lld\r\n", e->snapshot_running ? (long long)e->snapshot_running_ms / 1000 : -1LL);
    UINT("rdb_saves", e->snapshots);
    LINE("rdb_last_cow_size:0\r\nrdb_last_load_keys_expired:0\r\n");
    UINT("rdb_last_load_keys_loaded", e->recovered_keys);
    UINT("rdb_last_save_bytes", e->snapshot_last_bytes);
    UINT("snapshot_hold_bytes_max", e->snapshot_hold_bytes_max);
    LINE("aof_enabled:%d\r\naof_rewrite_in_progress:%d\r\n", f->logged, e->snapshot_running);
    LINE("aof_rewrite_scheduled:%d\r\n", e->snapshot_follows);
    LINE("aof_last_rewrite_time_sec:-1\r\naof_current_rewrite_time_sec:-1\r\naof_last_bgrewrite_status:ok\r\n"
         "aof_rewrites:0\r\naof_rewrites_consecutive_failures:0\r\n");
    write_log(out, f);
}

static uint64_t calls_of(const char *name)
{
    const struct command *row = command_find(bytes_str(name));
    uint64_t calls = 0, ticks;
    if (row)
        times_counts(row, &calls, &ticks);
    return calls;
}

static void write_stats(struct buf *out, const struct facts *f)
{
    const struct net_stats *n = &f->net;
    struct error_count errors[ERROR_WORDS_MAX];
    uint64_t error_total;
    UINT("total_connections_received", n->connections_received);
    UINT("total_commands_processed", n->commands);
    UINT("instantaneous_ops_per_sec", n->commands_per_second);
    UINT("total_net_input_bytes", n->bytes_in);
    UINT("total_net_output_bytes", n->bytes_out);
    LINE("total_net_repl_input_bytes:0\r\n");
    UINT("total_net_repl_output_bytes", n->replica_bytes_out);
    LINE("instantaneous_input_kbps:%.2f\r\ninstantaneous_output_kbps:%.2f\r\n", (double)n->bytes_in_per_second / 1024,
         (double)n->bytes_out_per_second / 1024);
    LINE("instantaneous_input_repl_kbps:0.00\r\ninstantaneous_output_repl_kbps:%.2f\r\n", (double)n->replica_bytes_out_per_second / 1024);
    UINT("rejected_connections", n->connections_rejected);
    UINT("sync_full", replicas_counts.full);
    UINT("sync_partial_ok", replicas_counts.continued);
    UINT("sync_partial_err", replicas_counts.refused);
    UINT("expired_keys", f->engine.counts.expired);
    UINT("expired_subkeys", f->engine.counts.expired_fields);
    LINE("expired_stale_perc:%.2f\r\n", f->keyspace.stale_percent);
    UINT("expired_time_cap_reached_count", f->engine.counts.expire_capped);
    UINT("expire_cycle_cpu_milliseconds", ticks_to_us(f->engine.counts.expire_ticks) / 1000);
    UINT("evicted_keys", f->engine.counts.evicted);
    UINT("evicted_clients", n->evicted);
    UINT("total_eviction_exceeded_time", f->engine.over_total_ms);
    UINT("current_eviction_exceeded_time", f->engine.over_ms);
    UINT("keyspace_hits", f->engine.counts.hits);
    UINT("keyspace_misses", f->engine.counts.misses);
    UINT("pubsub_channels", pubsub_topics(TOPIC_CHANNEL));
    UINT("pubsub_patterns", pubsub_topics(TOPIC_PATTERN));
    UINT("pubsubshard_channels", pubsub_topics(TOPIC_SHARD));
    LINE("latest_fork_usec:0\r\ntotal_forks:0\r\n"
         "migrate_cached_sockets:0\r\nslave_expires_tracked_keys:0\r\nactive_defrag_hits:0\r\nactive_defrag_misses:0\r\n"
         "active_defrag_key_hits:0\r\nactive_defrag_key_misses:0\r\ntotal_active_defrag_time:0\r\n"
         "current_active_defrag_time:0\r\n");
    UINT("tracking_total_keys", f->tracking.keys);
    UINT("tracking_total_items", f->tracking.items);
    UINT("tracking_total_prefixes", f->tracking.prefixes);
    LINE("unexpected_error_replies:0\r\n");
    reply_error_counts(errors, &error_total);
    UINT("total_error_replies", error_total);
    UINT("dump_payload_sanitizations", calls_of("RESTORE"));
    UINT("total_reads_processed", n->reads);
    UINT("total_writes_processed", n->writes);
    UINT("io_threaded_reads_processed", n->reads_aside);
    UINT("io_threaded_writes_processed", n->writes_aside);
    LINE("reply_buffer_shrinks:0\r\nreply_buffer_expands:0\r\n");
    UINT("client_query_buffer_limit_disconnections", n->query_limit_closed);
    UINT("client_output_buffer_limit_disconnections", n->output_limit_closed);
    UINT("acl_access_denied_auth", acl_denied_count(ACL_DENIED_AUTH));
    UINT("acl_access_denied_cmd", acl_denied_count(ACL_DENIED_COMMAND));
    UINT("acl_access_denied_key", acl_denied_count(ACL_DENIED_KEY));
    UINT("acl_access_denied_channel", acl_denied_count(ACL_DENIED_CHANNEL));
    UINT("idle_disconnections", n->idle_closed);
    UINT("protocol_errors", n->protocol_errors);
    UINT("accept_errors", n->accept_errors);
    UINT("lock_waits", n->parks);
    UINT("worker_step_usec_max", n->step_us_max);
}

struct replica_lines { struct buf *out; unsigned count; };

static void replica_line(void *context, const struct replica_facts *f)
{
    struct replica_lines *lines = context;
    struct buf *out = lines->out;
    LINE("slave%u:ip=%s,port=%u,state=%s,offset=%llu,lag=%llu\r\n", lines->count++, f->ip, f->port, f->online ? "online" : "send_bulk",
         (unsigned long long)f->acked, (unsigned long long)f->lag_s);
}

static void write_replication(struct buf *out, const struct facts *f)
{
    (void)f;
    struct buf text;
    buf_init(&text, SIZE_MAX);
    struct replica_lines lines = {.out = &text};
    replicas_walk(replica_line, &lines);
    LINE("role:master\r\nconnected_slaves:%u\r\n", lines.count);
    buf_append_bytes(out, buf_view(&text));
    buf_release(&text);
    LINE("master_failover_state:no-failover\r\n");
    LINE("master_replid:%s\r\nmaster_replid2:0000000000000000000000000000000000000000\r\n", server.replication_id);
    UINT("master_repl_offset", feed_offset());
    struct feed_kept kept;
    feed_kept(&kept);
    LINE("second_repl_offset:-1\r\nrepl_backlog_active:%d\r\nrepl_backlog_size:%lld\r\n", kept.size != 0,
         (long long)config_number(SETTING_REPL_BACKLOG));
    UINT("repl_backlog_first_byte_offset", kept.first);
    UINT("repl_backlog_histlen", kept.count);
}

static void write_cpu(struct buf *out, const struct facts *f)
{
    (void)f;
    struct rusage self;
    getrusage(RUSAGE_SELF, &self);
    LINE("used_cpu_sys:%ld.%06ld\r\n", (long)self.ru_stime.tv_sec, (long)self.ru_stime.tv_usec);
    LINE("used_cpu_user:%ld.%06ld\r\n", (long)self.ru_utime.tv_sec, (long)self.ru_utime.tv_usec);
    LINE("used_cpu_sys_children:0.000000\r\nused_cpu_user_children:0.000000\r\n");
    /* Redis' main thread runs the commands: here all workers do, so this is the whole process again. */
    LINE("used_cpu_sys_main_thread:%ld.%06ld\r\n", (long)self.ru_stime.tv_sec, (long)self.ru_stime.tv_usec);
    LINE("used_cpu_user_main_thread:%ld.%06ld\r\n", (long)self.ru_utime.tv_sec, (long)self.ru_utime.tv_usec);
}

static void command_line(struct buf *out, const struct command *row)
{
    if (!row->stats || !row->full_name)
        return;
    uint64_t calls, ticks, failed = row->stats->failed, rejected = row->stats->rejected;
    times_counts(row, &calls, &ticks);
    uint64_t usec = ticks_to_us(ticks);
    if (!calls && !failed && !rejected)
        return;
    LINE("cmdstat_%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,failed_calls=%llu\r\n",
         row->full_name, (unsigned long long)calls, (unsigned long long)usec, ratio(usec, calls),
         (unsigned long long)rejected, (unsigned long long)failed);
}

static void write_commandstats(struct buf *out, const struct facts *f)
{
    (void)f;
    for (struct command_walk w = {0}; command_next(&w);)
        command_line(out, w.row);
}

static void write_errorstats(struct buf *out, const struct facts *f)
{
    struct error_count errors[ERROR_WORDS_MAX];
    uint64_t total;
    (void)f;
    size_t count = reply_error_counts(errors, &total);
    for (size_t i = 0; i < count; i++)
        LINE("errorstat_%s:count=%llu\r\n", errors[i].word, (unsigned long long)errors[i].count);
}

static void write_nothing(struct buf *out, const struct facts *f)
{
    (void)out;
    (void)f;
}

static void write_latencystats(struct buf *out, const struct facts *f)
{
    (void)f;
    info_latencystats(out);
}

static void write_cluster(struct buf *out, const struct facts *f)
{
    (void)f;
    LINE("cluster_enabled:%d\r\n", cluster_on);
}

static void write_keyspace(struct buf *out, const struct facts *f)
{
    for (uint32_t db = 0; db < engine_databases(server.engine); db++) {
        const struct db_counts *d = &f->keyspace.databases[db];
        if (d->keys)
            LINE("db%u:keys=%llu,expires=%llu,avg_ttl=%llu\r\n", db, (unsigned long long)d->keys, (unsigned long long)d->with_deadline,
                 (unsigned long long)d->ttl_ms_avg);
    }
}

static const struct section {
    const char *name, *title;
    bool is_default;
    void (*write)(struct buf *out, const struct facts *f);
} sections[] = {
    {"server", "Server", true, write_server},
    {"clients", "Clients", true, write_clients},
    {"memory", "Memory", true, write_memory},
    {"persistence", "Persistence", true, write_persistence},
    {"stats", "Stats", true, write_stats},
    {"replication", "Replication", true, write_replication},
    {"cpu", "CPU", true, write_cpu},
    {"modules", "Modules", true, write_nothing},
    {"commandstats", "Commandstats", false, write_commandstats},
    {"errorstats", "Errorstats", true, write_errorstats},
    {"latencystats", "Latencystats", false, write_latencystats},
    {"cluster", "Cluster", true, write_cluster},
    {"keyspace", "Keyspace", true, write_keyspace},
};

static bool is_wanted(const struct section *s, const bytes *names, size_t count)
{
    if (count == 0)
        return s->is_default;
    for (size_t i = 0; i < count; i++) {
        if (bytes_is_word(names[i], s->name) || bytes_is_word(names[i], "all") || bytes_is_word(names[i], "everything") ||
            (bytes_is_word(names[i], "default") && s->is_default))
            return true;
    }
    return false;
}

void info_write(struct txn *t, const bytes *names, size_t count, struct buf *out)
{
    struct facts f;
    gather(&f, t);
    bool first = true;
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        if (!is_wanted(&sections[i], names, count))
            continue;
        LINE("%s# %s\r\n", first ? "" : "\r\n", sections[i].title);
        sections[i].write(out, &f);
        first = false;
    }
    keyspace_release(&f.keyspace);
}
