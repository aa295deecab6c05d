/* stream_fields.h -- the field names that many entries of a stream have in common, kept once.
 *
 * Producers write the same fields again and again. When an entry has the fields of the one before it, their list is put into the
 * stream's table, and from then on an entry with these fields names the list and holds its values only. A list counts its entries and goes
 * with the last of them. The table is small: where it is full, or a list too long, entries hold their fields themselves.
 *
 * Memory only: what is on disk, in the log and in payloads has every field at its entry.
 * A list never changes and is counted, so copies of the table (a share of the stream has its own) share it over threads.
 */
#ifndef HF_TYPES_STREAM_FIELDS_H
#define HF_TYPES_STREAM_FIELDS_H

#include "base/bytes.h"

#define FIELD_LISTS_MAX 16
#define FIELD_LIST_SIZE_MAX 1024u

struct field_list {
    _Atomic uint32_t holders;
    uint32_t pairs, size;
    uint8_t data[]; /* for each field: varint size, bytes */
};

struct field_lists {
    uint32_t count; /* of places, up to FIELD_LISTS_MAX */
    struct field_list_use {
        struct field_list *list; /* NULL: free */
        uint64_t uses;
    } at[];
};

/* Body: fields and values, each sized. The list with just these fields; -1: none. lists may be NULL. */
int field_lists_find(const struct field_lists *lists, uint64_t pairs, bytes body);
/* Puts in the fields of this body; -1: no room. Nobody uses it yet. *lists is made if it is NULL, and may move. */
int field_lists_add(struct field_lists **lists, uint64_t pairs, bytes body);
void field_lists_use(struct field_lists *lists, unsigned number);
void field_lists_unuse(struct field_lists *lists, unsigned number); /* the last one removes it */
static inline bytes field_lists_view(const struct field_lists *lists, unsigned number, uint64_t *pairs)
{
    const struct field_list *list = lists->at[number].list;
    *pairs = list->pairs;
    return bytes_of(list->data, list->size);
}

struct field_lists *field_lists_dup(const struct field_lists *lists); /* of NULL: NULL */
void field_lists_free(struct field_lists *lists);
size_t field_lists_memory(const struct field_lists *lists);

#endif
