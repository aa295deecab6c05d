/* geohash.h -- places on Earth as numbers: interleaved bits of latitude and longitude.
 *
 * A hash of `step` bits per axis names a cell; the bit of the longitude is the higher one of each pair. With
 * GEO_STEP_MAX the 52 bits are exact in a double: the scores of geo sets. Latitudes end where the square web map does.
 * Degrees and metres; distances are great circles on a sphere.
 */
#ifndef HF_BASE_GEOHASH_H
#define HF_BASE_GEOHASH_H

#include "base/bytes.h"

#define GEO_STEP_MAX 26u
#define GEO_LONGITUDE_MAX 180.0
#define GEO_LATITUDE_MAX 85.05112878
#define GEO_TEXT_SIZE 11

struct geo_point { double longitude, latitude; };
struct geo_cell { uint64_t bits; unsigned step; };
struct geo_box { double west, east, south, north; };

bool geo_is_valid(struct geo_point p);
struct geo_cell geo_encode(struct geo_point p, unsigned step);
struct geo_box geo_cell_box(struct geo_cell cell);
/* The score of a member, and the middle of its cell; any double is read, also one that no place has. */
double geo_score(struct geo_point p);
struct geo_point geo_of_score(double score);
/* Scores of members inside the cell: first <= score < end. */
void geo_cell_scores(struct geo_cell cell, double *first, double *end);

double geo_distance(struct geo_point a, struct geo_point b);
/* The standard geohash (latitudes to 90) in base 32: ten digits, and a last one that is always 0. */
void geo_text(struct geo_point p, char out[GEO_TEXT_SIZE]);

/* A circle, or a box of width and height, around a centre. */
struct geo_shape {
    struct geo_point centre;
    bool is_box;
    double radius, width, height; /* in units of so many metres: */
    double unit;
};
/* Whether the point is inside; *distance from the centre in metres, only then. */
bool geo_contains(const struct geo_shape *shape, struct geo_point p, double *distance);
/* Cells that cover the shape: the centre's first, then those around it, N S E W NE NW SE SW, without those that
 * cannot touch it, and none twice in a row. Around the whole world a cell may come again further on. Returns how many. */
#define GEO_COVER_MAX 9
unsigned geo_cover(const struct geo_shape *shape, struct geo_cell cells[GEO_COVER_MAX]);

#endif
