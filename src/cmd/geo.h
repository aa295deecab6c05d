/* geo.h -- what the files of geo commands share. A geo set is a sorted set whose scores are places (base/geohash.h). */
#ifndef HF_CMD_GEO_H
#define HF_CMD_GEO_H

#include "base/geohash.h"
#include "cmd/zset.h"

/* Longitude and latitude from two words. False: the error was replied. */
bool arg_place(struct call *c, size_t index, struct geo_point *place);
bool arg_unit(struct call *c, size_t index, double *metres);
bool geo_place(const struct zset *z, bytes member, struct geo_point *place); /* false: not a member */

void reply_distance(struct call *c, double distance); /* four decimals */
void reply_place(struct call *c, struct geo_point place);

#endif
