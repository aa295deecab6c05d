/* test_cut.c -- the promise of the server: what a client was told, reads included, is there after the power went.
 *
 * Goal: in commit mode no reply that a client received before a power cut showed anything that
 * the cut took back: acknowledged writes are there, each MULTI whole or not at all, and a value or an
 * absence that somebody read is there, or something later. In interval mode the same holds after
 * a crash of the process; after a power cut what is left is a prefix of the log.
 * Method: the real workers and engine on a simulated disk (support/recorder.h), real sockets, four clients that
 * pipeline random units (support/netmodel.h). The disk forks at the k-th change or at a
 * random moment; a reply counts when it was in the client's hands before. The fork is opened, compared
 * with everything that the replies said, and used on up to the next cut; two forks of each cut are compared.
 * Snapshots run beside in most rounds. The oracle is proven by a disk that lies.
 * The first round that finds a loss ends the campaign.
 * HOLDFAST_CUTS: number of cuts in commit mode; HOLDFAST_SEED: the first seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/netmodel.h"

#define CUTS_IN_A_ROW 5
#define CUTS_DEFAULT 200
#define DATA_DIR REC_ROOT "/data"

struct round {
    struct netserver server;
    struct netmodel *model;
    uint64_t random;
    bool snapshots;
    uint64_t replies, units, snapshots_taken; /* of the campaign */
    char detail[600];
};

static void *run_client(void *context)
{
    struct netclient *c = context;
    while (!atomic_load(&rec.cut) && c->unit_count + c->pipeline_max < UNITS_MAX && !c->wrong[0]) {
        if (!netclient_step(c, 1 + (unsigned)roll(c, c->pipeline_max)) && !atomic_load(&rec.cut))
            wrongly(c, "the connection ended on a healthy disk", 0, 0);
        const struct unit *last = &c->units[c->unit_count - 1];
        if (last->error[0] && !atomic_load(&rec.cut))
            wrongly(c, last->error, 0, 0);
    }
    return NULL;
}

static void *run_snapshots(void *context)
{
    struct round *r = context;
    while (!atomic_load(&rec.cut)) {
        r->snapshots_taken += engine_snapshot_wait(r->server.engine) == HF_OK;
        usleep(500);
    }
    return NULL;
}

static void choose_sizes(struct round *r)
{
    static const uint64_t segments[] = {16 << 10, 64 << 10, 256 << 10};
    r->server.config.segment_size = segments[rec_next(&r->random) % 3];
    r->server.config.ring_size = rec_next(&r->random) % 2 ? 128 << 10 : 512 << 10;
    r->server.config.interval_ms = 2 + (uint32_t)(rec_next(&r->random) % 20);
    r->server.config.workers = 2 + (unsigned)(rec_next(&r->random) % 2);
}

/* Runs until the cut; what the process of before still does afterwards counts for nothing. */
static void run_to_cut(struct round *r, bool crash)
{
    pthread_t threads[OWNERS], snapper = 0;
    bool by_count = rec_next(&r->random) % 2;
    unsigned sync_us = rec_next(&r->random) % 3 ? (unsigned)(rec_next(&r->random) % 500) : 0;
    pthread_mutex_lock(&rec.lock);
    rec.sync_us = sync_us;
    pthread_mutex_unlock(&rec.lock);
    rec_arm(by_count ? 1 + rec_next(&r->random) % 300 : 0, crash, crash ? 1 : 2, rec_next(&r->random));
    for (int i = 0; i < OWNERS; i++) {
        struct netclient *c = &r->model->clients[i];
        c->pipeline_max = rec_next(&r->random) % 4 == 0 ? 60 : 8;
        client_open(&c->client, r->server.port);
        threads[i] = thread_start("client", run_client, c);
    }
    if (r->snapshots)
        snapper = thread_start("snapper", run_snapshots, r);
    unsigned patience = by_count ? 20000 : (unsigned)(rec_next(&r->random) % 12000);
    for (unsigned waited = 0; waited < patience && !atomic_load(&rec.cut); waited += 200)
        usleep(200);
    rec_cut();
    for (int i = 0; i < OWNERS; i++) {
        pthread_join(threads[i], NULL);
        client_close(&r->model->clients[i].client);
    }
    if (r->snapshots)
        pthread_join(snapper, NULL);
    netserver_close(&r->server);
}

