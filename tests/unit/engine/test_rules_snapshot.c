/* test_rules_snapshot.c -- the engine's rules R3 and R4: snapshots are a cut, whatever runs beside them.
 *
 * The other rules: tests/README.md. Method: an engine on the simulated disk of support/recorder.h, commands
 * through executors without sockets (support/exec_client.h), power cuts, and what the next engine finds.
 *
 *   R3   MSET over all stripes while snapshots are taken, power cut right after one is published: all keys have
 *        one value; in commit, in interval, and in a memory-only server that loads what it saved.
 *   R4   RENAME, COPY, MOVE, SWAPDB, FLUSHDB, FLUSHALL while snapshots are taken, power cut: the databases are
 *        those of the model after some command between the last durable and the last tried.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/rules.h"

#include "base/crc.h"
#include "engine/keys.h"

/* --- R3 ------------------------------------------------------------------------------- */

#define R3_FILLERS 20000
#define R3_PUBLICATIONS 3 /* the cut comes after so many, when enough was written beside them */
#define R3_PUBLICATIONS_MAX 100

static char stripe_names[STRIPE_COUNT][16];
static _Atomic int publications;

static void find_stripe_names(void)
{
    size_t found = 0;
    memset(stripe_names, 0, sizeof(stripe_names));
    for (int i = 0; found < STRIPE_COUNT; i++) {
        char name[16];
        snprintf(name, sizeof(name), "m%d", i);
        uint32_t stripe = key_slot(bytes_str(name)) >> STRIPE_SHIFT;
        if (!stripe_names[stripe][0]) {
            memcpy(stripe_names[stripe], name, sizeof(name));
            found++;
        }
    }
}

static int rename_noted(const char *from, const char *to)
{
    int result = rec_rename(from, to);
    size_t size = strlen(to);
    if (result == 0 && size > 4 && strcmp(to + size - 4, ".hfs") == 0)
        atomic_fetch_add(&publications, 1);
    return result;
}

struct setter { struct engine *engine; unsigned worker; _Atomic uint64_t done; };

static struct setter setters[2];
static _Atomic uint64_t done_during_captures;

static bool enough_was_set(void)
{
    return setters[0].done > 3 && setters[1].done > 3 && done_during_captures > 3;
}

static int cut_when_published(const char *path)
{
    int result = rec_sync_dir(path), published = atomic_load(&publications);
    if (published >= R3_PUBLICATIONS && (!setters[0].engine || enough_was_set() || published >= R3_PUBLICATIONS_MAX))
        rec_cut();
    return result;
}

/* Between holds of the snapshot: time for others, who otherwise would rarely get all locks. */
static void nap_in_captures(void *context, const char *what, uint64_t done, uint64_t total)
{
    static uint64_t calls;
    if (strcmp(what, "saving the snapshot") != 0 || calls++ % 32)
        return;
    uint64_t before = setters[0].done + setters[1].done, now = before;
    for (int naps = 0; naps < 20 && now == before; naps++) {
        usleep(200);
        now = setters[0].done + setters[1].done;
    }
    atomic_fetch_add(&done_during_captures, now - before);
}

/* MSET of all stripes' keys to one value, larger than that of the round before. */
static void *set_all(void *context)
{
    struct setter *s = context;
    struct exec *x = exec_new(s->engine, s->worker);
    struct client c;
    bytes *words = mem_alloc((1 + 2 * STRIPE_COUNT) * sizeof(*words));
    client_init(&c, x, DURABILITY_NONE);
    for (uint64_t round = 1; !atomic_load(&rec.cut); round++) {
        char value[32];
        snprintf(value, sizeof(value), "%u:%llu:padding", s->worker, (unsigned long long)round);
        words[0] = BYTES("MSET");
        for (size_t i = 0; i < STRIPE_COUNT; i++) {
            words[1 + 2 * i] = bytes_str(stripe_names[i]);
            words[2 + 2 * i] = bytes_str(value);
        }
        bool done = client_ok(client_run(&c, words, 1 + 2 * STRIPE_COUNT));
        hf_assert(done);
        atomic_store(&s->done, round);
        if (!s->engine->log)
            usleep(500); /* else the simulated disk becomes the test */
    }
    mem_free(words);
    client_release(&c);
    exec_free(x);
    return NULL;
}

static void *take_snapshots(void *context)
{
    while (!atomic_load(&rec.cut)) {
        if (engine_snapshot_wait(context) != HF_OK)
            hf_assert(atomic_load(&rec.cut));
    }
    return NULL;
}

