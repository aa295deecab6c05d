/* stats.c -- numbers under memcached's names. Where memcached counts slabs, holdfast has one class, 1: all items. */
#include "proto/memcached/stats.h"

#include "base/number.h"
#include "cmd/acl.h"
#include "engine/keys.h"
#include "proto/memcached/memcached.h"
#include "proto/memcached/prefix.h"
#include "proto/memcached/storage.h"
#include "proto/memcached/watch.h"

#include <stdio.h>
#include <unistd.h>

struct writer {
    struct call *call;
    stat_put *put;
    struct buf info; /* what INFO says, for numbers that other layers keep */
    struct memcached_counts counts;
};

static void put_text(struct writer *w, const char *name, bytes value) { w->put(w->call, bytes_str(name), value); }

static void put_number(struct writer *w, const char *name, uint64_t value)
{
    char text[NUMBER_TEXT_MAX];
    put_text(w, name, bytes_of(text, number_format_uint(text, value)));
}

/* The value behind "field:" in INFO; empty: there is none. */
static bytes info_of(const struct writer *w, const char *field)
{
    size_t size = strlen(field);
    const uint8_t *at = w->info.data, *end = at + w->info.size;
    while (at < end) {
        const uint8_t *line_end = memchr(at, '\r', (size_t)(end - at));
        line_end = line_end ? line_end : end;
        if ((size_t)(line_end - at) > size && memcmp(at, field, size) == 0 && at[size] == ':')
            return bytes_of(at + size + 1, (size_t)(line_end - at) - size - 1);
        at = line_end + 2;
    }
    return (bytes){0};
}

static void put_info(struct writer *w, const char *name, const char *field)
{
    bytes value = info_of(w, field);
    put_text(w, name, value.size ? value : BYTES("0"));
}

struct setting { char value[512]; size_t size; };

static void keep_setting(void *context, bytes name, bytes value)
{
    struct setting *s = context;
    (void)name;
    s->size = value.size < sizeof(s->value) ? value.size : sizeof(s->value);
    memcpy(s->value, value.data, s->size);
}

static void put_setting(struct writer *w, const char *name, const char *setting)
{
    struct setting s = {.size = 0};
    host->config_get(bytes_str(setting), keep_setting, &s);
    put_text(w, name, s.size ? bytes_of(s.value, s.size) : BYTES("0"));
}

static void put_items(struct writer *w)
{
    uint64_t keys = db_size(w->call->txn, w->call->session->db);
    put_number(w, "curr_items", keys);
    put_number(w, "total_items", w->counts.total_items);
}

static void put_watching(struct writer *w)
{
    struct watch_counts counts;
    watch_counts(&counts);
    put_number(w, "log_worker_dropped", counts.dropped);
    put_number(w, "log_worker_written", counts.written);
    put_number(w, "log_watcher_skipped", counts.skipped);
    put_number(w, "log_watcher_sent", counts.sent);
    put_number(w, "log_watchers", counts.watchers);
}

static void put_counts(struct writer *w)
{
#define PUT(name) put_number(w, #name, w->counts.name)
    PUT(cmd_get); PUT(cmd_set); PUT(cmd_flush); PUT(cmd_touch); PUT(cmd_meta);
    PUT(get_hits); PUT(get_misses); PUT(get_expired);
    PUT(delete_misses); PUT(delete_hits); PUT(incr_misses); PUT(incr_hits); PUT(decr_misses); PUT(decr_hits);
    PUT(cas_misses); PUT(cas_hits); PUT(cas_badval); PUT(touch_hits); PUT(touch_misses); PUT(store_too_large);
    PUT(store_no_memory); PUT(auth_cmds); PUT(auth_errors);
#undef PUT
}

static void put_certificates(struct writer *w)
{
    uint64_t refused, age_s;
    if (!host->tls_facts || !host->tls_facts(&refused, &age_s))
        return;
    put_number(w, "ssl_handshake_errors", refused);
    put_number(w, "time_since_server_cert_refresh", age_s);
}

