/* rules.h -- what the tests of the engine's rules share: an engine on the simulated disk, a client for a look.
 *
 * Set `config` before opening; setup and teardown are cmocka's.
 */
#ifndef HF_TEST_RULES_H
#define HF_TEST_RULES_H

#include "recorder.h"
#include "exec_client.h"

#define DATA_DIR REC_ROOT "/data"

static struct engine_config config;
static char detail[512];

__attribute__((unused)) static struct engine *open_engine(enum durability durability, unsigned workers)
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

__attribute__((unused)) static int setup(void **state)
{
    (void)state;
    command_table_init();
    config = (struct engine_config){.ring_size = 256 << 10, .segment_size = 64 << 10, .interval_ms = 5};
    rec_start();
    return 0;
}

__attribute__((unused)) static int teardown(void **state)
{
    (void)state;
    rec_stop();
    return 0;
}

/* One engine with one client, for a look. */
struct look { struct engine *engine; struct exec *exec; struct client client; };

__attribute__((unused)) static void look_open(struct look *l, enum durability durability)
{
    l->engine = open_engine(durability, 1);
    l->exec = exec_new(l->engine, 0);
    client_init(&l->client, l->exec, DURABILITY_NONE);
}

__attribute__((unused)) static void look_close(struct look *l)
{
    client_release(&l->client);
    exec_free(l->exec);
    engine_close(l->engine);
}

#endif
