/* main.c -- the lives of a seed, the faults that are sown on purpose, the command line.
 *
 * A seed draws a plan (how many workers and clients, how patient, how the scheduler, the disk
 * and the clock behave), then lives a few lives on one disk: open, read everything, serve
 * clients, end by a power cut in the middle of some disk call, by a crash of the process, or by
 * a clean stop and then a power cut. The last life only recovers and reads everything.
 * Each seed runs in a process of its own: statics are fresh, and a crash is one seed's.
 */
#include "sim.h"

#include "durable/log_private.h"
#include "engine/internal.h"
#include "net/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEED_SECONDS 120
#define PROOF_SEEDS 600

static uint64_t dice(uint64_t below) { return sim_random(DICE_PLAN, below); }
static bool often(uint64_t one_in) { return dice(one_in) == 0; }

/* ---- the plan ---- */

/* Some seeds press one thing hard. */
static void press(struct plan *p)
{
    unsigned what = (unsigned)dice(10);
    switch (what) {
    case 0: /* whole databases come and go while snapshots are taken, or while others have much to do */
    case 1:
        p->gate_share = what ? 15 : 40;
        p->save_one_in = what ? 0 : 1;
        p->workers = 2 + (unsigned)dice(3);
        p->clients = 4 + (unsigned)dice(5);
        p->databases = 2;
        p->slow_point = SCHED_GATE;
        p->slow_one_in = 4;
        p->slow_ns = 4 * SIM_MS;
        p->write_ns = p->stall_ns = 0;
        p->sync_ns = 10000;
        p->faults = false;
        break;
    case 2: /* WATCH, and connections that end */
        p->watch_share = 60;
        p->gate_share = 25;
        p->hangups = true;
        p->workers = 2 + (unsigned)dice(3);
        p->keys = 2 + (unsigned)dice(3);
        p->gap_named = p->gap_atomic = 1 + dice(3);
        break;
    case 3: /* the log has no room: credit */
        p->large = true;
        p->ring_size = 64u << 10;
        p->clients = 8;
        break;
    default:
        break;
    }
}

static void draw_plan(struct plan *p)
{
    static const uint64_t gaps[] = {1, 2, 4, 16, 64, 256};
    static const uint64_t atomic_gaps[] = {1, 3, 10, 50, 300, 3000, UINT64_C(1) << 40};
    static const size_t rings[] = {64u << 10, 64u << 10, 256u << 10, 1u << 20};
    static const uint64_t segments[] = {16u << 10, 16u << 10, 64u << 10, 256u << 10};
    static const int slow_points[] = {SCHED_LOCK, SCHED_UNLOCK, SCHED_RESERVE, SCHED_RESERVE, SCHED_PUBLISH, SCHED_WAKE, SCHED_GATE,
                                      SCHED_CAPTURE};
    bool quiet = often(3);
    *p = (struct plan){
        .workers = 1 + (unsigned)dice(4), .clients = 1 + (unsigned)dice(8), .bursts = 4 + (unsigned)dice(28),
        .keys = 2 + (unsigned)dice(SIM_KEYS_MAX - 1), .databases = 1 + (unsigned)dice(SIM_DBS_MAX), .lives = 2 + (unsigned)dice(3),
        .interval = often(3), .large = often(6), .deadlines = !often(3), .hangups = often(3), .stops = often(4), .gate_share = often(3) ? 0 : often(3) ? 25 : 4,
        .save_one_in = often(2) ? 0 : often(3) ? 3 : 24, .faults = often(6), .clock_steps = often(5),
        .ring_size = rings[dice(4)], .segment_size = segments[dice(4)], .interval_ms = 10 + (uint32_t)dice(40),
        .think_ns = dice(2) ? dice(3 * SIM_MS) : dice(100000),
        .gap_named = gaps[dice(6)], .gap_atomic = atomic_gaps[dice(7)],
        .slow_point = -1, .watch_share = 20,
    };
    if (!quiet) {
        p->stall_ns = often(2) ? dice(3 * SIM_MS) : 0;
        p->stall_one_in = 20 + (unsigned)dice(2000);
        p->write_ns = often(2) ? dice(200000) : 0;
        p->sync_ns = often(2) ? dice(5 * SIM_MS) : dice(300000);
        if (often(2)) {
            p->slow_point = slow_points[dice(8)];
            p->slow_one_in = p->slow_point == SCHED_LOCK || p->slow_point == SCHED_UNLOCK || p->slow_point == SCHED_CAPTURE ? 20000 : 8;
            p->slow_ns = dice(4 * SIM_MS);
        }
    } else {
        p->sync_ns = dice(50000);
    }
    press(p);
    uint64_t turns = p->ring_size == 64u << 10 ? 8 : 1; /* such a ring has room for one large bound at a time, in no order */
    /* pauses in one walk over all stripes, as FLUSHDB does it twice; several may stand in line */
    uint64_t pauses = 60 + 100000 / (p->gap_atomic * p->stall_one_in + 1) + 30000 / (p->gap_named * p->stall_one_in + 1);
    p->patience_ns = turns * 60 * SIM_MS + turns * pauses * p->stall_ns + turns * 60 * (p->slow_ns + p->sync_ns + p->write_ns) + (p->interval ? p->interval_ms * SIM_MS : 0);
    p->breathes = often(2);
}

