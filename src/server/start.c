/* start.c -- from settings to a serving process, and back.
 *
 * SIGTERM, SIGINT and SIGHUP are blocked before the first thread starts, so that every thread
 * inherits that and only the main thread takes them, in sigwait (stop.c).
 */
#include "server/start.h"

#include "cmd/cluster.h"
#include "cmd/acl.h"
#include "cmd/command.h"
#include "cmd/replicas.h"
#include "os/os.h"
#include "proto/memcached/memcached.h"
#include "script/libraries.h"
#include "server/config.h"
#include "server/logline.h"
#include "server/tls_settings.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- safety -- */

static bool is_loopback(const char *address)
{
    if (*address == '-')
        address++;
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0 || strcmp(address, "localhost") == 0;
}

bool start_is_safe(char *error, size_t size)
{
    char binds[CONFIG_TEXT_MAX], *rest = NULL;
    bool safe = true;
    if ((config_number(SETTING_PORT) == 0 && config_number(SETTING_MEMCACHED_PORT) == 0) || !acl_is_open() ||
        config_number(SETTING_PROTECTED_MODE) == 0)
        return true;
    config_copy(SETTING_BIND, binds);
    for (const char *bind = strtok_r(binds, " ", &rest); bind && safe; bind = strtok_r(NULL, " ", &rest)) {
        if (is_loopback(bind))
            continue;
        snprintf(error, size,
                 "bind %s reaches beyond this machine and there is no password, so anyone could read and change the "
                 "data. Set --requirepass, or bind 127.0.0.1, or say --protected-mode no if the network is safe.",
                 bind);
        safe = false;
    }
    return safe;
}

/* -- process -- */

/* The process that was called waits for the one in the background: a byte 0, or the text of an error. */
static int told_at = -1;

static _Noreturn void wait_for_child(int told)
{
    char text[CONFIG_ERROR_SIZE * 2] = "";
    size_t size = 0;
    ssize_t got;
    while (size < sizeof(text) - 1 && ((got = read(told, text + size, sizeof(text) - 1 - size)) > 0 || (got < 0 && errno == EINTR)))
        size += got > 0 ? (size_t)got : 0;
    if (size == 1 && text[0] == 0)
        _exit(EXIT_SUCCESS);
    fprintf(stderr, "holdfast: %s\n", size ? text : "the process in the background ended before it was ready; see its log");
    _exit(EXIT_FAILURE);
}

void start_tell(const char *error)
{
    if (told_at < 0)
        return;
    ssize_t put = write(told_at, error ? error : "", error ? strlen(error) : 1);
    (void)put; /* nobody waits any more */
    close(told_at);
    told_at = -1;
}

static bool go_to_background(char *error, size_t size)
{
    int ends[2];
    fflush(NULL);
    pid_t child = pipe2(ends, O_CLOEXEC) < 0 ? -1 : fork();
    if (child < 0) {
        snprintf(error, size, "cannot go to the background: %s", strerror(errno));
        return false;
    }
    close(ends[child > 0]);
    if (child > 0)
        wait_for_child(ends[0]);
    told_at = ends[1];
    signal(SIGPIPE, SIG_IGN);
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        if (null > STDERR_FILENO)
            close(null);
    }
    return true;
}

static bool write_pidfile(char *error, size_t size)
{
    const char *path = config_text(SETTING_PIDFILE);
    if (!path[0])
        return true;
    FILE *file = fopen(path, "we");
    if (!file) {
        snprintf(error, size, "cannot write the pid file %s: %s", path, strerror(errno));
        return false;
    }
    fprintf(file, "%d\n", (int)getpid());
    fclose(file);
    return true;
}

/* Descriptors for every client and some for files; as many as the system gives. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)config_number(SETTING_MAXCLIENTS) + 256;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    struct rlimit raised = {.rlim_cur = wanted, .rlim_max = wanted > limit.rlim_max ? wanted : limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        return;
    raised.rlim_cur = raised.rlim_max = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &raised);
    logline(LOG_WARNING, "the system allows %llu open files: fewer than maxclients %lld needs (see ulimit -n)",
            (unsigned long long)limit.rlim_max, (long long)config_number(SETTING_MAXCLIENTS));
}

static void make_id(char out[41])
{
    uint8_t random[20];
    OS.random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(out + 2 * i, 3, "%02x", random[i]);
}

static unsigned choose_workers(void)
{
    int64_t wanted = config_number(SETTING_WORKERS);
    cpu_set_t processors;
    CPU_ZERO(&processors);
    if (wanted == 0 && sched_getaffinity(0, sizeof(processors), &processors) == 0)
        wanted = CPU_COUNT(&processors);
    return (unsigned)(wanted < 1 ? 1 : wanted > WORKERS_MAX ? WORKERS_MAX : wanted);
}

bool start_process(char *error, size_t size)
{
    if (config_number(SETTING_DAEMONIZE) && !go_to_background(error, size))
        return false;
    sigset_t signals = stop_signals();
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    const char *logfile = config_text(SETTING_LOGFILE);
    int result = logline_open(logfile);
    if (result < 0) {
        snprintf(error, size, "cannot open the log file %s: %s", logfile, strerror(-result));
        return false;
    }
    logline_set_level((enum log_level)config_number(SETTING_LOGLEVEL));
    raise_descriptor_limit();
    server.workers = choose_workers();
    server.started_us = OS.monotonic_us();
    server.started_s = OS.wall_ms() / 1000;
    make_id(server.run_id);
    make_id(server.replication_id);
    replicas_set_id(server.replication_id);
    ssize_t length = readlink("/proc/self/exe", server.executable, sizeof(server.executable) - 1);
    server.executable[length > 0 ? length : 0] = 0;
    return write_pidfile(error, size);
}

/* -- engine: recovery that takes longer than two seconds says how far it is -- */

