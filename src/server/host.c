/* host.c -- struct host filled: how commands reach settings, connections and the life
 * of the server.
 *
 * apply() is the one place where a LIVE setting becomes an effect; it runs at start for
 * every setting and after each CONFIG SET for the changed one.
 */
#include "cmd/acl.h"
#include "cmd/cluster.h"
#include "cmd/command.h"
#include "cmd/exec.h"
#include "cmd/host.h"
#include "cmd/feed.h"
#include "cmd/pubsub.h"
#include "cmd/replicas.h"
#include "cmd/slowlog.h"
#include "cmd/times.h"
#include "cmd/tracking.h"
#include "engine/strings.h"

#include "net/clients.h"
#include "os/os.h"
#include "script/libraries.h"
#include "proto/memcached/memcached.h"
#include "server/config.h"
#include "server/logline.h"
#include "server/server.h"
#include "server/start.h"
#include "server/tls_settings.h"
#include "types/hash.h"
#include "types/hyperloglog.h"
#include "types/set.h"
#include "types/stream.h"
#include "types/zset.h"


struct server server;

/* -- settings -- */

static void apply_output_limit(void)
{
    static const char *const classes[] = {[OUTPUT_NORMAL] = "normal", [OUTPUT_PUBSUB] = "pubsub", [OUTPUT_REPLICA] = "slave"};
    for (int class = OUTPUT_NORMAL; class <= OUTPUT_REPLICA; class++) {
        struct output_limit limit = config_output_limit(classes[class]);
        atomic_store(&server.limits.output[class].hard, limit.hard);
        atomic_store(&server.limits.output[class].soft, limit.soft);
        atomic_store(&server.limits.output[class].soft_s, (uint32_t)limit.soft_s);
    }
}

static void apply_notify(void)
{
    char text[CONFIG_TEXT_MAX];
    uint32_t flags = 0;
    size_t size = config_copy(SETTING_NOTIFY, text);
    if (server.engine && pubsub_notify_parse(bytes_of(text, size), &flags))
        pubsub_notify_set(server.engine, flags);
}

/* By the words of maxmemory-policy. */
static const uint32_t eviction_policies[] = {
    EVICT_LRU, EVICT_LFU, EVICT_RANDOM, EVICT_TTL,
    EVICT_ALL_KEYS | EVICT_LRU, EVICT_ALL_KEYS | EVICT_LFU, EVICT_ALL_KEYS | EVICT_RANDOM, 0,
};

static void apply_eviction(void)
{
    if (server.engine)
        engine_set_eviction(server.engine, eviction_policies[config_number(SETTING_MAXMEMORY_POLICY)],
                            (uint32_t)config_number(SETTING_MAXMEMORY_SAMPLES), (uint32_t)config_number(SETTING_LFU_LOG_FACTOR),
                            (uint32_t)config_number(SETTING_LFU_DECAY_TIME));
}

static void apply_cluster(void)
{
    char ip[CONFIG_TEXT_MAX], hostname[CONFIG_TEXT_MAX];
    int64_t port = config_number(SETTING_CLUSTER_ANNOUNCE_PORT), tls_port = config_number(SETTING_CLUSTER_ANNOUNCE_TLS_PORT);
    struct cluster_place place = {
        .ip = bytes_of(ip, config_copy(SETTING_CLUSTER_ANNOUNCE_IP, ip)),
        .hostname = bytes_of(hostname, config_copy(SETTING_CLUSTER_ANNOUNCE_HOSTNAME, hostname)),
        .port = (uint16_t)(port ? port : config_number(SETTING_PORT)),
        .tls_port = (uint16_t)(tls_port ? tls_port : config_number(SETTING_TLS_PORT)),
        .bus_port = (uint16_t)config_number(SETTING_CLUSTER_ANNOUNCE_BUS_PORT),
        .endpoint = (enum cluster_endpoint)config_number(SETTING_CLUSTER_PREFERRED_ENDPOINT_TYPE),
    };
    cluster_announce(&place);
}

static void apply_replicas(void)
{
    struct replica_settings *r = &replica_settings;
    atomic_store(&r->good_wanted, (uint32_t)config_number(SETTING_MIN_REPLICAS));
    atomic_store(&r->good_lag_s, (uint32_t)config_number(SETTING_MIN_REPLICAS_LAG));
    atomic_store(&r->timeout_s, (uint32_t)config_number(SETTING_REPL_TIMEOUT));
    atomic_store(&feed_settings.kept_bytes, (uint64_t)config_number(SETTING_REPL_BACKLOG));
    atomic_store(&feed_settings.kept_s, (uint64_t)config_number(SETTING_REPL_BACKLOG_TTL));
    atomic_store(&r->ping_period_s, (uint32_t)config_number(SETTING_REPL_PING_REPLICA_PERIOD));
    replicas_refresh();
}

