/* slowlog.h -- the commands that took longest lately, for SLOWLOG; and the look at each command's time, which is LATENCY's, too.
 *
 * Threads: any. The log is one for the server, behind a lock that only slow commands and SLOWLOG take.
 */
#ifndef HF_CMD_SLOWLOG_H
#define HF_CMD_SLOWLOG_H

#include "cmd/command.h"

#include <stdatomic.h>

/* What took this many ticks (os/ticks.h) or more is for SLOWLOG, for LATENCY or for both; UINT64_MAX: neither is on. Looked at
 * after every command. */
extern _Atomic uint64_t slowlog_threshold;

void slowlog_set_threshold(int64_t us); /* negative: off; 0: everything */
void slowlog_set_latency(uint64_t ms); /* latency-monitor-threshold; 0: off */
bool slowlog_keeps_ms(uint64_t ms); /* is a command that took this long kept? */
void slowlog_set_length(uint64_t entries); /* 128 at first; the oldest go */
void slowlog_note(const struct session *s, const struct command *row, const bytes *argv, size_t argc, uint64_t ticks, uint64_t unix_ms);

/* Notes the command if it was slow. */
static inline void slowlog_look(const struct session *s, const struct command *row, const bytes *argv, size_t argc, uint64_t ticks,
                                uint64_t unix_ms)
{
    if (HF_UNLIKELY(ticks >= atomic_load_explicit(&slowlog_threshold, memory_order_relaxed)))
        slowlog_note(s, row, argv, argc, ticks, unix_ms);
}

/* Is word i a password? */
bool slowlog_is_secret(const struct command *row, const bytes *argv, size_t argc, size_t i);

#endif