#define PROGRESS_EVERY_US 2000000u

static struct {
    pthread_mutex_t lock;
    bool recovering;
    char what[64];
    uint64_t began_us, said_us;
} progress = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void say_progress(const char *what, uint64_t done, uint64_t total, uint64_t spent_us)
{
    double seconds = (double)spent_us / 1e6, rate = (double)done / (seconds > 0 ? seconds : 1);
    bool in_bytes = strstr(what, "log") != NULL;
    logline(LOG_NOTICE, "%s: %.0f %%, %.1f %s, %.0f s left", what, total ? 100.0 * (double)done / (double)total : 0.0,
            rate / (in_bytes ? 1e6 : 1e3), in_bytes ? "MB/s" : "thousand keys/s",
            rate > 0 && total > done ? (double)(total - done) / rate : 0.0);
}

static void on_progress(void *context, const char *what, uint64_t done, uint64_t total)
{
    (void)context;
    uint64_t now = OS.monotonic_us();
    pthread_mutex_lock(&progress.lock);
    if (progress.recovering && strncmp(progress.what, what, sizeof(progress.what) - 1) != 0) {
        snprintf(progress.what, sizeof(progress.what), "%s", what);
        progress.began_us = progress.said_us = now;
    } else if (progress.recovering && now - progress.said_us >= PROGRESS_EVERY_US) {
        progress.said_us = now;
        say_progress(what, done, total, now - progress.began_us);
    }
    pthread_mutex_unlock(&progress.lock);
}

static void set_recovering(bool recovering)
{
    pthread_mutex_lock(&progress.lock);
    progress.recovering = recovering;
    pthread_mutex_unlock(&progress.lock);
}

bool start_engine(char *error, size_t size)
{
    char detail[CONFIG_ERROR_SIZE] = "";
    struct engine_config config = {
        .dir = config_text(SETTING_DIR),
        .databases = (uint32_t)config_number(SETTING_DATABASES),
        .workers = server.workers,
        .durability = (enum durability)config_number(SETTING_DURABILITY),
        .segment_size = (uint64_t)config_number(SETTING_SEGMENT_SIZE),
        .interval_ms = (uint32_t)config_number(SETTING_INTERVAL_MS),
        .interval_bytes = (uint64_t)config_number(SETTING_INTERVAL_BYTES),
        .maxmemory = (uint64_t)config_number(SETTING_MAXMEMORY),
        .auto_snapshot = config_number(SETTING_AUTO_SNAPSHOT) != 0,
        .wake_workers = net_wake_workers,
        .on_progress = on_progress,
        .on_log_line = logline_callback,
    };
    set_recovering(true);
    status s = engine_open(&config, &server.engine, detail, sizeof(detail));
    set_recovering(false);
    if (s == HF_OK) {
        script_load_libraries(server.engine);
        host_apply_engine();
        if (config_number(SETTING_CLUSTER_ENABLED))
            cluster_start(engine_identity(server.engine));
        return true;
    }
    snprintf(error, size, "cannot open the data directory %s: %s", config.dir, detail[0] ? detail : status_text(s));
    return false;
}

/* -- network -- */

struct addresses { char text[CONFIG_TEXT_MAX]; const char *items[CONFIG_BINDS_MAX]; size_t count; };

/* What stands between single spaces; an empty word is no address, and getaddrinfo says so. */
static void split_addresses(struct addresses *a, const char *binds)
{
    snprintf(a->text, sizeof(a->text), "%s", binds);
    a->count = 0;
    for (char *at = a->text; at && a->text[0] && a->count < CONFIG_BINDS_MAX;) {
        char *space = strchr(at, ' ');
        a->items[a->count++] = at;
        if (space)
            *space++ = 0;
        at = space;
    }
}

static struct net_config where(const struct addresses *a, const struct config_wanted *wanted)
{
    return (struct net_config){
        .binds = a->items,
        .bind_count = a->count,
        .port = (uint16_t)config_wanted_number(wanted, SETTING_PORT),
        .tls_port = (uint16_t)config_wanted_number(wanted, SETTING_TLS_PORT),
        .other_tls_port = (uint16_t)config_number(SETTING_MEMCACHED_TLS_PORT),
        .other_port = (uint16_t)config_number(SETTING_MEMCACHED_PORT),
        .other = &memcached_protocol,
        .backlog = (int)config_number(SETTING_TCP_BACKLOG),
    };
}

