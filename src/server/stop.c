/* stop.c -- how the server ends: SHUTDOWN, SIGTERM, SIGINT.
 *
 *      SHUTDOWN  stop_ask, on a worker ─┐
 *                                       ├─ may_end: SAVE has to succeed, or FORCE be given ── main thread: stop_all
 *      a signal  wait_for_end, main ────┘        no: it goes on serving
 *
 * SAVE is written twice when somebody writes meanwhile: once before anything ends, because a server that cannot save has to
 * go on (without a log its memory is all there is), and once behind the last write. NOSAVE leaves nothing out: what was
 * acknowledged is in the log, or was never meant to last. NOW leaves connections no time to take their replies. ABORT has
 * something to abort while a snapshot is written.
 */
#include "server/start.h"

#include "os/os.h"
#include "script/libraries.h"
#include "server/config.h"
#include "server/logline.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define DRAIN_SECONDS_MAX 1000000 /* in milliseconds it is still a number of 32 bits */
#define ASKED (1u << 31)          /* in server.shutdown: by the command, not by a signal */

static _Atomic unsigned tries; /* of SHUTDOWN SAVE that are under way */
static _Atomic unsigned aborts;

sigset_t stop_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return set;
}

static status save(void)
{
    status s = engine_snapshot_wait(server.engine);
    if (s != HF_OK)
        logline(LOG_WARNING, "the snapshot failed: %s%s", status_text(s),
                engine_logged(server.engine) ? "; the log holds everything" : "");
    return s;
}

static bool may_end(unsigned how)
{
    if (!(how & END_SAVE))
        return true;
    unsigned before = atomic_load(&aborts);
    atomic_fetch_add(&tries, 1);
    status s = save();
    atomic_fetch_sub(&tries, 1);
    if (s == HF_OK || how & END_FORCE)
        return atomic_load(&aborts) == before;
    logline(LOG_WARNING, "it goes on serving: FORCE ends it without the snapshot");
    return false;
}

static bool abort_tries(void)
{
    atomic_fetch_add(&aborts, 1);
    return atomic_load(&tries) > 0;
}

/* The main thread sleeps in sigwait: a signal to the process is its wake-up. */
bool stop_ask(unsigned how)
{
    if (how & END_ABORT)
        return abort_tries();
    if (!may_end(how))
        return false;
    atomic_fetch_or(&server.shutdown, ASKED | how);
    kill(getpid(), SIGTERM);
    return true;
}

static bool signal_ends(int taken)
{
    unsigned how = (unsigned)config_number(taken == SIGTERM ? SETTING_SHUTDOWN_ON_SIGTERM : SETTING_SHUTDOWN_ON_SIGINT);
    logline(LOG_NOTICE, "%s received", taken == SIGTERM ? "SIGTERM" : "SIGINT");
    if (!may_end(how))
        return false;
    atomic_fetch_or(&server.shutdown, how);
    return true;
}

void wait_for_end(void)
{
    sigset_t signals = stop_signals();
    for (int taken = 0;;) {
        if (sigwait(&signals, &taken) != 0)
            continue;
        if (taken == SIGHUP) {
            logline_reopen();
            continue;
        }
        if (atomic_load(&server.shutdown) & ASKED) {
            logline(LOG_NOTICE, "SHUTDOWN was asked for");
            return;
        }
        if (signal_ends(taken))
            return;
    }
}

static unsigned drain_ms(unsigned how)
{
    int64_t seconds = how & END_NOW ? 0 : config_number(SETTING_SHUTDOWN_TIMEOUT);
    return (unsigned)(seconds < DRAIN_SECONDS_MAX ? seconds : DRAIN_SECONDS_MAX) * 1000;
}

static bool saved_all(void)
{
    struct engine_stats stats;
    engine_stats(server.engine, NULL, &stats);
    return stats.snapshots && !stats.snapshot_last_failed && stats.changes_since_snapshot == 0;
}

void stop_all(void)
{
    unsigned how = atomic_load(&server.shutdown);
    bool saved = false;
    if (server.net)
        net_stop(server.net, drain_ms(how));
    if (how & END_SAVE) /* after the last write */
        saved = saved_all() || save() == HF_OK;
    if (server.engine)
        engine_close(server.engine);
    script_cache_release();
    if (config_text(SETTING_PIDFILE)[0])
        OS.unlink(config_text(SETTING_PIDFILE));
    logline(LOG_NOTICE, "everything is %s; goodbye", config_number(SETTING_DURABILITY) ? "on disk" : saved ? "saved" : "gone");
}
