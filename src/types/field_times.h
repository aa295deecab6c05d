/* field_times.h -- which fields of a hash expire, and when.
 *
 * Two structures, always of the same fields: a dict from field to deadline, and a tree in the order of (deadline, field), so
 * that the next one to expire is the first. Made only for hashes with deadlines. Owner and sharing: the hash's.
 */
#ifndef HF_TYPES_FIELD_TIMES_H
#define HF_TYPES_FIELD_TIMES_H

#include "data/dict.h"

#define FIELD_TIME_MAX ((UINT64_C(1) << 48) - 2) /* ms, as Redis bounds it */

struct field_times;

struct field_times *field_times_new(void);
void field_times_free(struct field_times *t); /* NULL is fine */
bool field_times_free_some(struct field_times *t, size_t *budget); /* as type_ops.free_some */
struct field_times *field_times_share(const struct field_times *t);
uint64_t field_times_count(const struct field_times *t);
size_t field_times_memory(const struct field_times *t);

uint64_t field_times_get(const struct field_times *t, bytes field); /* 0: none */
void field_times_set(struct field_times *t, bytes field, uint64_t deadline_ms); /* 0: none from now on */
/* The earliest; false: empty. */
bool field_times_first(const struct field_times *t, uint64_t *deadline_ms, bytes *field);
uint64_t field_times_due(const struct field_times *t, uint64_t now_ms); /* how many have a deadline <= now */
/* Those fields, the first one to expire first; changes nothing. */
void field_times_due_each(const struct field_times *t, uint64_t now_ms, void (*each)(void *context, bytes field), void *context);
/* Forgets those fields; shows each first, which may change anything but the times. */
void field_times_expire(struct field_times *t, uint64_t now_ms, void (*each)(void *context, bytes field), void *context);
void field_times_check(const struct field_times *t);

#endif