static void apply(enum setting id)
{
    int64_t number = config_number(id);
    uint32_t small = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    struct log *log = server.engine ? engine_log(server.engine) : NULL;
    switch (id) {
    case SETTING_LOGLEVEL: logline_set_level((enum log_level)number); break;
    case SETTING_MAXCLIENTS: atomic_store(&server.limits.maxclients, small); break;
    case SETTING_TIMEOUT: atomic_store(&server.limits.timeout_s, small); break;
    case SETTING_TCP_KEEPALIVE: atomic_store(&server.limits.tcp_keepalive_s, small); break;
    case SETTING_AUTH_TIMEOUT: atomic_store(&server.limits.unauthenticated_s, small); break;
    case SETTING_PROTECTED_MODE: /* with a password nothing is left to protect from */
    case SETTING_REQUIREPASS:
        atomic_store(&server.limits.protected_mode,
                     config_number(SETTING_PROTECTED_MODE) != 0 && config_number(SETTING_REQUIREPASS) == 0);
        break;
    case SETTING_MEMCACHED_ITEM_MAX: atomic_store(&memcached_settings.item_size_max, (uint64_t)number); break;
    case SETTING_QUERY_BUFFER: atomic_store(&server.limits.query_buffer_max, (uint64_t)number); break;
    case SETTING_MIN_REPLICAS:
    case SETTING_MIN_REPLICAS_LAG:
    case SETTING_REPL_TIMEOUT:
    case SETTING_REPL_BACKLOG:
    case SETTING_REPL_BACKLOG_TTL:
    case SETTING_REPL_PING_REPLICA_PERIOD: apply_replicas(); break;
    case SETTING_APPENDFSYNC:
        if (server.net)
            net_set_durability(server.net, (int)config_number(SETTING_DURABILITY));
        break;
    case SETTING_BULK_MAX:
        atomic_store(&server.limits.bulk_max, (uint64_t)number);
        __atomic_store_n(&string_growth_max, (uint64_t)number < STRING_SIZE_MAX ? (uint64_t)number : STRING_SIZE_MAX, __ATOMIC_RELAXED);
        break;
    case SETTING_OUTPUT_LIMIT: apply_output_limit(); break;
    case SETTING_HASH_ENTRIES: __atomic_store_n(&hash_limits.packed_entries_max, small, __ATOMIC_RELAXED); break;
    case SETTING_HASH_VALUE: __atomic_store_n(&hash_limits.packed_value_max, small, __ATOMIC_RELAXED); break;
    case SETTING_HLL_SPARSE: __atomic_store_n(&hll_sparse_bytes_max, (uint64_t)number, __ATOMIC_RELAXED); break;
    case SETTING_ZSET_ENTRIES: __atomic_store_n(&zset_limits.packed_entries_max, small, __ATOMIC_RELAXED); break;
    case SETTING_ZSET_VALUE: __atomic_store_n(&zset_limits.packed_value_max, small, __ATOMIC_RELAXED); break;
    case SETTING_STREAM_BYTES: __atomic_store_n(&stream_limits.node_bytes_max, small, __ATOMIC_RELAXED); break;
    case SETTING_STREAM_ENTRIES: __atomic_store_n(&stream_limits.node_entries_max, small, __ATOMIC_RELAXED); break;
    case SETTING_SET_INTS: __atomic_store_n(&set_limits.ints_max, small, __ATOMIC_RELAXED); break;
    case SETTING_SET_ENTRIES: __atomic_store_n(&set_limits.packed_entries_max, small, __ATOMIC_RELAXED); break;
    case SETTING_SET_VALUE: __atomic_store_n(&set_limits.packed_value_max, small, __ATOMIC_RELAXED); break;
    case SETTING_SLOWLOG_SLOWER: slowlog_set_threshold(number); break;
    case SETTING_LATENCY_MONITOR: slowlog_set_latency((uint64_t)number); break;
    case SETTING_LATENCY_TRACKING: atomic_store(&times_on, number != 0); break;
    case SETTING_BUSY_REPLY: script_set_time_limit(number); break;
    case SETTING_SCRIPT_MEMORY: script_set_memory_limit((size_t)number); break;
    case SETTING_SLOWLOG_LEN: slowlog_set_length((uint64_t)number); break;
    case SETTING_NOTIFY: apply_notify(); break;
    case SETTING_PORT:
    case SETTING_TLS_PORT:
    case SETTING_CLUSTER_ANNOUNCE_TLS_PORT:
    case SETTING_CLUSTER_ANNOUNCE_IP:
    case SETTING_CLUSTER_ANNOUNCE_HOSTNAME:
    case SETTING_CLUSTER_PREFERRED_ENDPOINT_TYPE:
    case SETTING_CLUSTER_ANNOUNCE_PORT:
    case SETTING_CLUSTER_ANNOUNCE_BUS_PORT: apply_cluster(); break;
    case SETTING_ACL_PUBSUB: acl_set_all_channels(number == 0); break;
    case SETTING_ACLLOG_LEN: acl_log_set_length((uint64_t)number); break;
    case SETTING_TRACKING_MAX: tracking_set_keys_max((uint64_t)number); break;
    case SETTING_MAXMEMORY:
        if (server.engine)
            engine_set_maxmemory(server.engine, (uint64_t)number);
        break;
    case SETTING_MAXMEMORY_CLIENTS: atomic_store(&server.limits.clients_memory_max, number); break;
    case SETTING_MAXMEMORY_POLICY:
    case SETTING_MAXMEMORY_SAMPLES:
    case SETTING_LFU_LOG_FACTOR:
    case SETTING_LFU_DECAY_TIME: apply_eviction(); break;
    case SETTING_INTERVAL_MS:
        if (log)
            log_set_interval(log, small);
        break;
    default: break;
    }
}