/* ---- the server around the workers ---- */

static status start_snapshot(void) { return engine_snapshot_start(sim.engine); }

static status take_snapshot(void) { return engine_snapshot_wait(sim.engine); }

static const struct host stub = {.snapshot_start = start_snapshot, .snapshot_wait = take_snapshot};
static const struct host stub_that_breathes = {.snapshot_start = start_snapshot, .snapshot_wait = take_snapshot, .serve_aside = net_serve_aside,
                                               .aside_over = net_aside_over};

static void log_line(void *context, int level, const char *line)
{
    (void)context, (void)level;
    sim_trace("log: %s", line);
}

static struct engine *open_engine(void)
{
    char detail[512] = "";
    struct engine *e = NULL;
    struct engine_config config = {
        .dir = "/disk/db", .databases = sim.plan.databases, .workers = sim.plan.workers,
        .durability = sim.plan.interval ? DURABILITY_INTERVAL : DURABILITY_COMMIT, .ring_size = sim.plan.ring_size,
        .segment_size = sim.plan.segment_size, .interval_ms = sim.plan.interval_ms, .auto_snapshot = true,
        .wake_workers = net_wake_workers, .on_log_line = log_line};
    status s = engine_open(&config, &e, detail, sizeof(detail));
    if (s != HF_OK)
        sim_fail("the engine does not open: %s (%s)", status_text(s), detail);
    sim.engine = e;
    return e;
}

static struct net *start_net(struct engine *e)
{
    static struct net_limits limits;
    char detail[256];
    struct net *n;
    net_limits_init(&limits);
    atomic_store(&limits.maxclients, 64);
    atomic_store(&limits.failed_hold_ms, 3600u * 1000); /* "outcome unknown" (R15) is for net/test_rules.c: here every reply is some command's */
    struct net_config config = {.workers = sim.plan.workers, .limits = &limits, .engine = e, .on_log_line = log_line,
                                .default_durability = sim.plan.interval ? DURABILITY_INTERVAL : DURABILITY_COMMIT};
    if (net_start(&config, &n, detail, sizeof(detail)) != HF_OK)
        sim_fail("the network does not start: %s", detail);
    return n;
}

/* ---- lives ---- */

static void serve_clients(void)
{
    for (unsigned i = 0; i < sim.plan.clients; i++) {
        char name[24];
        snprintf(name, sizeof(name), "client-%u", i);
        sim_spawn(name, client_main, (void *)(uintptr_t)i);
    }
    if (sim.plan.stops && sim_chance(DICE_WORK, 2)) {
        sim_sleep(sim_random(DICE_WORK, sim.plan.bursts * (sim.plan.think_ns + 50000)));
        return; /* they are still at work */
    }
    if (sim.plan.faults)
        disk_fault(1 + sim_random(DICE_DISK, 150), 1 + sim_random(DICE_DISK, 3), sim_chance(DICE_DISK, 3) ? -ENOSPC : -EIO,
                   sim_chance(DICE_DISK, 2));
    while (!clients_done()) {
        sim_sleep(SIM_MS / 4);
        if (sim.plan.faults && !disk_faulty() && sim_chance(DICE_DISK, 400))
            disk_fault(1 + sim_random(DICE_DISK, 30), 1 + sim_random(DICE_DISK, 6), -EIO, sim_chance(DICE_DISK, 2));
    }
    for (unsigned tries = 0; disk_faulty() || log_state(engine_log(sim.engine)) != LOG_OK; tries++) {
        if (tries > 20000)
            sim_fail("the log does not heal");
        sim_sleep(SIM_MS);
    }
}