/* True if all stripes' keys hold the same. */
static bool same_everywhere(struct client *c, char found[64])
{
    for (size_t i = 0; i < STRIPE_COUNT; i++) {
        const char *value = client_do(c, "GET %s", stripe_names[i]);
        if (i == 0)
            snprintf(found, 64, "%s", value);
        else if (strcmp(found, value) != 0)
            return false;
    }
    return true;
}

static void no_half_mset(enum durability durability, uint64_t seed)
{
    pthread_t threads[3];
    struct look look;
    char found[64];
    find_stripe_names();
    atomic_store(&publications, 0);
    rec_os.rename = rename_noted;
    rec_os.sync_dir = cut_when_published;
    rec_arm(0, false, 2, seed);
    config.segment_size = 1 << 20;
    config.ring_size = 1 << 20;
    config.on_progress = nap_in_captures;
    memset(setters, 0, sizeof(setters));
    atomic_store(&done_during_captures, 0);
    struct engine *e = open_engine(durability, 2);
    struct exec *x = exec_new(e, 0);
    struct client c;
    client_init(&c, x, DURABILITY_NONE);
    for (int i = 0; i < R3_FILLERS; i++)
        assert_true(client_ok(client_do(&c, "SET filler:%d %0100d", i, i)));
    client_release(&c);
    exec_free(x);
    for (unsigned i = 0; i < 2; i++) {
        setters[i] = (struct setter){e, i, 0};
        threads[i] = thread_start("setter", set_all, &setters[i]);
    }
    threads[2] = thread_start("snapper", take_snapshots, e);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    engine_close(e);
    assert_true(enough_was_set());
    config.on_progress = NULL;
    for (int fork = 0; fork < 2; fork++) {
        rec_insert(rec.forks[fork]);
        look_open(&look, durability);
        if (!same_everywhere(&look.client, found))
            fail_msg("seed %llu: half an MSET", (unsigned long long)seed);
        assert_true(found[0] == '$' && found[1] != '-');
        look_close(&look);
    }
}

static void no_half_msets(enum durability durability)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        rec_stop();
        rec_start();
        no_half_mset(durability, seed);
    }
}

static void test_r3_commit(void **state)
{
    (void)state;
    no_half_msets(DURABILITY_COMMIT);
}

static void test_r3_interval(void **state)
{
    (void)state;
    no_half_msets(DURABILITY_INTERVAL);
}

static void test_r3_memory_only(void **state)
{
    (void)state;
    no_half_msets(DURABILITY_NONE);
}

/* Saved, loaded and saved again; then a log behind it. */
static void test_r3_memory_only_goes_on(void **state)
{
    struct look look;
    char expected[32];
    (void)state;
    for (int round = 0; round < 8; round++) {
        look_open(&look, round < 4 ? DURABILITY_NONE : DURABILITY_COMMIT);
        snprintf(expected, sizeof(expected), round ? "$1\r\n%d\r\n" : "$-1\r\n", round - 1);
        assert_string_equal(client_do(&look.client, "GET kept"), expected);
        assert_true(client_ok(client_do(&look.client, "SET kept %d", round)));
        if (round < 5) /* afterwards the log alone says it: its positions go on where the tail ended */
            assert_int_equal(engine_snapshot_wait(look.engine), HF_OK);
        look_close(&look);
    }
    struct engine *e = NULL;
    config.durability = DURABILITY_NONE;
    assert_int_equal(engine_open(&config, &e, detail, sizeof(detail)), HF_ERR_INVALID); /* it holds a log now */
}

/* A log's snapshot without its log would be half transactions. */
static void test_r3_snapshot_without_its_log(void **state)
{
    struct look look;
    struct engine *e = NULL;
    (void)state;
    look_open(&look, DURABILITY_COMMIT);
    assert_true(client_ok(client_do(&look.client, "SET a 1")));
    assert_int_equal(engine_snapshot_wait(look.engine), HF_OK);
    look_close(&look);
    for (size_t i = rec.disk->live.count; i-- > 0;) {
        if (strstr(rec.disk->live.at[i].path, "/log-"))
            rec_unlink(rec.disk->live.at[i].path);
    }
    config.durability = DURABILITY_NONE;
    assert_int_equal(engine_open(&config, &e, detail, sizeof(detail)), HF_ERR_CORRUPT);
    assert_non_null(strstr(detail, "log that is missing"));
}

/* --- R4 ------------------------------------------------------------------------------- */

