/* message.c -- counted blocks on their way to a worker. */
#include "cmd/message.h"

#include "base/memory.h"
#include "cmd/host.h"

void *message_new(size_t size, uint64_t lsn, void (*arrive)(const struct message *m, unsigned worker, message_pushed *pushed))
{
    struct message *m = mem_zalloc(size);
    atomic_init(&m->holders, 1);
    m->lsn = lsn;
    m->arrive = arrive;
    return m;
}

void message_post(struct message *m, unsigned worker)
{
    atomic_fetch_add(&m->holders, 1);
    host->post(worker, m);
}

void message_release(struct message *m)
{
    if (atomic_fetch_sub(&m->holders, 1) == 1)
        mem_free(m);
}
