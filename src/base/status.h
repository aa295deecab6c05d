/* status.h -- how the world or a client refuses: a value one must look at.
 *
 * HF_OK is 0. Rows in errors.def; the protocol words the reply from the row. An
 * ordinary outcome (key absent, NX refused) is a result, never a status.
 */
#ifndef HF_BASE_STATUS_H
#define HF_BASE_STATUS_H

#include "base/assert.h"

typedef enum status {
    HF_OK = 0,
#define ERROR(name, word, http, text) HF_ERR_##name,
#include "base/errors.def"
#undef ERROR
    HF_STATUS_COUNT
} status;

const char *status_word(status s); /* "WRONGTYPE" */
const char *status_text(status s); /* the rest of the line */
int status_http(status s);

#endif
