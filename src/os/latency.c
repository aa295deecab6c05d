/* latency.c -- a ring of samples for each event behind one lock. */
#include "os/latency.h"

#include "os/os.h"
#include "os/thread.h"

#include <string.h>

_Atomic uint64_t latency_threshold_ms;

static const struct { const char *name, *advice; } rows[] = {
#define EVENT(id, text, help) [LATENCY_##id] = {text, help},
#include "os/latency.def"
#undef EVENT
};

static struct spin lock;
static struct ring {
    uint64_t max_ms;
    size_t count, next; /* next: where the next sample goes */
    struct latency_sample samples[LATENCY_SAMPLES];
} rings[LATENCY_EVENTS];

static void add_locked(struct ring *r, uint64_t time_s, uint64_t ms)
{
    struct latency_sample *last = &r->samples[(r->next + LATENCY_SAMPLES - 1) % LATENCY_SAMPLES];
    r->max_ms = ms > r->max_ms ? ms : r->max_ms;
    if (r->count && last->time_s == time_s) {
        last->ms = ms > last->ms ? ms : last->ms;
        return;
    }
    r->samples[r->next] = (struct latency_sample){time_s, ms};
    r->next = (r->next + 1) % LATENCY_SAMPLES;
    r->count += r->count < LATENCY_SAMPLES;
}

void latency_note(enum latency_event event, uint64_t us)
{
    uint64_t threshold_ms = atomic_load_explicit(&latency_threshold_ms, memory_order_relaxed);
    if (threshold_ms == 0 || us / 1000 < threshold_ms)
        return;
    uint64_t now_s = OS.wall_ms() / 1000;
    spin_lock(&lock);
    add_locked(&rings[event], now_s, us / 1000);
    spin_unlock(&lock);
}

uint64_t latency_begin_us(void) { return latency_is_on() ? OS.monotonic_us() : 0; }

void latency_end(enum latency_event event, uint64_t begin_us)
{
    if (begin_us)
        latency_note(event, OS.monotonic_us() - begin_us);
}

const char *latency_name(enum latency_event event) { return rows[event].name; }

const char *latency_advice(enum latency_event event) { return rows[event].advice; }

void latency_copy(enum latency_event event, struct latency_series *out)
{
    const struct ring *r = &rings[event];
    spin_lock(&lock);
    out->max_ms = r->max_ms;
    out->count = r->count;
    for (size_t i = 0; i < r->count; i++)
        out->samples[i] = r->samples[(r->next + LATENCY_SAMPLES - r->count + i) % LATENCY_SAMPLES];
    spin_unlock(&lock);
}

bool latency_reset(enum latency_event event)
{
    struct ring *r = &rings[event];
    spin_lock(&lock);
    bool any = r->count != 0;
    memset(r, 0, sizeof(*r));
    spin_unlock(&lock);
    return any;
}
