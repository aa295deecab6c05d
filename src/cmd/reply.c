/* reply.c -- error lines: the only events that are put together here, and counted. */
#include "cmd/reply.h"

#include "base/memory.h"
#include "data/rope.h"
#include "os/thread.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ERROR_LINE_MAX 1000

static struct { /* errors are rare enough for one lock */
    struct spin lock;
    size_t count;
    uint64_t total;
    struct error_count words[ERROR_WORDS_MAX];
} counted;

static void count_error(const char *line)
{
    char word[sizeof(counted.words[0].word)] = "";
    size_t size = strcspn(line, " \r\n"), at = 0;
    memcpy(word, line, size < sizeof(word) ? size : sizeof(word) - 1);
    spin_lock(&counted.lock);
    counted.total++;
    while (at < counted.count && strcmp(counted.words[at].word, word) != 0)
        at++;
    if (at == counted.count && at < ERROR_WORDS_MAX)
        memcpy(counted.words[counted.count++].word, word, sizeof(word));
    if (at < counted.count)
        counted.words[at].count++;
    spin_unlock(&counted.lock);
}

static int by_word(const void *a, const void *b)
{
    return strcmp(((const struct error_count *)a)->word, ((const struct error_count *)b)->word);
}

size_t reply_error_counts(struct error_count out[ERROR_WORDS_MAX], uint64_t *total)
{
    spin_lock(&counted.lock);
    size_t count = counted.count;
    *total = counted.total;
    memcpy(out, counted.words, count * sizeof(*out));
    spin_unlock(&counted.lock);
    qsort(out, count, sizeof(*out), by_word);
    return count;
}

void reply_error_counts_reset(void)
{
    spin_lock(&counted.lock);
    counted.count = 0;
    counted.total = 0;
    memset(counted.words, 0, sizeof(counted.words));
    spin_unlock(&counted.lock);
}

void reply_error_passed_on(struct reply *r, bytes line, bool is_counted)
{
    r->errors++;
    if (!is_counted)
        count_error((const char *)line.data);
    r->ops->error(r, line);
}

void reply_error_line(struct reply *r, const char *line)
{
    reply_error_passed_on(r, bytes_str(line), false);
}

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

void rope_part_read(const struct rope_part *part, size_t from, size_t size, uint8_t *out)
{
    if (part->rope)
        rope_read(part->rope, part->offset + from, size, out);
    else if (size)
        memcpy(out, part->bytes + part->offset + from, size);
}

void reply_rope(struct reply *r, const struct rope_part *part)
{
    if (HF_LIKELY(r->ops->rope != NULL)) {
        r->ops->rope(r, part);
        return;
    }
    uint8_t *joined = mem_alloc(part->size);
    rope_part_read(part, 0, part->size, joined);
    r->ops->bulk(r, bytes_of(joined, part->size));
    mem_free(joined);
}

void reply_status(struct reply *r, status s)
{
    char line[ERROR_LINE_MAX];
    snprintf(line, sizeof(line), "%s %s", status_word(s), status_text(s));
    reply_error_line(r, line);
}