static void *live(void *last)
{
    struct engine *e = open_engine();
    check_opened(e);
    struct net *n = start_net(e);
    if (sim.world > 1)
        client_audit();
    if (!last) {
        serve_clients();
        if (clients_done())
            client_audit();
    }
    sim.stopping = !clients_done() || sim_chance(DICE_WORK, 2);
    if (sim.stopping) {
        net_stop(n, (unsigned)sim_random(DICE_WORK, 20));
        engine_close(e);
        sim.engine = NULL;
    }
    disk_cut_now();
    sim_world_end();
}

static void run_life(bool last)
{
    uint64_t cut_at = last || often(4) ? 0 : 1 + dice(UINT64_C(1) << (3 + dice(9)));
    sim.cut_behind_snapshot = cut_at && sim.plan.save_one_in && often(2) ? 1 + (unsigned)dice(4) : 0;
    sim.crash = often(4);
    sim.engine = NULL;
    sim.stopping = false;
    sim_world_begin();
    wire_world_begin();
    net_forget();
    clients_world_begin();
    disk_arm(cut_at, sim.crash, dice(0));
    sim_spawn("boot", live, last ? &sim : NULL);
    sim_trace("---- world %u: %s at change %llu", sim.world, sim.crash ? "crash" : "power cut", (unsigned long long)cut_at);
    sim_world_wait();
    sim.durable_at_end = sim.engine && sim.engine->log ? sim.engine->log->durable : UINT64_MAX;
    check_world();
    disk_swap();
}

static void run_seed(void)
{
    sched_start();
    draw_plan(&sim.plan);
    disk_start();
    command_table_init();
    host = sim.plan.breathes ? &stub_that_breathes : &stub;
    check_start();
    sim_trace("%u workers, %u clients, %u bursts, %u keys, %s%s%s%s%s%s%s, gaps %llu and %llu", sim.plan.workers, sim.plan.clients,
              sim.plan.bursts, sim.plan.keys, sim.plan.interval ? "interval" : "commit", sim.plan.large ? ", large values" : "",
              sim.plan.faults ? ", faults" : "", sim.plan.stall_ns ? ", stalls" : "", sim.plan.save_one_in ? ", snapshots" : "",
              sim.plan.hangups ? ", hang-ups" : "", sim.plan.breathes ? ", long commands" : "", (unsigned long long)sim.plan.gap_named, (unsigned long long)sim.plan.gap_atomic);
    for (unsigned life = 0; life <= sim.plan.lives; life++)
        run_life(life == sim.plan.lives);
}

/* ---- the command line ---- */

static const struct { enum os_bug bug; const char *name, *what; } bugs[] = {
    {BUG_STRIPE_LOCK, "stripe-lock", "a stripe is entered without its lock"},
    {BUG_PUBLISH_FIRST, "publish-first", "a log record is published before it is copied"},
    {BUG_NO_STAMP, "no-stamp", "a changed bucket is not stamped: reads do not wait"},
    {BUG_GATE_ALONE, "gate-alone", "the gate does not wait for the others to leave"},
    {BUG_MANIFEST_EARLY, "manifest-early", "a snapshot is published before the log it relies on is durable"},
    {BUG_ACK_EARLY, "ack-early", "a reply leaves before the fsync"},
    {BUG_WAKE_LOST, "wake-lost", "a wake-up of a sleeping thread is skipped"},
};
#define BUG_COUNT (sizeof(bugs) / sizeof(bugs[0]))

