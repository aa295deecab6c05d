/* start.h -- the steps of main.c: each does one thing and says in words why it cannot. */
#ifndef HF_SERVER_START_H
#define HF_SERVER_START_H

#include "server/server.h"

#include <signal.h>

bool start_is_safe(char *error, size_t size);  /* no public address without a password */
bool start_process(char *error, size_t size);  /* background, signals, log, limits, pid file */
bool start_engine(char *error, size_t size);   /* opens and recovers, with progress lines */
bool start_net(char *error, size_t size);
void start_announce(void);                     /* the lines that an operator reads first */
void start_tell(const char *error);            /* whoever called, if this went to the background; NULL: it serves */
/* stop.c */
sigset_t stop_signals(void);                   /* those that the main thread takes */
bool stop_ask(unsigned how);                   /* enum end_how; struct host's shutdown */
void wait_for_end(void);                       /* sleeps until a signal or SHUTDOWN */
void stop_all(void);                           /* drain, close the engine, remove the pid file */

#endif
