/* monitor.h -- MONITOR: every command that runs, as a line, to the connections that ask for it.
 *
 * Lines of a transaction are sent when it commits, in the order of its commands; what is undone is not shown. They
 * wait for no log. Commands with CMD_ADMIN are not shown, passwords neither.
 */
#ifndef HF_CMD_MONITOR_H
#define HF_CMD_MONITOR_H

#include "cmd/command.h"

extern _Atomic uint32_t monitor_count;

/* Call it in the order in which the lines are to be seen. */
void monitor_show(const struct call *c);
void monitor_leave(struct session *s); /* RESET, closed */

#endif
