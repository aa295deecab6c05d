/* args.h -- words of a command to values, with the error replies that Redis gives.
 *
 * Every arg_ call returns false after it has replied the error; the handler then
 * just returns.
 */
#ifndef HF_CMD_ARGS_H
#define HF_CMD_ARGS_H

#include "cmd/command.h"

/* True after the status was replied: if (arg_refused(c, string_get(...))) return; */
static inline bool arg_refused(struct call *c, status s)
{
    if (HF_LIKELY(s == HF_OK))
        return false;
    reply_status(c->reply, s);
    return true;
}

bool arg_int(struct call *c, size_t index, int64_t *value);
/* Inside -range..range: what Redis asks of HRANDFIELD's count. */
bool arg_int_within(struct call *c, size_t index, int64_t range, int64_t *value);
/* At least `least`; else replies `error`, also for what is no integer (counts of keys and elements). */
bool arg_int_from(struct call *c, size_t index, int64_t least, const char *error, int64_t *value);
/* The optional last words "COUNT n" of LMPOP and ZMPOP, from `index` on; else replies the error. *count stays where they are not there. */
bool arg_pop_count(struct call *c, size_t index, int64_t *count);
bool arg_db(struct call *c, size_t index, uint32_t *db); /* a database number; needs c->txn */
/* The timeout of a blocking command, rounded up to whole ms; 0: for ever. */
bool arg_timeout(struct call *c, size_t index, double *seconds);
void arg_wrong_count(struct call *c); /* replies "wrong number of arguments for 'x' command" */

bytes arg_without_line_end(struct call *c, size_t index); /* as Redis shows a word that ends an error's text */

/* A relative or absolute time to a deadline in unix ms; false: not positive, or overflow. */
enum expire_unit { EXPIRE_NONE, EXPIRE_EX, EXPIRE_PX, EXPIRE_EXAT, EXPIRE_PXAT };
bool arg_deadline(struct call *c, enum expire_unit unit, size_t index, uint64_t *deadline_ms);

/* "%.*s" of a client's word: its first 128 bytes, or the whole. */
#define WORD_FORMAT "%.*s"
#define WORD(w)       (int)((w).size < 128 ? (w).size : 128), (const char *)(w).data
#define WORD_WHOLE(w) (int)((w).size < INT32_MAX ? (w).size : INT32_MAX), (const char *)(w).data

#endif
