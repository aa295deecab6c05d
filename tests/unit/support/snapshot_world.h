/* snapshot_world.h -- what tests of snapshots share: a store, a directory, and a log that is only its positions.
 *
 * Include it once, after cmocka.
 */
#ifndef HF_TESTS_SNAPSHOT_WORLD_H
#define HF_TESTS_SNAPSHOT_WORLD_H

#include "durable/snapshot.h"
#include "os/os.h"
#include "store/entry_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOG_ID 0x1122334455667788u
#define SECRET 0x5eed5eed5eed5eedu

/* -- a log that is only its positions -- */

struct log { _Atomic uint64_t tail, waited; status answer; };

uint64_t log_tail(const struct log *log) { return atomic_load(&log->tail); }

status log_wait_durable(struct log *log, uint64_t lsn)
{
    atomic_store(&log->waited, lsn);
    return log->answer;
}

/* -- directories -- */

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/hf-snapshot-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static void remove_file(void *context, const char *name)
{
    char path[512];
    (void)context;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    unlink(path);
}

static int remove_dir(void **state)
{
    (void)state;
    os_current = &os_kernel;
    os_kernel.list_dir(dir, remove_file, NULL);
    return rmdir(dir);
}

static void count_name(void *context, const char *name)
{
    (void)name;
    ++*(int *)context;
}

static inline int file_count(void)
{
    int count = 0;
    os_kernel.list_dir(dir, count_name, &count);
    return count;
}

/* -- stores -- */

struct world { struct store *store; struct slab_heap *heaps[4]; };

static struct world world_new(uint64_t secret)
{
    struct world w = {.store = store_new(secret)};
    for (int i = 0; i < 4; i++)
        w.heaps[i] = slab_heap_new(w.store->slab);
    return w;
}

static void world_free(struct world *w) { store_free(w->store); }

static uint64_t random_state = 1;

static inline uint64_t roll(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * UINT64_C(0x2545F4914F6CDD1D);
}

/* Puts an image (its object adopted) under the stripe's lock; lsn: the log's tail moves there within. */
static void put(struct world *w, struct slab_heap *heap, uint32_t db, struct entry_image *image, void *object,
                struct log *log)
{
    struct key k;
    store_locate(w->store, image->key, &k);
    struct entry *e = entry_from_image(heap, image, object);
    assert_non_null(e);
    struct stripe *s = &w->store->stripes[k.stripe];
    stripe_lock_wait(s);
    if (log)
        atomic_fetch_add(&log->tail, 8);
    struct table *t = stripe_table_make(w->store, s, db);
    struct place p;
    if (table_find(t, k.name, k.hash, &p)) {
        struct entry *old = p.entry;
        table_replace(t, &p, e);
        entry_free(heap, old);
    } else {
        table_insert(t, k.hash, e, 0);
    }
    stripe_deadline_update(s);
    stripe_unlock(s);
}

#endif