#define R4_DATABASES 3u
#define R4_KEYS 8u
#define R4_STEPS_MAX 40000u

struct storm_model {
    char *values[R4_DATABASES][R4_KEYS]; /* NULL: absent */
    uint64_t digests[R4_STEPS_MAX + 1];
    uint64_t lsns[R4_STEPS_MAX + 1];
    size_t tried, acked;
};

static uint64_t storm_digest(char *values[R4_DATABASES][R4_KEYS])
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < R4_DATABASES * R4_KEYS; i++) {
        const char *v = values[i / R4_KEYS][i % R4_KEYS];
        for (h = (h ^ i) * 0x100000001b3u; v && *v; v++)
            h = (h ^ (uint8_t)*v) * 0x100000001b3u;
    }
    return h;
}

static void storm_set(char **at, char *value)
{
    free(*at);
    *at = value;
}

static void storm_clear(struct storm_model *m, unsigned db)
{
    for (unsigned k = 0; k < R4_KEYS; k++)
        storm_set(&m->values[db][k], NULL);
}

static char *storm_value(uint64_t *random, uint64_t step)
{
    size_t size = rec_next(random) % 40 == 0 ? 70000 : 10 + rec_next(random) % 40;
    char *value = malloc(size + 1);
    hf_assert(value);
    memset(value, 'x', size);
    value[size] = 0;
    int digits = snprintf(NULL, 0, "%llu", (unsigned long long)step);
    snprintf(value, size, "%llu", (unsigned long long)step);
    value[digits] = '-';
    return value;
}

/* One command, told to the engine and to the model. */
static void storm_step(struct storm_model *m, struct client *c, uint64_t *random)
{
    unsigned db = (unsigned)(rec_next(random) % R4_DATABASES), other = (unsigned)(rec_next(random) % R4_DATABASES);
    unsigned k = (unsigned)(rec_next(random) % R4_KEYS), l = (unsigned)(rec_next(random) % R4_KEYS);
    uint64_t what = rec_next(random) % 100;
    char **from = &m->values[db][k], **to = &m->values[db][l], **beyond = &m->values[other][k];
    client_do(c, "SELECT %u", db);
    if (what < 45) {
        char *value = storm_value(random, m->tried);
        bytes words[] = {BYTES("SET"), BYTES("key?"), bytes_str(value)};
        char name[8];
        snprintf(name, sizeof(name), "key%u", k);
        words[1] = bytes_str(name);
        hf_assert(client_ok(client_run(c, words, 3)));
        storm_set(from, value);
    } else if (what < 60) {
        client_do(c, "RENAME key%u key%u", k, l);
        if (*from && k != l) {
            storm_set(to, *from);
            *from = NULL;
        }
    } else if (what < 70) {
        client_do(c, "COPY key%u key%u DB %u REPLACE", k, k, other);
        if (*from && db != other)
            storm_set(beyond, strdup(*from));
    } else if (what < 80) {
        client_do(c, "MOVE key%u %u", k, other);
        if (*from && db != other && !*beyond) {
            *beyond = *from;
            *from = NULL;
        }
    } else if (what < 85) {
        client_do(c, "DEL key%u", k);
        storm_set(from, NULL);
    } else if (what < 95) {
        client_do(c, "SWAPDB %u %u", db, other);
        for (unsigned i = 0; i < R4_KEYS; i++) {
            char *swap = m->values[db][i];
            m->values[db][i] = m->values[other][i];
            m->values[other][i] = swap;
        }
    } else if (what < 98) {
        client_do(c, "FLUSHDB");
        storm_clear(m, db);
    } else {
        client_do(c, "FLUSHALL");
        for (unsigned i = 0; i < R4_DATABASES; i++)
            storm_clear(m, i);
    }
}

/* The index in the model's history of what the engine holds; SIZE_MAX: none. */
static size_t storm_find(const struct storm_model *m, struct client *c)
{
    char *found[R4_DATABASES][R4_KEYS] = {0};
    for (unsigned db = 0; db < R4_DATABASES; db++) {
        client_do(c, "SELECT %u", db);
        for (unsigned k = 0; k < R4_KEYS; k++) {
            const char *reply = client_do(c, "GET key%u", k);
            if (reply[1] == '-')
                continue;
            found[db][k] = strdup(strchr(reply, '\n') + 1);
            *strchr(found[db][k], '\r') = 0;
        }
    }
    uint64_t digest = storm_digest(found);
    for (unsigned i = 0; i < R4_DATABASES * R4_KEYS; i++)
        free(found[i / R4_KEYS][i % R4_KEYS]);
    for (size_t i = m->tried + 1; i-- > 0;) {
        if (m->digests[i] == digest)
            return i;
    }
    return SIZE_MAX;
}

