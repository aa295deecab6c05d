/* test_rules.c -- the engine's rules R3, R4, R5, R6, R9, R12 and R13, each against the trap that it names.
 *
 * The other rules: tests/README.md. Method: an engine on the simulated disk of support/recorder.h, commands
 * through executors without sockets (support/exec_client.h), power cuts, and what the next engine finds.
 *
 *   R3   MSET over all stripes while snapshots are taken, power cut right after one is published: all keys have
 *        one value; in commit, in interval, and in a memory-only server that loads what it saved.
 *   R4   RENAME, COPY, MOVE, SWAPDB, FLUSHDB, FLUSHALL while snapshots are taken, power cut: the databases are
 *        those of the model after some command between the last durable and the last tried.
 *   R5/6 records rewritten again and again at the same positions behind crash after crash, over recycled segments, also
 *        crashes inside recovery: none of a dead epoch shows. A group whose header says an older or a later epoch
 *        is the end of the log. What recovery has read from a page cache that a failed fsync left is on disk after.
 *   R9   eight workers change few keys: each key's events come in commit order; a rollback's do not come.
 *   R12  what shows that a key is gone waits for the change that took it, and a cut before that brings the key back.
 *   R13  two workers whose clocks differ by 50 ms: a key that one of them saw expired is gone for both, and after a
 *        crash too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/recorder.h"
#include "../support/exec_client.h"

#include "base/crc.h"
#include "durable/segment.h"
#include "engine/events.h"
#include "engine/strings.h"

#define DATA_DIR REC_ROOT "/data"

static struct engine_config config;
static char detail[512];

static struct engine *open_engine(enum durability durability, unsigned workers)
{
    struct engine *e = NULL;
    config.dir = DATA_DIR;
    config.databases = 4;
    config.durability = durability;
    config.workers = workers;
    if (engine_open(&config, &e, detail, sizeof(detail)) != HF_OK)
        fail_msg("%s", detail);
    return e;
}

static int setup(void **state)
{
    (void)state;
    command_table_init();
    config = (struct engine_config){.ring_size = 256 << 10, .segment_size = 64 << 10, .interval_ms = 5};
    rec_start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rec_stop();
    return 0;
}

/* One engine with one client, for a look. */
struct look { struct engine *engine; struct exec *exec; struct client client; };

static void look_open(struct look *l, enum durability durability)
{
    l->engine = open_engine(durability, 1);
    l->exec = exec_new(l->engine, 0);
    client_init(&l->client, l->exec, DURABILITY_NONE);
}

static void look_close(struct look *l)
{
    client_release(&l->client);
    exec_free(l->exec);
    engine_close(l->engine);
}

/* --- R3 ------------------------------------------------------------------------------- */

#define R3_FILLERS 20000
#define R3_PUBLICATIONS 3 /* the cut comes after the last */

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

static int cut_when_published(const char *path)
{
    int result = rec_sync_dir(path);
    if (atomic_load(&publications) == R3_PUBLICATIONS)
        rec_cut();
    return result;
}

struct setter { struct engine *engine; unsigned worker; _Atomic uint64_t done; };

static struct setter setters[2];
static _Atomic uint64_t done_during_captures;