/* In the order of memcached. */
static void general(struct writer *w)
{
    put_number(w, "pid", (uint64_t)getpid());
    put_info(w, "uptime", "uptime_in_seconds");
    put_number(w, "time", txn_now_ms(w->call->txn) / 1000);
    put_text(w, "version", BYTES(MEMCACHED_VERSION));
    put_number(w, "pointer_size", 8 * sizeof(void *));
    put_info(w, "rusage_user", "used_cpu_user");
    put_info(w, "rusage_system", "used_cpu_sys");
    put_setting(w, "max_connections", "maxclients");
    put_info(w, "curr_connections", "connected_clients");
    put_info(w, "total_connections", "total_connections_received");
    put_info(w, "rejected_connections", "rejected_connections");
    put_counts(w);
    put_info(w, "idle_kicks", "idle_disconnections");
    put_info(w, "bytes_read", "total_net_input_bytes");
    put_info(w, "bytes_written", "total_net_output_bytes");
    put_setting(w, "limit_maxbytes", "maxmemory");
    put_number(w, "accepting_conns", 1);
    put_setting(w, "threads", "workers");
    put_certificates(w);
    put_watching(w);
    put_info(w, "bytes", "used_memory");
    put_items(w);
    put_info(w, "evictions", "evicted_keys");
    put_info(w, "reclaimed", "expired_keys");
}

/* What verbosity has set, or CONFIG SET loglevel. */
static uint64_t verbosity(void)
{
    struct setting s = {.size = 0};
    host->config_get(BYTES("loglevel"), keep_setting, &s);
    bytes level = bytes_of(s.value, s.size);
    return bytes_equal(level, BYTES("debug")) ? 2 : bytes_equal(level, BYTES("verbose")) ? 1 : 0;
}

static void put_switch(struct writer *w, const char *name, bool on, const char *yes, const char *no)
{
    put_text(w, name, bytes_str(on ? yes : no));
}

static bool evicts(void)
{
    struct setting s = {.size = 0};
    host->config_get(BYTES("maxmemory-policy"), keep_setting, &s);
    return !bytes_equal(bytes_of(s.value, s.size), BYTES("noeviction"));
}

static bytes setting_of(const char *name, struct setting *s)
{
    s->size = 0;
    host->config_get(bytes_str(name), keep_setting, s);
    return bytes_of(s->value, s->size);
}

static void put_path(struct writer *w, const char *name, const char *setting, const char *none)
{
    struct setting s;
    bytes value = setting_of(setting, &s);
    put_text(w, name, value.size ? value : bytes_str(none));
}

/* The numbers of ssl_verify_mode: none, request, require. */
static uint64_t verify_mode(void)
{
    struct setting s;
    bytes word = setting_of("tls-auth-clients", &s);
    return bytes_equal(word, BYTES("no")) ? 0 : bytes_equal(word, BYTES("yes")) ? 2 : 1;
}

/* The oldest of tls-protocols: its words are in no order, and "TLSv1" begins the others. */
static const char *min_version(void)
{
    static const struct { const char *word, *shown; } versions[] = {{"TLSv1", "tlsv1.0"}, {"TLSv1.1", "tlsv1.1"}, {"TLSv1.2", "tlsv1.2"}, {"TLSv1.3", "tlsv1.3"}};
    struct setting s;
    bytes all = setting_of("tls-protocols", &s);
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        for (size_t at = 0, size; at < all.size; at += size + 1) {
            const uint8_t *space = memchr(all.data + at, ' ', all.size - at);
            size = space ? (size_t)(space - all.data) - at : all.size - at;
            if (bytes_is_word(bytes_of(all.data + at, size), versions[i].word))
                return versions[i].shown;
        }
    }
    return "tlsv1.2";
}