/* "6379", or with the one of TLS behind it. */
static const char *port_words(const struct net_config *config, char out[64])
{
    int used = snprintf(out, 64, "port %u", config->port);
    if (config->tls_port)
        snprintf(out + used, 64 - (size_t)used, ", with TLS on port %u", config->tls_port);
    return out;
}

static bool listen_elsewhere(const struct config_wanted *wanted)
{
    char detail[CONFIG_ERROR_SIZE] = "", ports[64];
    const char *binds = config_wanted_text(wanted, SETTING_BIND);
    struct addresses a;
    split_addresses(&a, binds);
    struct net_config config = where(&a, wanted);
    status s = net_listen(server.net, &config, detail, sizeof(detail));
    if (s == HF_OK)
        logline(LOG_NOTICE, "from now on listening on %s (%s)", port_words(&config, ports), binds);
    else
        logline(LOG_WARNING, "CONFIG SET: %s, bind %s: %s", port_words(&config, ports), binds, detail[0] ? detail : status_text(s));
    return s == HF_OK;
}

bool start_net(char *error, size_t size)
{
    char detail[CONFIG_ERROR_SIZE] = "", binds[CONFIG_TEXT_MAX];
    struct addresses addresses;
    if (config_number(SETTING_MEMCACHED_DB) >= config_number(SETTING_DATABASES)) {
        snprintf(error, size, "memcached-database %lld: there are only %lld databases", (long long)config_number(SETTING_MEMCACHED_DB),
                 (long long)config_number(SETTING_DATABASES));
        return false;
    }
    memcached_init((uint32_t)config_number(SETTING_MEMCACHED_DB));
    config_copy(SETTING_BIND, binds);
    split_addresses(&addresses, binds);
    struct net_config config = where(&addresses, NULL);
    config.unix_path = config_text(SETTING_UNIXSOCKET);
    config.unix_mode = (unsigned)config_number(SETTING_UNIXSOCKETPERM);
    config.workers = server.workers;
    config.limits = &server.limits;
    config.engine = server.engine;
    config.default_durability = (int)config_number(SETTING_DURABILITY);
    config.on_log_line = logline_callback;
    config_on_listen(listen_elsewhere);
    tls_follow_settings();
    status s = net_start(&config, &server.net, detail, sizeof(detail));
    if (s == HF_OK)
        return true;
    char ports[64];
    snprintf(error, size, "cannot listen on %s: %s", port_words(&config, ports), detail[0] ? detail : status_text(s));
    return false;
}

static const char *durability_in_words(void)
{
    switch (engine_logged(server.engine) ? config_number(SETTING_DURABILITY) : DURABILITY_NONE) {
    case DURABILITY_COMMIT: return "commit: a write is acknowledged when it is on disk";
    case DURABILITY_INTERVAL:
        return "interval: a write is acknowledged when a process crash cannot take it back; it is on disk within the interval";
    default: return "none: MEMORY ONLY, what is not saved is gone when this process ends";
    }
}

void start_announce(void)
{
    struct engine_stats stats;
    char inert[1024], binds[CONFIG_TEXT_MAX];
    engine_stats(server.engine, NULL, &stats);
    logline(LOG_NOTICE, "holdfast " HF_VERSION ", process %d, %u workers", (int)getpid(), server.workers);
    logline(LOG_NOTICE, "data in %s; %llu keys; recovery took %llu ms", config_text(SETTING_DIR),
            (unsigned long long)stats.keys, (unsigned long long)stats.recovery_ms);
    logline(LOG_NOTICE, "durability %s", durability_in_words());
    if (config_inert_given(inert, sizeof(inert)))
        logline(LOG_VERBOSE, "settings without effect here: %s", inert);
    const char *path = config_text(SETTING_UNIXSOCKET);
    config_copy(SETTING_BIND, binds);
    logline(LOG_NOTICE, "ready on port %lld (%s)%s%s", (long long)config_number(SETTING_PORT), binds, path[0] ? " and " : "", path);
    if (config_number(SETTING_TLS_PORT))
        logline(LOG_NOTICE, "clients over TLS: port %lld", (long long)config_number(SETTING_TLS_PORT));
    if (config_number(SETTING_MEMCACHED_TLS_PORT))
        logline(LOG_NOTICE, "clients of memcached over TLS: port %lld", (long long)config_number(SETTING_MEMCACHED_TLS_PORT));
    if (config_number(SETTING_MEMCACHED_PORT))
        logline(LOG_NOTICE, "clients of memcached: port %lld, database %lld", (long long)config_number(SETTING_MEMCACHED_PORT),
                (long long)config_number(SETTING_MEMCACHED_DB));
}