static bool clients_are_well(struct round *r)
{
    for (unsigned i = 0; i < OWNERS; i++) {
        const struct netclient *c = &r->model->clients[i];
        if (c->wrong[0]) {
            snprintf(r->detail, sizeof(r->detail), "%s", c->wrong);
            return false;
        }
        r->units += c->unit_count;
        for (size_t k = 0; k < c->unit_count; k++)
            r->replies += c->units[k].answered;
    }
    return true;
}

static bool check_fork(struct round *r, struct rec_disk *fork, bool lossy, bool adopt)
{
    rec_insert(fork);
    if (!netserver_open(&r->server, r->detail, sizeof(r->detail)))
        return false;
    bool good = netmodel_check(r->model, &r->server, lossy, adopt);
    if (!good)
        snprintf(r->detail, sizeof(r->detail), "%s", r->model->detail);
    if (!good || !adopt)
        netserver_close(&r->server);
    return good;
}

/* A fresh store and several cuts; false: r->detail says what was lost. */
static bool round_of_cuts(struct round *r, uint64_t seed, enum durability durability, bool crash, bool lie)
{
    bool lossy = durability == DURABILITY_INTERVAL && !crash;
    r->random = seed;
    rec_start();
    rec.random = seed;
    rec.lie_fdatasync = lie;
    r->model = netmodel_new(seed);
    r->snapshots = rec_next(&r->random) % 3 != 0;
    r->server.config = (struct engine_config){.dir = DATA_DIR, .durability = durability, .databases = 4};
    choose_sizes(r);
    bool good = netserver_open(&r->server, r->detail, sizeof(r->detail));
    for (int cut = 0; cut < CUTS_IN_A_ROW && good; cut++) {
        run_to_cut(r, crash);
        good = clients_are_well(r);
        choose_sizes(r);
        rec.sync_us = 0;
        for (int f = rec.cut_forks - 1; f >= 0; f--) {
            if (good)
                good = check_fork(r, rec.forks[f], lossy, f == 0);
            else
                rec_disk_free(rec.forks[f]);
        }
    }
    netserver_close(&r->server);
    netmodel_free(r->model);
    rec_stop();
    return good;
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void many(enum durability durability, bool crash, uint64_t cuts)
{
    static bool lost;
    static struct round r;
    uint64_t seed = number_from("HOLDFAST_SEED", 1), done = 0;
    if (lost)
        skip();
    memset(&r, 0, sizeof(r));
    for (; done < cuts; done += CUTS_IN_A_ROW, seed++) {
        if (done && done % 250 == 0)
            print_message("%llu cuts\n", (unsigned long long)done);
        lost = !round_of_cuts(&r, seed, durability, crash, false);
        if (lost)
            fail_msg("seed %llu: %s", (unsigned long long)seed, r.detail);
    }
    print_message("%llu cuts, %llu units sent, %llu answered before the cut, %llu snapshots; no round found a loss\n",
                  (unsigned long long)done, (unsigned long long)r.units, (unsigned long long)r.replies,
                  (unsigned long long)r.snapshots_taken);
    assert_true(r.replies > done); /* it did prove something */
}

static void test_commit_takes_back_nothing(void **state)
{
    (void)state;
    many(DURABILITY_COMMIT, false, number_from("HOLDFAST_CUTS", CUTS_DEFAULT));
}

static void test_commit_after_a_crash(void **state)
{
    (void)state;
    many(DURABILITY_COMMIT, true, number_from("HOLDFAST_CUTS", CUTS_DEFAULT) / 5);
}

static void test_interval_after_a_crash(void **state)
{
    (void)state;
    many(DURABILITY_INTERVAL, true, number_from("HOLDFAST_CUTS", CUTS_DEFAULT) / 3);
}

static void test_interval_leaves_a_prefix(void **state)
{
    (void)state;
    many(DURABILITY_INTERVAL, false, number_from("HOLDFAST_CUTS", CUTS_DEFAULT) / 3);
}

static void test_a_lying_disk_is_found(void **state)
{
    (void)state;
    int found = 0;
    static struct round r;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        memset(&r, 0, sizeof(r));
        found += !round_of_cuts(&r, seed, DURABILITY_COMMIT, false, true);
    }
    print_message("found in %d of 8 rounds; the last: %s\n", found, r.detail);
    assert_true(found >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_takes_back_nothing), cmocka_unit_test(test_commit_after_a_crash),
        cmocka_unit_test(test_interval_after_a_crash),    cmocka_unit_test(test_interval_leaves_a_prefix),
        cmocka_unit_test(test_a_lying_disk_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
