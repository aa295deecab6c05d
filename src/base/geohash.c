/* geohash.c -- cells, distances, and the cells that cover a shape.
 *
 * A shape is covered by at most nine cells: the one of its centre and the eight around it, at the finest step at which
 * those are sure to be enough. The step follows from the radius: a cell is at least as wide as the shape reaches, so what lies
 * beyond the neighbours is out of reach; near the poles cells are narrow, so it is coarser there. The shape's bounds are then checked,
 * because cells are not squares.
 *
 * The order in which replies list unsorted members is that of the cells here and of the scores inside each; it is Redis'
 * order, since clients see it. So are the constants: a sphere of 6372797.560856 m, and the map's half circumference.
 */
#include "base/geohash.h"

#include "base/assert.h"

#include <math.h>

#define EARTH_RADIUS 6372797.560856
#define MAP_HALF 20037726.37 /* metres from the map's middle to its edge */
#define RADIANS_PER_DEGREE (M_PI / 180.0)

static double radians(double degrees) { return degrees * RADIANS_PER_DEGREE; }
static double degrees(double radians) { return radians / RADIANS_PER_DEGREE; }

/* ---- bits ---- */

/* Bit i moves to bit 2i. */
static uint64_t spread(uint32_t value)
{
    uint64_t v = value;
    v = (v | v << 16) & UINT64_C(0x0000ffff0000ffff);
    v = (v | v << 8) & UINT64_C(0x00ff00ff00ff00ff);
    v = (v | v << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    v = (v | v << 2) & UINT64_C(0x3333333333333333);
    return (v | v << 1) & UINT64_C(0x5555555555555555);
}

static uint32_t gather(uint64_t v)
{
    v &= UINT64_C(0x5555555555555555);
    v = (v | v >> 1) & UINT64_C(0x3333333333333333);
    v = (v | v >> 2) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    v = (v | v >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    v = (v | v >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (uint32_t)(v | v >> 16);
}

static uint64_t interleave(uint32_t longitude, uint32_t latitude)
{
    return spread(longitude) << 1 | spread(latitude);
}

/* The place of a value on its axis, in 2^step parts. */
static uint32_t part_of(double value, double limit, unsigned step)
{
    double offset = (value + limit) / (limit + limit);
    return (uint32_t)(offset * (double)(UINT64_C(1) << step));
}

static double part_begins(double part, double limit, unsigned step)
{
    return -limit + part / (double)(UINT64_C(1) << step) * (limit + limit);
}

/* ---- cells ---- */

bool geo_is_valid(struct geo_point p)
{
    return p.longitude >= -GEO_LONGITUDE_MAX && p.longitude <= GEO_LONGITUDE_MAX && p.latitude >= -GEO_LATITUDE_MAX &&
           p.latitude <= GEO_LATITUDE_MAX;
}

struct geo_cell geo_encode(struct geo_point p, unsigned step)
{
    hf_assert(step >= 1 && step <= GEO_STEP_MAX);
    return (struct geo_cell){interleave(part_of(p.longitude, GEO_LONGITUDE_MAX, step), part_of(p.latitude, GEO_LATITUDE_MAX, step)), step};
}

struct geo_box geo_cell_box(struct geo_cell cell)
{
    double x = gather(cell.bits >> 1), y = gather(cell.bits);
    return (struct geo_box){.west = part_begins(x, GEO_LONGITUDE_MAX, cell.step), .east = part_begins(x + 1, GEO_LONGITUDE_MAX, cell.step),
                            .south = part_begins(y, GEO_LATITUDE_MAX, cell.step), .north = part_begins(y + 1, GEO_LATITUDE_MAX, cell.step)};
}

double geo_score(struct geo_point p)
{
    return (double)geo_encode(p, GEO_STEP_MAX).bits;
}

/* Scores that ZADD made can be anything; they are taken as the machine of the peer takes them. */
static uint64_t bits_of_score(double score)
{
    if (score >= 0x1p64 || isnan(score))
        return 0;
    if (score >= 0x1p63)
        return (uint64_t)score;
    return score < -0x1p63 ? UINT64_C(1) << 63 : (uint64_t)(int64_t)score;
}

static double clamp(double value, double limit)
{
    return value > limit ? limit : value < -limit ? -limit : value;
}

struct geo_point geo_of_score(double score)
{
    struct geo_box box = geo_cell_box((struct geo_cell){bits_of_score(score), GEO_STEP_MAX});
    return (struct geo_point){clamp((box.west + box.east) / 2, GEO_LONGITUDE_MAX), clamp((box.south + box.north) / 2, GEO_LATITUDE_MAX)};
}

void geo_cell_scores(struct geo_cell cell, double *first, double *end)
{
    unsigned shift = 2 * (GEO_STEP_MAX - cell.step);
    *first = (double)(cell.bits << shift);
    *end = (double)((cell.bits + 1) << shift);
}

/* The cell so many to the east and north; the map goes round in both ways. */
static struct geo_cell neighbour(struct geo_cell cell, int east, int north)
{
    uint32_t mask = (uint32_t)((UINT64_C(1) << cell.step) - 1);
    uint32_t x = gather(cell.bits >> 1), y = gather(cell.bits); /* 2^step on the very edge of the map */
    if (east)
        x = (x + (uint32_t)east) & mask;
    if (north)
        y = (y + (uint32_t)north) & mask;
    return (struct geo_cell){interleave(x, y), cell.step};
}

/* ---- distances and text ---- */

double geo_distance(struct geo_point a, struct geo_point b)
{
    double a_latitude = radians(a.latitude), b_latitude = radians(b.latitude);
    double u = sin((b_latitude - a_latitude) / 2);
    double v = sin((radians(b.longitude) - radians(a.longitude)) / 2);
    return 2.0 * EARTH_RADIUS * asin(sqrt(u * u + cos(a_latitude) * cos(b_latitude) * v * v));
}

void geo_text(struct geo_point p, char out[GEO_TEXT_SIZE])
{
    static const char digits[] = "0123456789bcdefghjkmnpqrstuvwxyz";
    uint64_t bits = interleave(part_of(p.longitude, 180, GEO_STEP_MAX), part_of(p.latitude, 90, GEO_STEP_MAX));
    for (unsigned i = 0; i + 1 < GEO_TEXT_SIZE; i++)
        out[i] = digits[bits >> (2 * GEO_STEP_MAX - 5 * (i + 1)) & 31];
    out[GEO_TEXT_SIZE - 1] = '0';
}

bool geo_contains(const struct geo_shape *s, struct geo_point p, double *distance)
{
    if (s->is_box) {
        struct geo_point east_west = {s->centre.longitude, p.latitude}, north_south = {p.longitude, s->centre.latitude};
        if (geo_distance(p, east_west) > s->width * s->unit / 2 || geo_distance(p, north_south) > s->height * s->unit / 2)
            return false;
    }
    double found = geo_distance(s->centre, p);
    if (!s->is_box && !(found <= s->radius * s->unit))
        return false;
    *distance = found;
    return true;
}

/* ---- covering a shape ---- */

/* The longitudes are those at the side that is nearer to a pole, where degrees are narrow. */
static struct geo_box bounds_of(const struct geo_shape *s)
{
    double height = s->unit * (s->is_box ? s->height / 2 : s->radius), width = s->unit * (s->is_box ? s->width / 2 : s->radius);
    double latitude = s->centre.latitude, longitude = s->centre.longitude;
    double up = degrees(height / EARTH_RADIUS);
    double narrow = latitude < 0 ? latitude - up : latitude + up;
    double side = degrees(width / EARTH_RADIUS / cos(radians(narrow)));
    return (struct geo_box){.west = longitude - side, .east = longitude + side, .south = latitude - up, .north = latitude + up};
}

static unsigned step_for(double radius, double latitude)
{
    int step = 1;
    if (radius == 0)
        return GEO_STEP_MAX;
    for (; radius < MAP_HALF; radius *= 2)
        step++;
    step -= 2;
    if (fabs(latitude) > 66)
        step--;
    if (fabs(latitude) > 80)
        step--;
    return step < 1 ? 1 : step > (int)GEO_STEP_MAX ? GEO_STEP_MAX : (unsigned)step;
}

static bool neighbours_reach(struct geo_cell centre, const struct geo_box *bounds)
{
    bool short_of = geo_cell_box(neighbour(centre, 0, 1)).north < bounds->north || geo_cell_box(neighbour(centre, 0, -1)).south > bounds->south ||
                    geo_cell_box(neighbour(centre, 1, 0)).east < bounds->east || geo_cell_box(neighbour(centre, -1, 0)).west > bounds->west;
    return !short_of;
}

unsigned geo_cover(const struct geo_shape *s, struct geo_cell cells[GEO_COVER_MAX])
{
    static const struct { int8_t east, north; } around[GEO_COVER_MAX] = {{0, 0}, {0, 1}, {0, -1}, {1, 0}, {-1, 0}, {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
    struct geo_box bounds = bounds_of(s);
    double reach = s->is_box ? sqrt(s->width / 2 * (s->width / 2) + s->height / 2 * (s->height / 2)) : s->radius;
    unsigned step = step_for(reach * s->unit, s->centre.latitude), count = 0;
    struct geo_cell centre = geo_encode(s->centre, step);
    if (step > 1 && !neighbours_reach(centre, &bounds))
        centre = geo_encode(s->centre, --step);
    struct geo_box box = geo_cell_box(centre);
    bool skip_south = step >= 2 && box.south < bounds.south, skip_north = step >= 2 && box.north > bounds.north;
    bool skip_west = step >= 2 && box.west < bounds.west, skip_east = step >= 2 && box.east > bounds.east;
    for (unsigned i = 0; i < GEO_COVER_MAX; i++) {
        if ((around[i].north < 0 && skip_south) || (around[i].north > 0 && skip_north) || (around[i].east < 0 && skip_west) ||
            (around[i].east > 0 && skip_east))
            continue;
        struct geo_cell cell = neighbour(centre, around[i].east, around[i].north);
        if (count == 0 || cells[count - 1].bits != cell.bits)
            cells[count++] = cell;
    }
    return count;
}