/* Between holds of the snapshot: time for others, who otherwise would rarely get all locks. */
static void nap_in_captures(void *context, const char *what, uint64_t done, uint64_t total)
{
    static uint64_t calls;
    if (strcmp(what, "saving the snapshot") != 0 || calls++ % 32)
        return;
    uint64_t before = setters[0].done + setters[1].done;
    usleep(200);
    atomic_fetch_add(&done_during_captures, setters[0].done + setters[1].done - before);
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
    assert_true(setters[0].done > 3 && setters[1].done > 3 && done_during_captures > 3);
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

/* --- R5, R6 ------------------------------------------------------------------------------ */

#define R6_TOKENS_MAX 100000u

/* One string of numbered tokens; each is rewritten with another tag when a crash took it. */
struct tokens { uint32_t tags[R6_TOKENS_MAX]; size_t acked, tried; uint32_t run; };

/* The index after the last token found; fails on a gap, or a tag of a run that did not write it last. */
static size_t tokens_found(const struct tokens *t, struct client *c, const char *when)
{
    const char *at = client_do(c, "GET tokens");
    size_t i = 0;
    if (at[1] == '-')
        return 0;
    for (at = strchr(at, '\n') + 1; *at != '\r'; i++) {
        unsigned long number, tag;
        char *end;
        number = strtoul(at, &end, 10);
        tag = strtoul(end + 1, &end, 10);
        at = end + 1;
        if (number != i || i >= t->tried || tag != t->tags[i])
            fail_msg("%s: token %zu is %lu of run %lu, not of run %u", when, i, number, tag, t->tags[i]);
    }
    return i;
}

static void tokens_append(struct tokens *t, struct look *look)
{
    hf_assert(t->tried < R6_TOKENS_MAX);
    t->tags[t->tried] = t->run;
    const char *reply = client_do(&look->client, "APPEND tokens %zu.%u,", t->tried, t->run);
    hf_assert(reply[0] == ':');
    t->tried++;
}

/* Opens, compares, and counts what is there as acknowledged: somebody has read it. */
static void tokens_open(struct tokens *t, struct look *look, const char *when)
{
    look_open(look, DURABILITY_COMMIT);
    size_t found = tokens_found(t, &look->client, when);
    if (found < t->acked)
        fail_msg("%s: %zu tokens, and %zu were acknowledged", when, found, t->acked);
    t->tried = t->acked = found;
    t->run++;
}

static _Atomic bool syncs_held;

static int fdatasync_held(int file)
{
    while (atomic_load(&syncs_held))
        usleep(200);
    return rec_fdatasync(file);
}

/* Recycled segments, tails that were never synced, and a second crash at the same place: inside the recovery. */
static void test_r6_crash_after_crash(void **state)
{
    static struct tokens t;
    struct look look;
    char when[64];
    (void)state;
    for (uint64_t seed = 1; seed <= 25; seed++) {
        uint64_t random = seed;
        memset(&t, 0, sizeof(t));
        rec_stop();
        rec_start();
        config.segment_size = 16 << 10;
        tokens_open(&t, &look, "new");
        for (int round = 0; round < 6; round++) {
            snprintf(when, sizeof(when), "seed %llu, round %d", (unsigned long long)seed, round);
            rec_os.fdatasync = fdatasync_held;
            for (uint64_t i = rec_next(&random) % 60; i > 0; i--) {
                tokens_append(&t, &look);
                if (rec_next(&random) % 4 == 0)
                    assert_int_equal(log_wait_durable(look.engine->log, look.client.lsn), HF_OK);
            }
            if (rec_next(&random) % 2) { /* trims, and so recycles */
                assert_int_equal(engine_snapshot_wait(look.engine), HF_OK);
                tokens_append(&t, &look);
            }
            assert_int_equal(log_wait_durable(look.engine->log, log_tail(look.engine->log)), HF_OK);
            t.acked = t.tried;
            atomic_store(&syncs_held, true); /* what follows is written at most */
            for (uint64_t i = 1 + rec_next(&random) % 5; i > 0; i--)
                tokens_append(&t, &look);
            usleep(2000);
            rec_arm(0, false, 1, rec_next(&random));
            rec_cut();
            atomic_store(&syncs_held, false);
            look_close(&look);
            rec_insert(rec.forks[0]);
            /* the second crash: at each of the first changes of the recovery, in turn */
            rec_arm(1 + rec_next(&random) % 12, false, 1, rec_next(&random));
            tokens_open(&t, &look, when);
            rec_cut(); /* if it has not come yet */
            look_close(&look);
            rec_insert(rec.forks[0]);
            t.acked = t.tried < t.acked ? t.tried : t.acked;
            rec_arm(0, false, 0, 0);
            tokens_open(&t, &look, when);
        }
        look_close(&look);
    }
}

/* The last segment of the directory. */
static struct rec_bytes *last_segment(void)
{
    struct rec_name *last = NULL;
    for (size_t i = 0; i < rec.disk->live.count; i++) {
        struct rec_name *n = &rec.disk->live.at[i];
        if (strstr(n->path, "/log-0") && (!last || strcmp(n->path, last->path) > 0))
            last = n;
    }
    assert_non_null(last);
    return &last->file->live;
}

/* A group of another epoch, its checksums in order, is not of this log's present: nothing of it is applied. */
static void test_r5_flipped_epochs(void **state)
{
    static struct tokens t;
    struct look look;
    (void)state;
    for (int change = -1; change <= 1; change++) {
        memset(&t, 0, sizeof(t));
        rec_stop();
        rec_start();
        rec_os.fdatasync = fdatasync_held;
        tokens_open(&t, &look, "new");
        rec_arm(0, false, 0, 0);
        look_close(&look);
        tokens_open(&t, &look, "opened again, so that there is an older epoch");
        for (int i = 0; i < 5; i++)
            tokens_append(&t, &look);
        assert_int_equal(log_wait_durable(look.engine->log, log_tail(look.engine->log)), HF_OK);
        size_t synced = t.tried;
        atomic_store(&syncs_held, true);
        tokens_append(&t, &look); /* is being synced for ever: nothing behind it says that it is durable */
        log_kick(look.engine->log);
        usleep(20000);
        rec_arm(0, true, 1, 1); /* a crash of the process: everything written is there */
        rec_cut();
        atomic_store(&syncs_held, false);
        look_close(&look);
        rec_insert(rec.forks[0]);

        struct rec_bytes *segment = last_segment();
        struct segment_scan scan = {.data = segment->data, .size = segment->size};
        assert_null(segment_header_decode(segment->data, segment->size, &scan.header));
        segment_scan_run(&scan, UINT64_MAX);
        assert_true(scan.count > 1);
        struct group_header *last = &scan.groups[scan.count - 1].header;
        assert_int_equal(last->records, 1);
        assert_int_equal(last->epoch, scan.header.epoch);
        last->epoch += (uint32_t)change;
        group_header_encode(last, segment->data + scan.groups[scan.count - 1].offset);
        segment_scan_release(&scan);

        t.acked = synced;
        tokens_open(&t, &look, "with a flipped epoch");
        assert_int_equal(t.tried, synced + (change == 0));
        look_close(&look);
    }
}

/* After a failed fsync the page cache says more than the disk. A process that dies then, and a recovery that reads the cache:
 * what it has served is on the disk, also when the power goes right after. */
static void test_r6_recovery_does_not_trust_the_page_cache(void **state)
{
    static struct tokens t;
    struct look look;
    (void)state;
    unsigned more = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        memset(&t, 0, sizeof(t));
        rec_stop();
        rec_start();
        rec_os.fdatasync = fdatasync_held;
        tokens_open(&t, &look, "new");
        for (int i = 0; i < 10; i++)
            tokens_append(&t, &look);
        assert_int_equal(log_wait_durable(look.engine->log, log_tail(look.engine->log)), HF_OK);
        t.acked = t.tried;
        atomic_store(&syncs_held, true);
        for (int i = 0; i < 3; i++)
            tokens_append(&t, &look);
        log_kick(look.engine->log);
        usleep(5000);
        rec_set_fault(REC_BIT(REC_FDATASYNC), NULL, 1, UINT64_MAX, -EIO); /* loses what it should have written, for ever */
        atomic_store(&syncs_held, false);
        for (int i = 0; i < 1000 && log_state(look.engine->log) == LOG_OK; i++)
            usleep(500);
        assert_int_equal(log_state(look.engine->log), LOG_BROKEN);
        rec_arm(0, true, 1, seed);
        rec_cut(); /* the process dies; the cache stays */
        rec_clear_fault();
        look_close(&look);
        rec_insert(rec.forks[0]);
        tokens_open(&t, &look, "from the page cache");
        more += t.tried > 10;
        rec_arm(0, false, 1, seed * 4); /* the power goes: the cache is dropped */
        rec_cut();
        look_close(&look);
        rec_insert(rec.forks[0]);
        tokens_open(&t, &look, "from the disk"); /* as many as were served before */
        look_close(&look);
    }
    assert_true(more > 0); /* the cache did say more than was acknowledged */
}

