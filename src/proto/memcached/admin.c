/* admin.c -- text commands about the whole, the server and the connection. */
#include "base/number.h"
#include "cmd/acl.h"
#include "engine/keys.h"
#include "proto/memcached/handlers.h"
#include "proto/memcached/numbers.h"
#include "proto/memcached/prefix.h"
#include "proto/memcached/stats.h"
#include "proto/memcached/storage.h"

#include <stdio.h>

#define MEMLIMIT_MIN_MB 8
#define MEMLIMIT_MAX_MB 1000000000

status memcached_flush(struct call *c, int64_t delay)
{
    memcached_count(&memcached_counts(c)->cmd_flush);
    uint64_t at_ms = memcached_deadline(txn_now_ms(c->txn), delay);
    status s = db_flush_later(c->txn, c->session->db, delay > 0 ? at_ms : 0);
    if (s == HF_OK && delay <= 0)
        db_flush(c->txn, c->session->db);
    return s;
}

static void flush(struct call *c, int64_t delay)
{
    if (!memcached_refused(c, memcached_flush(c, delay)))
        memcached_line(c, "OK");
}

void memcached_flush_all(struct call *c) { flush(c, 0); }

void memcached_flush_later(struct call *c)
{
    int32_t delay = 0;
    bool numeric = memcached_i32(c->argv[1], &delay);
    hf_assert(numeric);
    flush(c, delay);
}

static void put_stat(struct call *c, bytes name, bytes value)
{
    struct buf *out = c->reply->out;
    buf_append(out, "STAT ", 5);
    buf_append_bytes(out, name);
    buf_append_u8(out, ' ');
    buf_append_bytes(out, value);
    buf_append(out, "\r\n", 2);
}

void memcached_stats(struct call *c)
{
    if (stats_write(c, c->argc > 1 ? c->argv[1] : (bytes){0}, put_stat))
        buf_append(c->reply->out, "END\r\n", 5);
    else
        memcached_line(c, "ERROR");
}

void memcached_stats_detail(struct call *c)
{
    bytes what = c->argc > 2 ? c->argv[2] : (bytes){0};
    bool on = bytes_equal(what, BYTES("on"));
    if (bytes_equal(what, BYTES("dump"))) {
        prefix_dump(c->reply->out);
    } else if (on || bytes_equal(what, BYTES("off"))) {
        prefix_switch(on);
        memcached_line(c, "OK");
    } else {
        memcached_line(c, "CLIENT_ERROR usage: stats detail on|off|dump");
    }
}

void memcached_stats_reset(struct call *c)
{
    bool done = stats_write(c, BYTES("reset"), put_stat);
    hf_assert(done);
    memcached_line(c, "RESET");
}

/* The level of the log: 0 what needs attention, 1 what happens rarely, 2 and above everything. */
void memcached_verbosity(struct call *c)
{
    static const char *const levels[] = {"notice", "verbose", "debug"};
    char error[256];
    uint32_t level = 0;
    bool numeric = memcached_u32(c->argv[1], &level);
    hf_assert(numeric);
    bytes name = BYTES("loglevel"), value = bytes_str(levels[level < 2 ? level : 2]);
    if (host->config_set(&name, &value, 1, error, sizeof(error)))
        memcached_line(c, "OK");
    else
        reply_errorf(c->reply, "ERR %s", error);
}

void memcached_memlimit(struct call *c)
{
    char error[256], text[NUMBER_TEXT_MAX];
    uint32_t megabytes = 0;
    bool numeric = memcached_u32(c->argv[1], &megabytes);
    hf_assert(numeric);
    if (megabytes < MEMLIMIT_MIN_MB) {
        memcached_line(c, "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m");
        return;
    }
    if (megabytes > MEMLIMIT_MAX_MB) {
        memcached_line(c, "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes");
        return;
    }
    bytes name = BYTES("maxmemory"), value = bytes_of(text, number_format_uint(text, (uint64_t)megabytes << 20));
    bool done = host->config_set(&name, &value, 1, error, sizeof(error));
    memcached_line(c, done ? "OK" : "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust");
}

void memcached_refresh_certs(struct call *c)
{
    char error[1024], line[sizeof(error) + 64];
    enum tls_refreshed result = host->tls_refresh ? host->tls_refresh(error, sizeof(error)) : TLS_OFF;
    snprintf(line, sizeof(line), "Error loading the certificates: %s", result == TLS_KEPT ? error : "");
    memcached_line(c, result == TLS_OFF ? "Error TLS not enabled" : result == TLS_REFRESHED ? "OK" : line);
}

void memcached_version(struct call *c) { memcached_line(c, "VERSION " MEMCACHED_VERSION); }

void memcached_quit(struct call *c) { c->session->close_after_reply = true; }

void memcached_auth(struct call *c)
{
    struct memcached_counts *counts = memcached_counts(c);
    memcached_count(&counts->auth_cmds);
    if (acl_session_login(c->session, c->argv[1], c->argv[2], c->argv)) {
        memcached_line(c, "STORED");
        return;
    }
    memcached_count(&counts->auth_errors);
    memcached_line(c, "CLIENT_ERROR authentication failure");
}

void memcached_say(struct call *c) { memcached_line(c, (const char *)c->argv[1].data); }
