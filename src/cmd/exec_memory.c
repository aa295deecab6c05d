/* exec_memory.c -- maxmemory at the door: whoever would take memory makes room first, holding nothing. */
#include "cmd/exec_private.h"

#include "cmd/handlers.h"

#define NEED_LEAST (16u << 10) /* headers, index, a reply */
#define BUDGET_US 500

/* Commands that may take memory for themselves, and those of which only their script knows. */
static bool may_grow(const struct session *s, const struct command *row)
{
    return row->flags & (CMD_GROWS | CMD_SCRIPT) || (s->in_multi && (!(row->flags & CMD_NO_QUEUE) || row->handler == cmd_exec));
}

bool exec_makes_room(struct exec *x, const struct session *s, const struct command *row, uint64_t need)
{
    struct engine *e = x->engine;
    if (!may_grow(s, row))
        return true;
    x->out_of_memory = false;
    if (HF_LIKELY(!memory_is_over(e, x->txn->heap)))
        return true;
    if (x->paused) /* then nothing is evicted either */
        return true;
    if (row->handler == cmd_exec)
        need += s->queue_bytes;
    enum room room = memory_make_room(e, x->evictor, x->housekeeping_txn, x->wall_ms, need + NEED_LEAST, BUDGET_US);
    x->out_of_memory = room == ROOM_NONE;
    return room != ROOM_LATER;
}

void exec_batch_evicts(struct exec *x)
{
    if (HF_UNLIKELY(memory_is_over(x->engine, x->txn->heap)) && !x->paused)
        memory_make_room(x->engine, x->evictor, x->housekeeping_txn, x->wall_ms, MEMORY_ALL, BUDGET_US);
}
