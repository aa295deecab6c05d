/* tracking_table.h -- which sessions have read a key: the shared table of client-side caching.
 *
 * Any thread, under stripe locks too; its own locks are the innermost. A session that is gone stays
 * listed until the key changes: its worker knows better.
 */
#ifndef HF_CMD_TRACKING_TABLE_H
#define HF_CMD_TRACKING_TABLE_H

#include "base/bytes.h"

struct holder { uint64_t session; unsigned worker; };

bool holders_add(bytes key, const struct holder *holder); /* true: the key is new to the table */
/* Forgets the key; each: whoever held it, called under the table's lock. */
void holders_take(bytes key, void (*each)(void *context, const struct holder *holder), void *context);
/* Some key, which *key shows to each; false: there is none. */
bool holders_take_any(bytes *key, void (*each)(void *context, const struct holder *holder), void *context);
void holders_clear(void);
uint64_t holders_keys(void);
uint64_t holders_items(void); /* pairs of key and session */

#endif
