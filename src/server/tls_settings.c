/* tls_settings.c -- a context is made whole from what the settings say, and replaces the one before; a mistake leaves that in force.
 *
 * Threads: `current` and `before` change in tls_start, and then only while CONFIG SET is kept out (config.h).
 */
#include "server/tls_settings.h"

#include "net/net.h"
#include "net/stats.h"
#include "net/tls_context.h"
#include "os/os.h"
#include "server/config.h"
#include "server/logline.h"

#include <stdatomic.h>
#include <stdio.h>

static struct tls_context *current, *before; /* NULL: there is no TLS; before CONFIG SET took the current one */
static _Atomic uint64_t made_us;

static bool speaks_tls(const struct config_wanted *w)
{
    return config_wanted_number(w, SETTING_TLS_PORT) || config_number(SETTING_MEMCACHED_TLS_PORT);
}

/* NULL: error. */
static struct tls_context *make(const struct config_wanted *w, char *error, size_t size)
{
    char notice[CONFIG_ERROR_SIZE];
    struct tls_settings s = {
        .cert_file = config_wanted_text(w, SETTING_TLS_CERT),
        .key_file = config_wanted_text(w, SETTING_TLS_KEY),
        .key_file_pass = config_wanted_text(w, SETTING_TLS_KEY_PASS),
        .ca_cert_file = config_wanted_text(w, SETTING_TLS_CA),
        .ca_cert_dir = config_wanted_text(w, SETTING_TLS_CA_DIR),
        .dh_params_file = config_wanted_text(w, SETTING_TLS_DH),
        .protocols = config_wanted_text(w, SETTING_TLS_PROTOCOLS),
        .ciphers = config_wanted_text(w, SETTING_TLS_CIPHERS),
        .ciphersuites = config_wanted_text(w, SETTING_TLS_CIPHERSUITES),
        .auth_clients = (enum tls_auth)config_wanted_number(w, SETTING_TLS_AUTH),
        .prefer_server_ciphers = config_wanted_number(w, SETTING_TLS_PREFER) != 0,
        .session_caching = config_wanted_number(w, SETTING_TLS_CACHING) != 0,
        .session_cache_size = config_wanted_number(w, SETTING_TLS_CACHE_SIZE),
        .session_cache_timeout_s = config_wanted_number(w, SETTING_TLS_CACHE_TIMEOUT),
    };
    struct tls_context *fresh = tls_context_new(&s, error, size, notice, sizeof(notice));
    if (fresh && notice[0])
        logline(LOG_WARNING, "%s", notice);
    if (fresh)
        atomic_store(&made_us, OS.monotonic_us());
    return fresh;
}

/* The count of `fresh` is taken over. */
static void put_in_force(struct tls_context *fresh)
{
    tls_context_unref(before);
    before = current;
    current = fresh;
    net_set_tls(fresh);
}

bool tls_start(char *error, size_t size)
{
    if (!speaks_tls(NULL))
        return true;
    struct tls_context *fresh = make(NULL, error, size);
    if (fresh)
        put_in_force(fresh);
    return fresh != NULL;
}

static bool take(const struct config_wanted *w)
{
    char error[CONFIG_ERROR_SIZE];
    struct tls_context *fresh = NULL;
    if (speaks_tls(w) && !(fresh = make(w, error, sizeof(error)))) {
        logline(LOG_WARNING, "CONFIG SET: %s; TLS stays as it was", error);
        return false;
    }
    put_in_force(fresh);
    return true;
}

static void give_back(void)
{
    struct tls_context *old = before;
    before = NULL;
    put_in_force(old);
}

void tls_follow_settings(void) { config_on_tls(take, give_back); }

struct refresh { char *error; size_t size; enum tls_refreshed result; };

static void refresh(void *context)
{
    struct refresh *r = context;
    if (!speaks_tls(NULL))
        return;
    struct tls_context *fresh = make(NULL, r->error, r->size);
    r->result = fresh ? TLS_REFRESHED : TLS_KEPT;
    if (fresh)
        put_in_force(fresh);
    else
        logline(LOG_WARNING, "%s; TLS stays as it was", r->error);
}

enum tls_refreshed tls_refresh(char *error, size_t size)
{
    struct refresh r = {error, size, TLS_OFF};
    config_with_all(refresh, &r);
    return r.result;
}

bool tls_facts(uint64_t *refused, uint64_t *age_s)
{
    struct net_stats stats;
    net_stats(&stats);
    *refused = stats.tls_refused;
    *age_s = (OS.monotonic_us() - atomic_load(&made_us)) / 1000000;
    return speaks_tls(NULL);
}