void host_apply_engine(void)
{
    apply_notify();
    apply_eviction();
}

/* CONFIG SET: requirepass is a rule of the default user, which may have others by now. */
static void changed(enum setting id)
{
    char password[CONFIG_TEXT_MAX];
    apply(id);
    if (id != SETTING_REQUIREPASS)
        return;
    size_t size = config_copy(id, password);
    acl_set_default_password(bytes_of(password, size));
    explicit_bzero(password, sizeof(password));
}

void host_apply_settings(void)
{
    net_limits_init(&server.limits);
    for (int id = 0; id < SETTING_COUNT; id++)
        apply((enum setting)id);
    config_on_change(changed);
}

static bool debug_allowed(bool is_local)
{
    enum { NO, YES, LOCAL }; /* the words of the setting */
    int64_t allowed = config_number(SETTING_ENABLE_DEBUG);
    return allowed == YES || (allowed == LOCAL && is_local);
}

/* -- life -- */

static void reset_stats(void)
{
    net_stats_reset();
    info_reset();
    command_stats_reset();
    times_reset();
    acl_denied_reset();
    reply_error_counts_reset();
}

static status snapshot_start(void)
{
    return engine_snapshot_start(server.engine);
}

static bool snapshot_follow(void)
{
    bool scheduled;
    engine_snapshot_follow(server.engine, &scheduled);
    return scheduled;
}

static status snapshot_wait(void)
{
    return engine_snapshot_wait(server.engine);
}

static void log_line(int level, const char *line)
{
    logline_callback(NULL, level, line);
}

static uint64_t snapshot_last_s(void)
{
    uint64_t last_s = engine_snapshot_last_s(server.engine);
    return last_s ? last_s : server.started_s;
}

void host_bind(void)
{
    static const struct host filled = {
        .config_get = config_get_matching,
        .config_set = config_set_all,
        .config_rewrite = config_rewrite,
        .client_info = net_client_info,
        .client_list = net_client_list,
        .listener_list = net_listener_list,
        .client_kill = net_client_kill,
        .serve_aside = net_serve_aside,
        .aside_over = net_aside_over,
        .post = net_post,
        .transfer = conn_transfer,
        .client_worker = net_client_worker,
        .session_find = net_session_find,
        .log_line = log_line,
        .debug_allowed = debug_allowed,
        .client_unblock = net_client_unblock,
        .client_count = net_client_count,
        .users_changed = net_users_changed,
        .client_pause = net_client_pause,
        .info = info_write,
        .memory_facts = info_memory_facts,
        .reset_stats = reset_stats,
        .snapshot_start = snapshot_start,
        .snapshot_follow = snapshot_follow,
        .snapshot_wait = snapshot_wait,
        .snapshot_last_s = snapshot_last_s,
        .shutdown = stop_ask,
        .tls_refresh = tls_refresh,
        .tls_facts = tls_facts,
    };
    host = &filled;
}
