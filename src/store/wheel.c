/* wheel.c -- slots chosen by the highest 6-bit group in which deadline and now differ.
 *
 * So every item of a level shares all higher bits with now, and now never passes the
 * beginning of a slot that holds items (Varghese and Lauck, "Hashed and Hierarchical
 * Timing Wheels", scheme 7).
 */
#include "store/wheel.h"

#include "base/assert.h"
#include "base/memory.h"

#include <string.h>

#define LEVELS 8
#define CHUNK_ITEMS 13

struct items {
    struct items *next;
    uint32_t count;
    uint32_t item[CHUNK_ITEMS];
};

struct wheel {
    uint64_t now_ms;
    uint64_t occupied[LEVELS];
    uint64_t chunk_count;
    struct items *slots[WHEEL_SLOTS];
};

struct wheel *wheel_new(uint64_t now_ms)
{
    struct wheel *w = mem_zalloc(sizeof(*w));
    w->now_ms = now_ms;
    return w;
}

void wheel_clear(struct wheel *w)
{
    for (unsigned i = 0; i < WHEEL_SLOTS; i++) {
        while (w->slots[i]) {
            struct items *next = w->slots[i]->next;
            mem_free(w->slots[i]);
            w->slots[i] = next;
        }
    }
    memset(w->occupied, 0, sizeof(w->occupied));
    w->chunk_count = 0;
}

void wheel_free(struct wheel *w)
{
    if (w)
        wheel_clear(w);
    mem_free(w);
}

unsigned wheel_slot_for(const struct wheel *w, uint64_t deadline_ms)
{
    if (deadline_ms < w->now_ms)
        deadline_ms = w->now_ms;
    uint64_t difference = deadline_ms ^ w->now_ms;
    unsigned level = difference ? (unsigned)(63 - __builtin_clzll(difference)) / 6 : 0;
    if (level >= LEVELS)
        return WHEEL_SLOTS - 1;
    return level * 64 + (unsigned)(deadline_ms >> (6 * level) & 63);
}

uint64_t wheel_slot_time(const struct wheel *w, unsigned slot)
{
    unsigned level = slot / 64, shift = 6 * level;
    uint64_t higher = w->now_ms >> (shift + 6) << (shift + 6);
    uint64_t time = higher | (uint64_t)(slot % 64) << shift;
    return time < w->now_ms ? w->now_ms : time;
}

void wheel_add(struct wheel *w, unsigned slot, uint32_t item)
{
    struct items *head = w->slots[slot];
    if (!head || head->count == CHUNK_ITEMS) {
        struct items *fresh = mem_alloc(sizeof(*fresh));
        fresh->next = head;
        fresh->count = 0;
        w->slots[slot] = head = fresh;
        w->chunk_count++;
    }
    head->item[head->count++] = item;
    w->occupied[slot / 64] |= UINT64_C(1) << slot % 64;
}

static uint64_t next_slot(const struct wheel *w, unsigned *slot)
{
    uint64_t earliest = UINT64_MAX;
    for (unsigned level = 0; level < LEVELS; level++) {
        if (!w->occupied[level])
            continue;
        unsigned candidate = level * 64 + (unsigned)__builtin_ctzll(w->occupied[level]);
        uint64_t time = wheel_slot_time(w, candidate);
        if (time < earliest) {
            earliest = time;
            *slot = candidate;
        }
    }
    return earliest;
}

uint64_t wheel_next(const struct wheel *w)
{
    unsigned slot;
    return next_slot(w, &slot);
}

bool wheel_take(struct wheel *w, uint64_t now_ms, uint32_t *item, unsigned *slot)
{
    unsigned first = 0;
    uint64_t time = next_slot(w, &first);
    if (time > now_ms) {
        if (now_ms > w->now_ms)
            w->now_ms = now_ms;
        return false;
    }
    w->now_ms = time;
    struct items *head = w->slots[first];
    *item = head->item[--head->count];
    *slot = first;
    if (head->count == 0) {
        w->slots[first] = head->next;
        mem_free(head);
        w->chunk_count--;
        if (!w->slots[first])
            w->occupied[first / 64] &= ~(UINT64_C(1) << first % 64);
    }
    return true;
}

uint64_t wheel_memory(const struct wheel *w)
{
    return w ? sizeof(*w) + w->chunk_count * sizeof(struct items) : 0;
}
