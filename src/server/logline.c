/* logline.c -- format on the stack, one write. A log that cannot be written is no reason
 * to stop: the line is lost and the server goes on. */
#include "server/logline.h"

#include "os/os.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_SIZE 2048

static const char *const level_names[] = {"debug", "verbose", "notice", "warning"};
static _Atomic int file = STDOUT_FILENO;
static _Atomic int least = LOG_NOTICE;
static char file_path[4096];

int logline_open(const char *path)
{
    if (!path[0])
        return 0;
    int opened = OS.open(path, O_WRONLY | O_CREAT | O_APPEND, 0640);
    if (opened < 0)
        return opened;
    snprintf(file_path, sizeof(file_path), "%s", path);
    atomic_store(&file, opened);
    return 0;
}

/* dup2 over the old number: a thread that is just writing has an open file either way. */
void logline_reopen(void)
{
    if (!file_path[0])
        return;
    int opened = OS.open(file_path, O_WRONLY | O_CREAT | O_APPEND, 0640);
    if (opened < 0)
        return;
    dup2(opened, atomic_load(&file));
    OS.close(opened);
}

void logline_set_level(enum log_level level)
{
    atomic_store(&least, (int)level);
}

bool logline_wanted(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&least, memory_order_relaxed);
}

static size_t put_head(char *line, size_t size, enum log_level level)
{
    uint64_t now_ms = OS.wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm t;
    gmtime_r(&seconds, &t);
    size_t used = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &t);
    return used + (size_t)snprintf(line + used, size - used, ".%03uZ %-8s ", (unsigned)(now_ms % 1000), level_names[level]);
}

void logline(enum log_level level, const char *format, ...)
{
    if (level >= LOG_NOTHING || !logline_wanted(level))
        return;
    char line[LINE_MAX_SIZE];
    size_t used = put_head(line, sizeof(line), level);
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
    va_end(args);
    used += size < 0 ? 0 : (size_t)size;
    if (used > sizeof(line) - 2)
        used = sizeof(line) - 2;
    while (used > 0 && line[used - 1] == '\n')
        used--;
    line[used++] = '\n';
    ssize_t ignored = write(atomic_load(&file), line, used);
    (void)ignored;
}

void logline_callback(void *context, int level, const char *line)
{
    (void)context;
    logline(level < 0 ? LOG_DEBUG : level > LOG_WARNING ? LOG_WARNING : (enum log_level)level, "%s", line);
}