static struct { uint64_t from, seeds; bool trace, twice, prove; enum os_bug bug; } asked = {.from = 1, .seeds = 100};

/* In a process of its own; *digest tells how it went, step by step. */
static bool run_process(uint64_t seed, bool silent, uint64_t *digest)
{
    int ends[2], code = 0;
    if (pipe(ends) < 0)
        abort();
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        if (silent && !freopen("/dev/null", "w", stderr))
            _exit(3);
        alarm(SEED_SECONDS);
        sim.seed = seed;
        sim.bug = asked.bug;
        sim.trace = asked.trace;
        run_seed();
        bool told = write(ends[1], &sim.digest, sizeof(sim.digest)) == sizeof(sim.digest);
        _exit(told ? 0 : 3);
    }
    close(ends[1]);
    bool told = read(ends[0], digest, sizeof(*digest)) == sizeof(*digest);
    close(ends[0]);
    waitpid(child, &code, 0);
    if (!silent && WIFSIGNALED(code))
        fprintf(stderr, "seed %llu: ended by signal %d\n", (unsigned long long)seed, WTERMSIG(code));
    return told && WIFEXITED(code) && WEXITSTATUS(code) == 0;
}

static const char *bug_name(enum os_bug bug)
{
    for (size_t i = 0; i < BUG_COUNT; i++) {
        if (bugs[i].bug == bug)
            return bugs[i].name;
    }
    return NULL;
}

static int run_seeds(void)
{
    uint64_t failed = 0, digest = 0, again = 0;
    for (uint64_t i = 0; i < asked.seeds; i++) {
        bool good = run_process(asked.from + i, false, &digest);
        if (good && asked.twice && (!run_process(asked.from + i, false, &again) || again != digest)) {
            fprintf(stderr, "seed %llu: a second run took another course\n", (unsigned long long)(asked.from + i));
            good = false;
        }
        if (good)
            continue;
        failed++;
        printf("repeat: script/sim --from %llu --seeds 1%s%s\n", (unsigned long long)(asked.from + i), asked.bug ? " --bug " : "",
               asked.bug ? bug_name(asked.bug) : "");
        fflush(stdout);
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)(asked.seeds - failed), (unsigned long long)failed);
    return failed ? 1 : 0;
}

/* Each sown fault must be found. */
static int prove(void)
{
    unsigned found = 0;
    for (size_t i = 0; i < BUG_COUNT; i++) {
        uint64_t seed = asked.from, digest;
        asked.bug = bugs[i].bug;
        while (seed < asked.from + PROOF_SEEDS && run_process(seed, true, &digest))
            seed++;
        bool good = seed < asked.from + PROOF_SEEDS;
        found += good;
        printf("%-15s %s: ", bugs[i].name, bugs[i].what);
        if (good)
            printf("found by seed %llu\n", (unsigned long long)seed);
        else
            printf("NOT FOUND by %d seeds\n", PROOF_SEEDS);
        fflush(stdout);
    }
    printf("%u passed, %u failed\n", found, (unsigned)BUG_COUNT - found);
    return found == BUG_COUNT ? 0 : 1;
}

static int usage(void)
{
    fprintf(stderr, "usage: sim [--from SEED] [--seeds N] [--trace] [--twice] [--bug NAME] [--prove]\n");
    for (size_t i = 0; i < BUG_COUNT; i++)
        fprintf(stderr, "  --bug %-15s %s\n", bugs[i].name, bugs[i].what);
    return 2;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--trace") == 0) {
            asked.trace = true;
        } else if (strcmp(argv[i], "--twice") == 0) {
            asked.twice = true;
        } else if (strcmp(argv[i], "--prove") == 0) {
            asked.prove = true;
        } else if (strcmp(argv[i], "--from") == 0 && value) {
            asked.from = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seeds") == 0 && value) {
            asked.seeds = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--bug") == 0 && value) {
            for (size_t k = 0; k < BUG_COUNT; k++)
                asked.bug = strcmp(value, bugs[k].name) == 0 ? bugs[k].bug : asked.bug;
            if (asked.bug == BUG_NONE)
                return usage();
            i++;
        } else {
            return usage();
        }
    }
    return asked.prove ? prove() : run_seeds();
}
