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
    uint64_t chunk_count, level_count;
    struct items **levels[LEVELS]; /* 64 slots each; NULL: never used, or empty again */
};

#define LEVEL_BYTES (64 * sizeof(struct items *))

static struct items **slot_at(const struct wheel *w, unsigned slot) { return &w->levels[slot / 64][slot % 64]; }

static void level_free(struct wheel *w, unsigned level)
{
    mem_free(w->levels[level]);
    w->level_count -= w->levels[level] != NULL;
    w->levels[level] = NULL;
}

struct wheel *wheel_new(uint64_t now_ms)
{
    struct wheel *w = mem_zalloc(sizeof(*w));
    w->now_ms = now_ms;
    return w;
}

void wheel_clear(struct wheel *w)
{
    for (unsigned i = 0; i < WHEEL_SLOTS; i++) {
        for (struct items *at = w->levels[i / 64] ? *slot_at(w, i) : NULL, *next; at; at = next) {
            next = at->next;
            mem_free(at);
        }
    }
    for (unsigned level = 0; level < LEVELS; level++)
        level_free(w, level);
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
    if (!w->levels[slot / 64]) {
        w->levels[slot / 64] = mem_zalloc(LEVEL_BYTES);
        w->level_count++;
    }
    struct items *head = *slot_at(w, slot);
    if (!head || head->count == CHUNK_ITEMS) {
        struct items *fresh = mem_alloc(sizeof(*fresh));
        fresh->next = head;
        fresh->count = 0;
        *slot_at(w, slot) = head = fresh;
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
    struct items *head = *slot_at(w, first);
    *item = head->item[--head->count];
    *slot = first;
    if (head->count == 0) {
        *slot_at(w, first) = head->next;
        mem_free(head);
        w->chunk_count--;
        if (!*slot_at(w, first))
            w->occupied[first / 64] &= ~(UINT64_C(1) << first % 64);
        if (first >= 64 && !w->occupied[first / 64]) /* the lowest is always in use again soon */
            level_free(w, first / 64);
    }
    return true;
}

/* The next occupied slot from a random one on. */
static bool slot_from(const struct wheel *w, unsigned start, unsigned *slot)
{
    for (unsigned i = 0; i <= LEVELS; i++) {
        unsigned level = (start / 64 + i) % LEVELS;
        uint64_t mask = i == 0 ? UINT64_MAX << start % 64 : i == LEVELS ? ~(UINT64_MAX << start % 64) : UINT64_MAX;
        uint64_t set = w->occupied[level] & mask;
        if (!set)
            continue;
        *slot = level * 64 + (unsigned)__builtin_ctzll(set);
        return true;
    }
    return false;
}

#define PICK_STEPS 16

bool wheel_pick(const struct wheel *w, uint64_t random, bool first, uint32_t *item)
{
    unsigned slot;
    if (first ? next_slot(w, &slot) == UINT64_MAX : !slot_from(w, (unsigned)(random % WHEEL_SLOTS), &slot))
        return false;
    const struct items *at = *slot_at(w, slot);
    for (unsigned steps = (unsigned)(random >> 9) % PICK_STEPS; steps > 0 && at->next; steps--)
        at = at->next;
    *item = at->item[(random >> 16) % at->count];
    return true;
}

uint64_t wheel_memory(const struct wheel *w)
{
    return w ? sizeof(*w) + w->level_count * LEVEL_BYTES + w->chunk_count * sizeof(struct items) : 0;
}
