/* store.h -- the keyspace: stripes, their tables, and the blocks of entries.
 *
 * Databases are named by internal ids here; numbers are the engine's business.
 * Threads: the stripes are locked by the caller; the struct is immutable after
 * store_new. Memory: entries come from the heap of the calling worker.
 */
#ifndef HF_STORE_STORE_H
#define HF_STORE_STORE_H

#include "data/slab.h"
#include "store/chunks.h"
#include "store/stripe.h"

#define STRIPE_COUNT 1024u
#define STRIPE_SHIFT 4 /* slots to a stripe: 16 */

struct store {
    struct slab *slab;
    struct chunks *chunks;    /* of the tables' indexes */
    uint64_t secret;          /* keys the hash; kept with the data */
    struct stripe *stripes;   /* STRIPE_COUNT, each a cache line */
};

struct store *store_new(uint64_t secret);
void store_free(struct store *s);

uint64_t store_hash(const struct store *s, bytes key);
/* Everything but db, which the caller sets. */
void store_locate(const struct store *s, bytes name, struct key *key);

/* The table for inserting; made when absent. Caller holds the lock. */
struct table *stripe_table_make(struct store *store, struct stripe *s, uint32_t db_id);
/* Takes the table of a dropped database out; NULL: none. The caller frees it in slices. */
struct table *stripe_table_detach(struct stripe *s, uint32_t db_id);
/* Recomputes deadline_next from its tables. Caller holds the lock. */
void stripe_deadline_update(struct stripe *s);

/* Gives the block back, and the rope or object it refers to. */
void entry_free(struct slab_heap *heap, struct entry *e);
/* Bytes of the block and what it refers to. */
uint64_t entry_memory(const struct store *s, const struct entry *e);

#endif
