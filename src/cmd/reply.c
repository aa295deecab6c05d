/* reply.c -- error lines: the only events that are put together here. */
#include "cmd/reply.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>

#define ERROR_LINE_MAX 1000

void reply_errorf(struct reply *r, const char *format, ...)
{
    char line[ERROR_LINE_MAX], *whole = line;
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    if (size >= (int)sizeof(line) && (whole = mem_try_alloc((size_t)size + 1)))
        vsnprintf(whole, (size_t)size + 1, format, again);
    va_end(again);
    va_end(arguments);
    reply_error_line(r, whole ? whole : line);
    if (whole != line)
        mem_free(whole);
}

void reply_status(struct reply *r, status s)
{
    char line[ERROR_LINE_MAX];
    snprintf(line, sizeof(line), "%s %s", status_word(s), status_text(s));
    reply_error_line(r, line);
}
