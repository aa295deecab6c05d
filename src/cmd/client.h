/* client.h -- names of connections, for HELLO and CLIENT. */
#ifndef HF_CMD_CLIENT_H
#define HF_CMD_CLIENT_H

#include "cmd/command.h"

bool client_name_fits(struct call *c, bytes name);   /* replies the error itself */
void client_set_name(struct session *s, bytes name); /* a name that fits */

#endif
