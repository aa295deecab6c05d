/* geo.c -- places of members: GEOADD, GEODIST, GEOHASH, GEOPOS. Searches are in geo_search.c. */
#include "cmd/geo.h"

#include "base/number.h"
#include "cmd/args.h"
#include "cmd/handlers.h"

#include <stdio.h>

bool arg_place(struct call *c, size_t index, struct geo_point *place)
{
    struct geo_point p;
    if (!arg_score(c, index, &p.longitude) || !arg_score(c, index + 1, &p.latitude))
        return false;
    if (!geo_is_valid(p)) {
        reply_errorf(c->reply, "ERR invalid longitude,latitude pair %f,%f", p.longitude, p.latitude);
        return false;
    }
    *place = p;
    return true;
}

bool arg_unit(struct call *c, size_t index, double *metres)
{
    static const struct { const char *name; double metres; } units[] = {{"m", 1}, {"km", 1000}, {"ft", 0.3048}, {"mi", 1609.34}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (bytes_is_word(c->argv[index], units[i].name)) {
            *metres = units[i].metres;
            return true;
        }
    }
    reply_errorf(c->reply, "ERR unsupported unit provided. please use M, KM, FT, MI");
    return false;
}

bool geo_place(const struct zset *z, bytes member, struct geo_point *place)
{
    double score;
    if (!z || !zset_score(z, member, &score))
        return false;
    *place = geo_of_score(score);
    return true;
}

void reply_distance(struct call *c, double distance)
{
    char text[512];
    reply_bulk(c->reply, bytes_of(text, (size_t)snprintf(text, sizeof(text), "%.4f", distance)));
}

void reply_place(struct call *c, struct geo_point place)
{
    char text[NUMBER_FLOAT_MAX];
    reply_array(c->reply, 2);
    c->reply->ops->number(c->reply, bytes_of(text, number_format_float(text, (long double)place.longitude)));
    c->reply->ops->number(c->reply, bytes_of(text, number_format_float(text, (long double)place.latitude)));
}

void cmd_geoadd(struct call *c)
{
    bool nx = false, xx = false, ch = false;
    size_t first = 2;
    for (; first < c->argc; first++) {
        if (bytes_is_word(c->argv[first], "NX"))
            nx = true;
        else if (bytes_is_word(c->argv[first], "XX"))
            xx = true;
        else if (bytes_is_word(c->argv[first], "CH"))
            ch = true;
        else
            break;
    }
    if ((c->argc - first) % 3 || (nx && xx)) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return;
    }
    size_t count = (c->argc - first) / 3;
    double *scores = arena_alloc(txn_arena(c->txn), (count + 1) * sizeof(*scores));
    for (size_t i = 0; i < count; i++) {
        struct geo_point place;
        if (!arg_place(c, first + 3 * i, &place))
            return;
        scores[i] = geo_score(place);
    }
    zset_add_places(c, first, nx, xx, ch, scores, count);
}

void cmd_geodist(struct call *c)
{
    const struct zset *z;
    struct geo_point a, b;
    double unit = 1;
    if (c->argc == 5 && !arg_unit(c, 4, &unit))
        return;
    if (c->argc > 5)
        reply_status(c->reply, HF_ERR_SYNTAX);
    else if (!zset_view(c, 0, &z))
        return;
    else if (geo_place(z, c->argv[2], &a) && geo_place(z, c->argv[3], &b))
        reply_distance(c, geo_distance(a, b) / unit);
    else
        reply_null(c->reply);
}

void cmd_geohash(struct call *c)
{
    const struct zset *z;
    struct geo_point place;
    if (!zset_view(c, 0, &z))
        return;
    reply_array(c->reply, c->argc - 2);
    for (size_t i = 2; i < c->argc; i++) {
        char text[GEO_TEXT_SIZE];
        if (!geo_place(z, c->argv[i], &place)) {
            reply_null(c->reply);
            continue;
        }
        geo_text(place, text);
        reply_bulk(c->reply, bytes_of(text, sizeof(text)));
    }
}

void cmd_geopos(struct call *c)
{
    const struct zset *z;
    struct geo_point place;
    if (!zset_view(c, 0, &z))
        return;
    reply_array(c->reply, c->argc - 2);
    for (size_t i = 2; i < c->argc; i++) {
        if (geo_place(z, c->argv[i], &place))
            reply_place(c, place);
        else
            reply_null_array(c->reply);
    }
}
