/* tail.c -- a buffer under a spin lock: it is in use only while a snapshot is written. */
#include "durable/tail.h"

#include "durable/effect.h"

void tail_init(struct tail *t)
{
    *t = (struct tail){0};
    buf_init(&t->bytes, SIZE_MAX);
}

void tail_release(struct tail *t)
{
    buf_release(&t->bytes);
}

void tail_begin(struct tail *t)
{
    spin_lock(&t->lock);
    buf_reset(&t->bytes);
    t->overflowed = false;
    atomic_store(&t->end, 0);
    atomic_store(&t->noting, true);
    spin_unlock(&t->lock);
}

void tail_note(struct tail *t, bytes effects)
{
    spin_lock(&t->lock);
    if (atomic_load(&t->noting) && !t->overflowed) {
        size_t before = t->bytes.size;
        t->overflowed = effects.size > TAIL_BYTES_MAX - before || !buf_try_reserve(&t->bytes, effects.size + 10);
        if (!t->overflowed) {
            put_varint(&t->bytes, effects.size);
            buf_append_bytes(&t->bytes, effects);
            atomic_fetch_add(&t->end, t->bytes.size - before);
        }
    }
    spin_unlock(&t->lock);
}

bool tail_take(struct tail *t, struct buf *out)
{
    hf_assert(out->size == 0);
    spin_lock(&t->lock);
    struct buf noted = t->bytes;
    t->bytes = *out;
    *out = noted;
    bool whole = !t->overflowed;
    spin_unlock(&t->lock);
    return whole;
}

void tail_seal(struct tail *t)
{
    spin_lock(&t->lock);
    atomic_store(&t->noting, false);
    spin_unlock(&t->lock);
}