/* --- R9 ---------------------------------------------------------------------------------- */

#define R9_WORKERS 8
#define R9_KEYS 3
#define R9_ROUNDS 3000

struct delivered { char key; uint64_t lsn; int64_t count; };
static struct delivered deliveries[R9_WORKERS * R9_ROUNDS * 2];
static _Atomic size_t delivery_count;
static _Thread_local int64_t r9_result;

static void deliver(const struct event *e, uint64_t lsn)
{
    size_t at = atomic_fetch_add(&delivery_count, 1);
    hf_assert(at < sizeof(deliveries) / sizeof(deliveries[0]) && strcmp(e->name, "incrby") == 0);
    deliveries[at] = (struct delivered){(char)e->key.data[0], lsn, r9_result};
}

struct adder { struct engine *engine; unsigned worker; uint64_t random; };

static void *add_often(void *context)
{
    struct adder *a = context;
    struct txn *t = txn_new(a->engine);
    t->heap = a->engine->heaps[a->worker];
    for (int i = 0; i < R9_ROUNDS; i++) {
        char name = (char)('a' + rec_next(&a->random) % R9_KEYS);
        struct key k;
        while (!log_credit_take(a->engine->log, 1024)) {
            log_kick(a->engine->log);
            sched_yield();
        }
        txn_reset(t, 1000);
        txn_locate(a->engine, 0, bytes_of(&name, 1), &k);
        txn_lock_add(t, k.stripe);
        txn_lock_all_wait(t);
        bool roll_back = rec_next(&a->random) % 5 == 0;
        t->undoing = roll_back;
        bool added = string_incr_by(t, &k, 1, &r9_result) == HF_OK;
        hf_assert(added);
        txn_event(t, &k, EVENT_STRING, "incrby");
        if (roll_back)
            txn_rollback_all(t);
        else
            txn_commit_lsn(t);
        log_credit_return(a->engine->log, 1024);
        if (i % 16 == 0)
            log_kick(a->engine->log);
    }
    txn_free(t);
    return NULL;
}