/* What says how clients are served over TLS stands also without memcached-tls-port; memcached has no such state. */
static void put_tls(struct writer *w)
{
    struct setting s;
    bool on = !bytes_equal(setting_of("memcached-tls-port", &s), BYTES("0"));
    put_switch(w, "ssl_enabled", on, "yes", "no");
    put_path(w, "ssl_chain_cert", "tls-cert-file", "(null)");
    put_path(w, "ssl_key", "tls-key-file", "(null)");
    put_number(w, "ssl_verify_mode", on ? verify_mode() : 0);
    put_number(w, "ssl_keyformat", 1); /* PEM */
    put_path(w, "ssl_ciphers", "tls-ciphers", "NULL");
    put_path(w, "ssl_ca_cert", "tls-ca-cert-file", "NULL");
    put_number(w, "ssl_wbuf_size", 16384);
    put_switch(w, "ssl_session_cache", on && bytes_equal(setting_of("tls-session-caching", &s), BYTES("yes")), "yes", "no");
    put_text(w, "ssl_kernel_tls", BYTES("no"));
    put_text(w, "ssl_min_version", bytes_str(min_version()));
}

/* Those of memcached's settings that mean something here, with what holds here. */
static void settings(struct writer *w)
{
    put_setting(w, "maxbytes", "maxmemory");
    put_setting(w, "maxconns", "maxclients");
    put_setting(w, "tcpport", "memcached-port");
    put_number(w, "udpport", 0);
    put_setting(w, "inter", "bind");
    put_number(w, "verbosity", verbosity());
    put_switch(w, "evictions", evicts(), "on", "off");
    put_text(w, "domain_socket", BYTES("NULL")); /* the one of Redis' clients speaks no memcached */
    put_text(w, "shutdown_command", BYTES("no"));
    put_setting(w, "num_threads", "workers");
    put_text(w, "stat_key_prefix", BYTES(":"));
    put_switch(w, "detail_enabled", memcached_observes(COUNT_PREFIXES), "yes", "no");
    put_text(w, "cas_enabled", BYTES("yes"));
    put_setting(w, "tcp_backlog", "tcp-backlog");
    put_text(w, "binding_protocol", BYTES("auto-negotiate"));
    put_text(w, "auth_enabled_sasl", BYTES("yes"));
    put_switch(w, "auth_enabled_ascii", !acl_is_open(), "yes", "no"); /* whether it is asked for */
    put_number(w, "item_size_max", atomic_load(&memcached_settings.item_size_max));
    put_text(w, "maxconns_fast", BYTES("yes"));
    put_text(w, "flush_enabled", BYTES("yes"));
    put_text(w, "dump_enabled", BYTES("yes"));
    put_setting(w, "idle_timeout", "timeout");
    put_number(w, "watcher_logbuf_size", WATCH_KEPT_MAX);
    put_number(w, "worker_logbuf_size", WATCH_QUEUED_MAX);
    put_text(w, "track_sizes", BYTES("no"));
    put_tls(w);
}

static void items(struct writer *w)
{
    uint64_t keys = db_size(w->call->txn, w->call->session->db);
    if (keys == 0)
        return;
    put_number(w, "items:1:number", keys);
    put_info(w, "items:1:evicted", "evicted_keys");
    put_number(w, "items:1:outofmemory", 0);
}

static void slabs(struct writer *w)
{
    uint64_t keys = db_size(w->call->txn, w->call->session->db);
    if (keys) {
        put_number(w, "1:used_chunks", keys);
#define PUT(name) put_number(w, "1:" #name, w->counts.name)
        PUT(get_hits); PUT(cmd_set); PUT(delete_hits); PUT(incr_hits); PUT(decr_hits); PUT(cas_hits); PUT(cas_badval); PUT(touch_hits);
#undef PUT
    }
    put_number(w, "active_slabs", keys > 0);
    put_info(w, "total_malloced", "used_memory");
}

/* Nobody counts the sizes of items. */
static void sizes(struct writer *w) { put_text(w, "sizes_status", BYTES("disabled")); }

static void sizes_enable(struct writer *w)
{
    put_text(w, "sizes_status", BYTES("error"));
    put_text(w, "sizes_error", BYTES("not_supported"));
}

/* A word of a line of CLIENT LIST, "addr=1.2.3.4:5". */
static bytes word_of(bytes line, const char *name)
{
    size_t size = strlen(name);
    for (size_t at = 0; at + size < line.size; at++) {
        if ((at && line.data[at - 1] != ' ') || memcmp(line.data + at, name, size) != 0)
            continue;
        size_t end = at + size;
        while (end < line.size && line.data[end] != ' ')
            end++;
        return bytes_of(line.data + at + size, end - at - size);
    }
    return (bytes){0};
}

