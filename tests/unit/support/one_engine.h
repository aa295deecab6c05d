/* one_engine.h -- an engine on the simulated disk with one transaction: `engine`, `t`. */
#ifndef HF_TEST_ONE_ENGINE_H
#define HF_TEST_ONE_ENGINE_H

#include "recorder.h"

#include "engine/engine.h"
#include "engine/internal.h" /* before `t`, which its parameters would shadow */

#define DATA_DIR REC_ROOT "/data"

static struct engine *engine;
static struct txn *t;

static void open_engine(enum durability durability)
{
    char detail[512] = "";
    struct engine_config config = {.dir = DATA_DIR, .databases = 4, .workers = 1, .durability = durability,
                                   .ring_size = 512 << 10, .segment_size = 256 << 10};
    if (engine_open(&config, &engine, detail, sizeof(detail)) != HF_OK)
        fail_msg("%s", detail);
    t = txn_new(engine);
}

static void close_engine(void)
{
    txn_free(t);
    engine_close(engine);
}

/* Of one test, in commit mode. */
static inline int one_engine_setup(void **state)
{
    (void)state;
    rec_start();
    open_engine(DURABILITY_COMMIT);
    return 0;
}

static inline int one_engine_teardown(void **state)
{
    (void)state;
    close_engine();
    rec_stop();
    return 0;
}

/* In commit mode. snapshot: what is there is in one, and not in the log any more. */
static inline void reopen(bool snapshot)
{
    if (snapshot)
        assert_int_equal(engine_snapshot_wait(engine), HF_OK);
    close_engine();
    open_engine(DURABILITY_COMMIT);
}

#endif
