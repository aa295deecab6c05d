/* percentiles.c -- from words to numbers and back; a line per command. */
#include "server/percentiles.h"

#include "base/number.h"
#include "cmd/times.h"
#include "os/ticks.h"
#include "server/config.h"

#include <stdio.h>
#include <string.h>

static bool say(char *reason, size_t size, const char *text)
{
    snprintf(reason, size, "%s", text);
    return false;
}

bool percentiles_parse(const char *text, double out[PERCENTILES_MAX], size_t *count, char *reason, size_t reason_size)
{
    size_t known = 0;
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t size = strcspn(text, " ");
        double value;
        if (known == PERCENTILES_MAX || !number_parse_double(bytes_of(text, size), &value))
            return say(reason, reason_size, "Invalid latency-tracking-info-percentiles parameters");
        if (!(value >= 0 && value <= 100))
            return say(reason, reason_size, "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
        out[known++] = value;
        text += size;
    }
    *count = known;
    return true;
}

void percentiles_word(const double *percents, size_t count, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%.15g", i ? " " : "", percents[i]);
}

/* Not inlined: its counts and its caller's text are too much for one frame. */
static __attribute__((noinline)) void write_row(struct buf *out, const struct command *row, const double *percents, size_t count)
{
    uint64_t sums[HISTOGRAM_BUCKETS], total = times_sum(row, sums);
    double tick_us = ticks_ns() / 1000;
    if (total == 0)
        return;
    buf_printf(out, "latency_percentiles_usec_%s:", row->full_name);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%sp%.15g=%.3f", i ? "," : "", percents[i],
                   tick_us * (double)histogram_highest(histogram_percentile(sums, total, percents[i])));
    buf_printf(out, "\r\n");
}

void info_latencystats(struct buf *out)
{
    char text[CONFIG_TEXT_MAX], reason[CONFIG_ERROR_SIZE];
    double percents[PERCENTILES_MAX];
    size_t count = 0;
    config_copy(SETTING_LATENCY_PERCENTILES, text);
    bool good = percentiles_parse(text, percents, &count, reason, sizeof(reason));
    hf_assert(good);
    for (struct command_walk w = {0}; command_next(&w);)
        write_row(out, w.row, percents, count);
}
