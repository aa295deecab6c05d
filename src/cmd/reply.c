/* reply.c -- error lines: the only events that are put together here. */
#include "cmd/reply.h"

#include <stdarg.h>
#include <stdio.h>

#define ERROR_LINE_MAX 1000

void reply_errorf(struct reply *r, const char *format, ...)
{
    char line[ERROR_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    reply_error_line(r, line);
}

void reply_status(struct reply *r, status s)
{
    char line[ERROR_LINE_MAX];
    snprintf(line, sizeof(line), "%s %s", status_word(s), status_text(s));
    reply_error_line(r, line);
}
