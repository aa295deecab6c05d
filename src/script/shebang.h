/* shebang.h -- the first line of a script or a library: "#!lua flags=no-writes,allow-oom", "#!lua name=mylib".
 *
 * Words may be quoted, as in redis.conf. Errors are worded as Redis 7.0 words them, which differs between the two.
 */
#ifndef HF_SCRIPT_SHEBANG_H
#define HF_SCRIPT_SHEBANG_H

#include "base/assert.h"
#include "base/bytes.h"

struct shebang { bool present; bool no_writes, allow_oom, allow_stale, no_cluster, allow_cross_slot; };

/* Of a script, which may have none. False: error says why. code: what follows the line, its end included. */
HF_CHECK bool shebang_parse(bytes source, struct shebang *out, bytes *code, char error[256]);

/* Of a library, which must have one. *name is the caller's to free; it may be any word yet. */
HF_CHECK bool shebang_parse_library(bytes source, char **name, bytes *code, char error[256]);

#endif
