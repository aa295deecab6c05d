/* main.c -- the life of the server, as a table of contents. */
#include "cmd/command.h"
#include "base/memory.h"
#include "server/config.h"
#include "server/logline.h"
#include "server/server.h"
#include "server/start.h"
#include "server/tls_settings.h"
#include "server/users.h"

#include <stdio.h>
#include <stdlib.h>

static int refuse(const char *error)
{
    fprintf(stderr, "holdfast: %s\n", error);
    start_tell(error);
    if (config_text(SETTING_LOGFILE)[0])
        logline(LOG_WARNING, "%s", error);
    return EXIT_FAILURE;
}

static void note_memory(void)
{
    struct engine_stats stats;
    mem_tell();
    engine_stats(server.engine, NULL, &stats);
    server.started_memory = stats.used_memory;
}

int main(int argc, char **argv)
{
    char error[CONFIG_ERROR_SIZE * 2] = "";
    enum config_run run;

    if (!config_read(argc, argv, &run, error))
        return refuse(error);
    if (run == CONFIG_RUN_HELP || run == CONFIG_RUN_HELP_ALL)
        return config_help(run == CONFIG_RUN_HELP_ALL), EXIT_SUCCESS;
    if (run == CONFIG_RUN_VERSION)
        return puts("holdfast " HF_VERSION), EXIT_SUCCESS;
    command_table_init();
    if (!users_start(error, sizeof(error)) || !start_is_safe(error, sizeof(error)) || !tls_start(error, sizeof(error)))
        return refuse(error);
    if (run == CONFIG_RUN_CHECK)
        return puts("the configuration is good"), EXIT_SUCCESS;

    if (!start_process(error, sizeof(error)))
        return refuse(error);
    mem_purge_in_background();
    host_bind();
    host_apply_settings();
    if (!start_engine(error, sizeof(error)))
        return refuse(error);
    if (!start_net(error, sizeof(error))) {
        engine_close(server.engine);
        return refuse(error);
    }
    note_memory();
    start_announce();
    start_tell(NULL);

    wait_for_end();
    stop_all();
    return EXIT_SUCCESS;
}
