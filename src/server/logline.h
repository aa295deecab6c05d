/* logline.h -- the server's log: one readable line per event.
 *
 *   2026-11-21T15:01:02.345Z notice   ready on 127.0.0.1:6379
 *
 * Any thread; a line is one write(2), so lines never mix. Nothing a client stored is
 * ever logged.
 */
#ifndef HF_SERVER_LOGLINE_H
#define HF_SERVER_LOGLINE_H

#include "base/assert.h"

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING, LOG_NOTHING };

/* path "": standard output. 0 or -errno. */
int logline_open(const char *path) HF_CHECK;
void logline_reopen(void); /* SIGHUP: after the file was moved away */
void logline_set_level(enum log_level level);
bool logline_wanted(enum log_level level);
void logline(enum log_level level, const char *format, ...) HF_PRINTF(2, 3);
/* As the engine and the network call it. */
void logline_callback(void *context, int level, const char *line);

#endif