static void test_r9_events_in_commit_order(void **state)
{
    (void)state;
    pthread_t threads[R9_WORKERS];
    struct adder adders[R9_WORKERS];
    atomic_store(&delivery_count, 0);
    struct engine *e = open_engine(DURABILITY_INTERVAL, R9_WORKERS);
    engine_events_listen(e, EVENT_STRING, deliver);
    for (unsigned i = 0; i < R9_WORKERS; i++) {
        adders[i] = (struct adder){e, i, i};
        threads[i] = thread_start("adder", add_often, &adders[i]);
    }
    for (int i = 0; i < R9_WORKERS; i++)
        pthread_join(threads[i], NULL);
    struct delivered last[R9_KEYS] = {0};
    size_t count = atomic_load(&delivery_count);
    for (size_t i = 0; i < count; i++) {
        struct delivered *d = &deliveries[i], *before = &last[d->key - 'a'];
        assert_true(d->lsn > before->lsn);
        assert_int_equal(d->count, before->count + 1); /* none missing, none of a rollback */
        *before = *d;
    }
    assert_true(count > R9_WORKERS * R9_ROUNDS / 2);
    engine_close(e);
}

/* --- R12 --------------------------------------------------------------------------------- */

static const struct { const char *remove[3], *ask, *answer; } r12_cases[] = {
    {{"DEL k"}, "GET k", "$-1\r\n"},
    {{"DEL k"}, "EXISTS k", ":0\r\n"},
    {{"DEL k"}, "MGET other k", "*2\r\n$-1\r\n$-1\r\n"},
    {{"RENAME k away"}, "TTL k", ":-2\r\n"},
    {{"MOVE k 1"}, "TYPE k", "+none\r\n"},
    {{"FLUSHDB"}, "STRLEN k", ":0\r\n"},
    {{"FLUSHALL"}, "GET k", "$-1\r\n"},
    {{"SWAPDB 0 1"}, "GET k", "$-1\r\n"},
    {{"PEXPIREAT k 1"}, "OBJECT ENCODING k", "$-1\r\n"},
    {{"MULTI", "DEL k", "EXEC"}, "DBSIZE", ":0\r\n"},
    {{"DEL k"}, "KEYS *", "*0\r\n"},
    {{"DEL k"}, "SET k x NX", "+OK\r\n"}, /* a write that depends on the absence */
};

static void test_r12_absence_is_gated(void **state)
{
    (void)state;
    unsigned back = 0;
    for (size_t i = 0; i < sizeof(r12_cases) / sizeof(r12_cases[0]) * 4; i++) {
        size_t row = i / 4;
        rec_stop();
        rec_start();
        rec_os.fdatasync = fdatasync_held;
        struct engine *e = open_engine(DURABILITY_COMMIT, 2);
        struct exec *x[2] = {exec_new(e, 0), exec_new(e, 1)};
        struct client one, two;
        client_init(&one, x[0], DURABILITY_COMMIT);
        client_init(&two, x[1], DURABILITY_COMMIT);
        assert_true(client_ok(client_do(&one, "SET k v")));
        assert_int_equal(log_wait_durable(e->log, one.lsn), HF_OK);
        atomic_store(&syncs_held, true);
        for (int k = 0; k < 3 && r12_cases[row].remove[k]; k++)
            assert_true(client_do(&one, "%s", r12_cases[row].remove[k])[0] != '-');
        assert_string_equal(client_do(&two, "%s", r12_cases[row].ask), r12_cases[row].answer);
        if (two.lsn < one.lsn || one.lsn <= log_durable(e->log))
            fail_msg("%s after %s may be answered at %llu, and the removal is safe at %llu only", r12_cases[row].ask,
                     r12_cases[row].remove[0], (unsigned long long)two.lsn, (unsigned long long)one.lsn);
        rec_arm(0, false, 1, i);
        rec_cut();
        uint64_t durable = log_durable(e->log);
        atomic_store(&syncs_held, false);
        client_release(&one);
        client_release(&two);
        exec_free(x[0]);
        exec_free(x[1]);
        engine_close(e);
        rec_insert(rec.forks[0]);
        struct look look;
        look_open(&look, DURABILITY_COMMIT);
        bool is_back = strcmp(client_do(&look.client, "GET k"), "$1\r\nv\r\n") == 0;
        back += is_back;
        assert_true(!is_back || two.lsn > durable); /* nobody was told that it was gone */
        look_close(&look);
    }
    assert_true(back > 0); /* the trap is there */
}

