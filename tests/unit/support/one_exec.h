/* one_exec.h -- an engine on the simulated disk with one executor and one client: `engine`, `executor`, `client`. */
#ifndef HF_TEST_ONE_EXEC_H
#define HF_TEST_ONE_EXEC_H

#include "exec_client.h"
#include "recorder.h"

#define DATA_DIR REC_ROOT "/data"

static struct engine *engine;
static struct exec *executor;
static struct client client;

static void open_it(enum durability durability)
{
    char detail[512];
    struct engine_config config = {.dir = DATA_DIR, .workers = 2, .durability = durability, .interval_ms = 5,
                                   .segment_size = 1 << 20};
    if (engine_open(&config, &engine, detail, sizeof(detail)) != HF_OK)
        fail_msg("%s", detail);
    executor = exec_new(engine, 0);
    client_init(&client, executor, DURABILITY_NONE);
}

static void close_it(void)
{
    client_release(&client);
    exec_free(executor);
    engine_close(engine);
}

#endif