static void storm(enum durability durability, uint64_t seed)
{
    static struct storm_model m;
    struct look look;
    uint64_t random = seed;
    memset(&m, 0, sizeof(m));
    memset(setters, 0, sizeof(setters));
    m.digests[0] = storm_digest(m.values);
    atomic_store(&publications, 0);
    rec_os.rename = rename_noted;
    rec_os.sync_dir = durability == DURABILITY_NONE || seed % 2 ? cut_when_published : rec_sync_dir;
    rec_arm(0, false, 2, seed);
    look_open(&look, durability);
    pthread_t snapper = thread_start("snapper", take_snapshots, look.engine);
    while (!atomic_load(&rec.cut) && m.tried < R4_STEPS_MAX) {
        storm_step(&m, &look.client, &random);
        m.digests[++m.tried] = storm_digest(m.values);
        m.lsns[m.tried] = look.client.lsn ? look.client.lsn : look.engine->log ? log_tail(look.engine->log) : 0;
        uint64_t durable = engine_durable(look.engine);
        while (durability == DURABILITY_COMMIT && !atomic_load(&rec.cut) && m.acked < m.tried && m.lsns[m.acked + 1] <= durable)
            m.acked++;
        if (rec_os.sync_dir == rec_sync_dir && rec_next(&random) % 400 == 0 && atomic_load(&publications))
            rec_cut();
    }
    rec_cut();
    pthread_join(snapper, NULL);
    look_close(&look);
    for (int fork = 0; fork < 2; fork++) {
        rec_insert(rec.forks[fork]);
        look_open(&look, durability);
        size_t at = storm_find(&m, &look.client);
        if (at == SIZE_MAX || at < m.acked)
            fail_msg("durability %d, seed %llu: found the state after command %zd, durable were %zu of %zu", (int)durability,
                     (unsigned long long)seed, (ssize_t)at, m.acked, m.tried);
        look_close(&look);
    }
    for (unsigned db = 0; db < R4_DATABASES; db++)
        storm_clear(&m, db);
}

static void storms(enum durability durability, uint64_t seeds)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        rec_stop();
        rec_start();
        storm(durability, seed);
    }
}

static void test_r4_commit(void **state)
{
    (void)state;
    storms(DURABILITY_COMMIT, 30);
}

static void test_r4_interval(void **state)
{
    (void)state;
    storms(DURABILITY_INTERVAL, 12);
}

static void test_r4_memory_only(void **state)
{
    (void)state;
    storms(DURABILITY_NONE, 30);
}

static bool snapshot_runs(struct engine *e)
{
    os_mutex_lock(&e->snapshot_lock);
    bool runs = e->snapshot_running;
    os_mutex_unlock(&e->snapshot_lock);
    return runs;
}

/* A snapshot that begins in the middle of a transaction holds the databases as they are after it: here, after a rollback. */
static void test_r4_a_swap_that_is_rolled_back(void **state)
{
    (void)state;
    for (int durability = DURABILITY_NONE; durability <= DURABILITY_COMMIT; durability++) {
        struct look look;
        rec_stop();
        rec_start();
        look_open(&look, (enum durability)durability);
        assert_true(client_ok(client_do(&look.client, "SET k v")));
        struct txn *t = txn_new(look.engine);
        txn_reset(t, OS.wall_ms());
        t->undoing = true;
        db_swap(t, 0, 1);
        assert_int_equal(engine_snapshot_start(look.engine), HF_OK);
        for (int i = 0; i < 150 && snapshot_runs(look.engine); i++) /* it waits; if it did not, it would have time enough */
            usleep(1000);
        txn_rollback_all(t);
        txn_free(t);
        for (int i = 0; i < 20000 && snapshot_runs(look.engine); i++)
            usleep(1000);
        assert_false(snapshot_runs(look.engine));
        assert_string_equal(client_do(&look.client, "GET k"), "$1\r\nv\r\n");
        look_close(&look);
        look_open(&look, (enum durability)durability);
        assert_string_equal(client_do(&look.client, "GET k"), "$1\r\nv\r\n");
        look_close(&look);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_r3_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r3_interval, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r3_memory_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r3_memory_only_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r3_snapshot_without_its_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r4_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r4_interval, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r4_memory_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r4_a_swap_that_is_rolled_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
