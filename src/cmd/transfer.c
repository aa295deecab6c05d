/* transfer.c -- the file of a data set that is sent. */
#include "cmd/transfer.h"

#include "base/memory.h"
#include "os/os.h"

#include <fcntl.h>
#include <stdio.h>

struct transfer *transfer_new(const char *dir, uint64_t lsn)
{
    static _Atomic uint64_t numbers;
    struct transfer *t = mem_zalloc(sizeof(*t));
    char path[4096];
    snprintf(path, sizeof(path), "%s/sync-%llu.tmp", dir, (unsigned long long)atomic_fetch_add(&numbers, 1));
    atomic_store(&t->holders, 2);
    buf_init(&t->held, SIZE_MAX);
    t->lsn = lsn;
    t->file = OS.open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    int gone = t->file < 0 ? 0 : OS.unlink(path);
    if (t->file < 0 || gone < 0)
        transfer_failed(t, "cannot be made", t->file < 0 ? t->file : gone);
    return t;
}

void transfer_failed(struct transfer *t, const char *what, int error)
{
    snprintf(t->detail, sizeof(t->detail), "its file %s%s%s", what, error ? ": " : "", error ? strerror(-error) : "");
    atomic_store(&t->state, TRANSFER_FAILED);
}

bool transfer_write(struct transfer *t, bytes data)
{
    int64_t put = OS.pwrite(t->file, data.data, data.size, t->size);
    if (put < 0)
        transfer_failed(t, "cannot be written", (int)put);
    else
        t->size += data.size;
    return put >= 0;
}

void transfer_ready(struct transfer *t) { atomic_store(&t->state, TRANSFER_READY); }

void transfer_unref(struct transfer *t)
{
    if (atomic_fetch_sub(&t->holders, 1) != 1)
        return;
    if (t->file >= 0)
        OS.close(t->file);
    buf_release(&t->held);
    mem_free(t);
}

void transfer_hold(struct transfer *t, bytes text, uint64_t lsn)
{
    buf_append_bytes(&t->held, text);
    t->held_lsn = lsn > t->held_lsn ? lsn : t->held_lsn;
}

void transfer_drop(struct session *s)
{
    if (!s->transfer)
        return;
    atomic_store(&s->transfer->unwanted, true);
    transfer_unref(s->transfer);
    s->transfer = NULL;
}
