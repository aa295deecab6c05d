/* assert.c -- the last words of a process whose invariants broke. */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void hf_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "holdfast: broken invariant: %s (%s:%d). The process stops to protect the data; "
                    "restart it, and report this line.\n", condition, file, line);
    abort();
}
