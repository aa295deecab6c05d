/* exec_client.h -- a client without a socket: commands straight into an executor, replies as RESP2 bytes.
 *
 * One struct client per thread, with a worker's struct exec; several may share an exec in one thread. A
 * parked command is tried again when it is woken, as the network does. `lsn` is what the reply has to
 * wait for. The engine must have been opened with enough workers; command_table_init() was called.
 */
#ifndef HF_TEST_EXEC_CLIENT_H
#define HF_TEST_EXEC_CLIENT_H

#include "base/memory.h"
#include "cmd/exec.h"
#include "engine/internal.h"
#include "proto/resp/resp_reply.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>

#define EXEC_CLIENT __attribute__((unused)) static
#define CLIENT_WORDS 64

struct client {
    struct exec *exec;
    struct session session;
    struct buf out;
    struct park_node node;
    _Atomic bool woken;
    bool in_batch;  /* the caller has begun one, and ends it */
    uint64_t lsn;
};

EXEC_CLIENT void client_woken(struct park_node *node)
{
    struct client *c = (struct client *)(void *)((char *)node - offsetof(struct client, node));
    atomic_store(&c->woken, true);
}

EXEC_CLIENT void client_init(struct client *c, struct exec *x, int durability)
{
    memset(c, 0, sizeof(*c));
    c->exec = x;
    c->node.wake = client_woken;
    buf_init(&c->out, (size_t)1 << 40);
    session_init(&c->session, 1, &resp_reply_ops, &c->out);
    c->session.authenticated = true;
    c->session.worker = exec_worker(x);
    c->session.durability = durability;
}

EXEC_CLIENT void client_release(struct client *c)
{
    session_release(&c->session);
    buf_release(&c->out);
}

EXEC_CLIENT void client_wait(struct client *c)
{
    while (!atomic_exchange(&c->woken, false)) {
        exec_housekeeping(c->exec); /* wakes who waits for credit */
        sched_yield();
    }
}

/* The reply: RESP2, and a zero behind it. Ends with the next command of this client. */
EXEC_CLIENT const char *client_run(struct client *c, const bytes *argv, size_t argc)
{
    struct parsed_command p = {.argv = argv, .argc = argc};
    buf_reset(&c->out);
    for (;;) {
        while (!c->in_batch && !exec_batch_begin(c->exec))
            sched_yield();
        exec_prefetch(c->exec, &c->session, &p, 1);
        enum exec_result result = exec_run(c->exec, &c->session, &p, &c->node, &c->lsn);
        if (!c->in_batch)
            exec_batch_end(c->exec);
        if (result == EXEC_DONE)
            break;
        hf_assert(!c->in_batch);
        client_wait(c);
    }
    buf_append_u8(&c->out, 0);
    return (const char *)c->out.data;
}

/* Words separated by single spaces, printf. */
EXEC_CLIENT const char *client_do(struct client *c, const char *format, ...) HF_PRINTF(2, 3);
EXEC_CLIENT const char *client_do(struct client *c, const char *format, ...)
{
    char line[4096];
    bytes words[CLIENT_WORDS];
    size_t count = 0;
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    hf_assert(size >= 0 && (size_t)size < sizeof(line));
    for (char *at = line; at; count++) {
        char *space = strchr(at, ' ');
        hf_assert(count < CLIENT_WORDS);
        words[count] = bytes_of(at, space ? (size_t)(space - at) : strlen(at));
        at = space ? space + 1 : NULL;
    }
    return client_run(c, words, count);
}

/* Once, on that executor, in a batch that has begun: it may be parked. Words separated by spaces. */
EXEC_CLIENT enum exec_result client_try(struct client *c, struct exec *x, const char *command)
{
    char line[256];
    bytes words[8];
    struct parsed_command p = {.argv = words};
    snprintf(line, sizeof(line), "%s", command);
    for (char *at = strtok(line, " "); at; at = strtok(NULL, " "))
        words[p.argc++] = bytes_str(at);
    buf_reset(&c->out);
    exec_prefetch(x, &c->session, &p, 1);
    return exec_run(x, &c->session, &p, &c->node, &c->lsn);
}

EXEC_CLIENT bool client_ok(const char *reply) { return strcmp(reply, "+OK\r\n") == 0; }

#endif
