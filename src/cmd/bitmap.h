/* bitmap.h -- what the bit commands share. */
#ifndef HF_CMD_BITMAP_H
#define HF_CMD_BITMAP_H

#include "cmd/command.h"

/* A bit's place, below 8 * string_may_grow_to(); or "#n" for n times `unit` (0: that form is none). False: replied the error. */
bool bitmap_take_offset(struct call *c, size_t index, unsigned unit, uint64_t *offset);

#endif