/* --- R13 --------------------------------------------------------------------------------- */

#define R13_START UINT64_C(1700000000000)

static _Atomic uint64_t r13_now;
static _Thread_local int64_t r13_offset;

static uint64_t wall_skewed(void) { return atomic_load(&r13_now) + (uint64_t)r13_offset; }

static const char *ask_at(struct client *c, int64_t offset, const char *words)
{
    r13_offset = offset;
    return client_do(c, "%s", words);
}

static void test_r13_two_clocks(void **state)
{
    (void)state;
    for (int durability = DURABILITY_NONE; durability <= DURABILITY_COMMIT; durability++) {
        rec_stop();
        rec_start();
        rec_os.wall_ms = wall_skewed;
        atomic_store(&r13_now, R13_START);
        struct engine *e = open_engine((enum durability)durability, 2);
        struct exec *x[2] = {exec_new(e, 0), exec_new(e, 1)};
        struct client slow, fast;
        client_init(&slow, x[0], durability);
        client_init(&fast, x[1], durability);
        for (int i = 0; i < 200; i++) {
            char key[64], get[64];
            snprintf(key, sizeof(key), "SET k%d v PXAT %llu", i, (unsigned long long)(atomic_load(&r13_now) + 200));
            snprintf(get, sizeof(get), "GET k%d", i);
            assert_true(client_ok(ask_at(&slow, 0, key)));
            atomic_fetch_add(&r13_now, 170); /* 30 ms before the deadline for the slow one, 20 ms behind it for the fast one */
            r13_offset = 0;
            assert_true(exec_batch_begin(x[0])); /* its clock is read here, and a batch may be long */
            slow.in_batch = true;
            assert_string_equal(ask_at(&slow, 0, get), "$1\r\nv\r\n");
            assert_string_equal(ask_at(&fast, 50, get), "$-1\r\n");
            uint64_t seen = fast.lsn;
            assert_string_equal(ask_at(&slow, 0, get), "$-1\r\n"); /* gone is gone */
            assert_true(slow.lsn >= seen);
            slow.in_batch = false;
            exec_batch_end(x[0]);
            assert_string_equal(ask_at(&slow, 0, get), "$-1\r\n");
            assert_string_equal(ask_at(&slow, -5000, get), "$-1\r\n"); /* the clock was set back */
        }
        /* Someone was told that it is gone; then a crash, and a clock that runs behind. */
        char last[64];
        snprintf(last, sizeof(last), "SET last v PXAT %llu", (unsigned long long)(atomic_load(&r13_now) + 200));
        assert_true(client_ok(ask_at(&slow, 0, last)));
        assert_true(client_ok(ask_at(&slow, 0, "SET stays v PX 100000")));
        atomic_fetch_add(&r13_now, 170);
        assert_string_equal(ask_at(&fast, 50, "GET last"), "$-1\r\n");
        if (durability == DURABILITY_COMMIT)
            assert_int_equal(log_wait_durable(e->log, fast.lsn), HF_OK); /* the answer has left */
        rec_arm(0, false, 1, 7);
        rec_cut();
        client_release(&slow);
        client_release(&fast);
        exec_free(x[0]);
        exec_free(x[1]);
        engine_close(e);
        if (durability != DURABILITY_COMMIT)
            continue;
        rec_insert(rec.forks[0]);
        atomic_fetch_sub(&r13_now, 155);
        r13_offset = 0;
        struct look look;
        look_open(&look, DURABILITY_COMMIT);
        assert_string_equal(client_do(&look.client, "GET last"), "$-1\r\n");
        assert_string_equal(client_do(&look.client, "GET stays"), "$1\r\nv\r\n");
        assert_true(look.exec && atomic_load(&look.engine->time_high) >= R13_START + 200 * 170 + 220);
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
        cmocka_unit_test_setup_teardown(test_r6_crash_after_crash, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r5_flipped_epochs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r6_recovery_does_not_trust_the_page_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r9_events_in_commit_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r12_absence_is_gated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r13_two_clocks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
