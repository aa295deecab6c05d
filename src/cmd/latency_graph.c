/* latency_graph.c -- a column per sample, 80 beside each other: four lines of three levels each, from the lowest sample to the highest. */
#include "cmd/latency_graph.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS 80u
#define LINES 4u
#define LEVELS 3u /* in one line: those of the letters below */
#define LABEL_MAX 24

struct column { unsigned step; char label[LABEL_MAX]; };

/* 0 .. LINES * LEVELS - 1 */
static unsigned step_of(uint64_t ms, uint64_t low, uint64_t high)
{
    uint64_t span = high > low ? high - low : 1, step = (ms - low) * (LINES * LEVELS) / span;
    return step < LINES * LEVELS ? (unsigned)step : LINES * LEVELS - 1;
}

static void label_age(uint64_t age_s, char out[LABEL_MAX])
{
    static const struct { uint64_t seconds; char letter; } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    size_t i = 0;
    while (i < 3 && age_s < units[i].seconds)
        i++;
    snprintf(out, LABEL_MAX, "%llu%c", (unsigned long long)(age_s / units[i].seconds), units[i].letter);
}

static char letter_of(unsigned step, unsigned line)
{
    unsigned bottom = (LINES - 1 - line) * LEVELS;
    if (step < bottom)
        return ' ';
    return step < bottom + LEVELS ? "_o#"[step - bottom] : '|';
}

static void put_letter(struct buf *out, char letter) { buf_append(out, &letter, 1); }

static void put_labels(const struct column *columns, size_t count, struct buf *out)
{
    bool more = true;
    for (size_t at = 0; more; at++) {
        more = false;
        for (size_t i = 0; i < count; i++) {
            size_t size = strlen(columns[i].label);
            put_letter(out, at < size ? columns[i].label[at] : ' ');
            more = more || at + 1 < size;
        }
        put_letter(out, '\n');
    }
}

static void put_part(const struct column *columns, size_t count, struct buf *out)
{
    for (unsigned line = 0; line < LINES; line++) {
        for (size_t i = 0; i < count; i++)
            put_letter(out, letter_of(columns[i].step, line));
        put_letter(out, '\n');
    }
    for (size_t i = 0; i < count; i++)
        put_letter(out, ' ');
    put_letter(out, '\n');
    put_labels(columns, count, out);
}

void latency_graph(const char *event, const struct latency_series *s, uint64_t now_s, struct buf *out)
{
    struct column columns[LATENCY_SAMPLES];
    uint64_t low = UINT64_MAX, high = 0;
    for (size_t i = 0; i < s->count; i++) {
        low = s->samples[i].ms < low ? s->samples[i].ms : low;
        high = s->samples[i].ms > high ? s->samples[i].ms : high;
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct latency_sample *sample = &s->samples[i];
        columns[i].step = step_of(sample->ms, low, high);
        label_age(now_s > sample->time_s ? now_s - sample->time_s : 0, columns[i].label);
    }
    buf_printf(out, "%s - high %llu ms, low %llu ms (all time high %llu ms)\n", event, (unsigned long long)high,
               (unsigned long long)low, (unsigned long long)s->max_ms);
    for (unsigned i = 0; i < COLUMNS; i++)
        put_letter(out, '-');
    put_letter(out, '\n');
    for (size_t from = 0; from < s->count; from += COLUMNS) {
        if (from)
            put_letter(out, '\n');
        put_part(columns + from, s->count - from < COLUMNS ? s->count - from : COLUMNS, out);
    }
}