/* A line's word idle=, or else the seconds since the server started. */
static bytes idle_of(const struct writer *w, bytes line)
{
    bytes idle = word_of(line, "idle=");
    return idle.size ? idle : info_of(w, "uptime_in_seconds");
}

/* A path is that of a unix socket. */
static void put_connection(struct writer *w, bytes fd, const char *what, const char *transport, bytes value)
{
    char name[64], text[256];
    bool path = *transport && value.size && value.data[0] == '/';
    snprintf(name, sizeof(name), "%.*s:%s", (int)fd.size, (const char *)fd.data, what);
    snprintf(text, sizeof(text), "%s%.*s", path ? "unix:" : transport, (int)value.size, (const char *)value.data);
    put_text(w, name, bytes_str(text));
}

/* conn_nread: a part of something has come. */
static bytes state_of(const struct writer *w, bytes fd, bytes line)
{
    char own[NUMBER_TEXT_MAX];
    if (bytes_equal(fd, bytes_of(own, number_format_uint(own, (uint64_t)memcached_of(w->call)->fd))))
        return BYTES("conn_parse_cmd");
    if (!bytes_equal(word_of(line, "qbuf="), BYTES("0")))
        return BYTES("conn_nread");
    return bytes_equal(word_of(line, "cmd="), BYTES("watch")) ? BYTES("conn_watch") : BYTES("conn_read");
}

/* Sockets that listen, then connections. */
static void conns(struct writer *w)
{
    struct buf list;
    buf_init(&list, SIZE_MAX);
    host->listener_list(&list);
    size_t listening = list.size;
    host->client_list(&list, NULL, 0, 0);
    for (size_t at = 0; at < list.size;) {
        const uint8_t *end = memchr(list.data + at, '\n', list.size - at);
        bytes line = bytes_of(list.data + at, end ? (size_t)(end - list.data) - at : list.size - at);
        bytes fd = word_of(line, "fd=");
        put_connection(w, fd, "addr", "tcp:", word_of(line, "addr="));
        if (at >= listening)
            put_connection(w, fd, "listen_addr", "tcp:", word_of(line, "laddr="));
        put_connection(w, fd, "state", "", at < listening ? BYTES("conn_listening") : state_of(w, fd, line));
        put_connection(w, fd, "secs_since_last_cmd", "", idle_of(w, line));
        at += line.size + 1;
    }
    buf_release(&list);
}

static void nothing(struct writer *w) { (void)w; }

/* For the binary protocol, in which stats has one word. */
static void detailed(struct writer *w)
{
    struct buf dump;
    buf_init(&dump, SIZE_MAX);
    prefix_dump(&dump);
    put_text(w, "detailed", buf_view(&dump));
    buf_release(&dump);
}

static void detail_on(struct writer *w)
{
    (void)w;
    prefix_switch(true);
}

static void detail_off(struct writer *w)
{
    (void)w;
    prefix_switch(false);
}

bool stats_write(struct call *c, bytes what, stat_put *put)
{
    static const struct { const char *name; void (*write)(struct writer *w); bool needs_info; } all[] = {
        {"", general, true}, {"settings", settings, false}, {"items", items, true}, {"slabs", slabs, true}, {"sizes", sizes, false},
        {"sizes_enable", sizes_enable, false}, {"sizes_disable", sizes, false},
        {"conns", conns, true}, {"extstore", nothing, false}, {"detail dump", detailed, false}, {"detail on", detail_on, false}, {"detail off", detail_off, false},
    };
    if (bytes_equal(what, BYTES("reset"))) {
        memcached_counts_reset();
        watch_counts_reset();
        prefix_forget();
        host->reset_stats();
        return true;
    }
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (!bytes_equal(what, bytes_str(all[i].name)))
            continue;
        struct writer w = {.call = c, .put = put};
        buf_init(&w.info, SIZE_MAX);
        memcached_counts_sum(&w.counts);
        if (all[i].needs_info)
            host->info(c->txn, NULL, 0, &w.info);
        all[i].write(&w);
        buf_release(&w.info);
        return true;
    }
    return false;
}
