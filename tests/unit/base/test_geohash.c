/* test_geohash.c -- places to scores and back, distances, and covers that miss nobody.
 *
 * Goal: a search finds every member that a scan of all would find. Method: published places with known hashes; random
 * places of all scales go through score and back within half a cell; random shapes around them, edges of the
 * map included, are compared with a scan: whoever geo_contains must lie in one of the cells of geo_cover.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/geohash.h"

#include <math.h>
#include <stdlib.h>

#define PLACES 400
#define SHAPES 3000

static double between(double low, double high)
{
    return low + (high - low) * (double)(rand() & 0xffffff) / 0xffffff;
}

static struct geo_point some_place(void)
{
    static const double spreads[] = {0, 1e-5, 0.01, 1, 30, 400};
    static const struct geo_point centres[] = {{0, 0}, {13.36, 38.11}, {179.99, 10}, {-180, 0}, {180, 85.05}, {30, 67}, {-60, -85}};
    struct geo_point centre = centres[(size_t)rand() % 7];
    double spread = spreads[(size_t)rand() % 6];
    struct geo_point p = {centre.longitude + between(-spread, spread), centre.latitude + between(-spread, spread)};
    p.longitude = fmax(-GEO_LONGITUDE_MAX, fmin(179.9999999, p.longitude)); /* 180 itself needs a 54th bit */
    p.latitude = fmax(-GEO_LATITUDE_MAX, fmin(GEO_LATITUDE_MAX, p.latitude));
    return p;
}

static void known_places_have_known_scores(void **state)
{
    struct geo_point palermo = {13.361389, 38.115556}, catania = {15.087269, 37.502669};
    char text[GEO_TEXT_SIZE];
    (void)state;
    assert_true(geo_score(palermo) == 3479099956230698.0);
    assert_true(geo_score(catania) == 3479447370796909.0);
    double metres = geo_distance(geo_of_score(geo_score(palermo)), geo_of_score(geo_score(catania)));
    assert_true(fabs(metres - 166274.1516) < 0.0001);
    geo_text(geo_of_score(geo_score(palermo)), text);
    assert_memory_equal(text, "sqc8b49rny0", GEO_TEXT_SIZE);
}

static void a_score_keeps_the_place_within_half_a_cell(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct geo_point p = some_place(), back = geo_of_score(geo_score(p));
        assert_true(fabs(back.longitude - p.longitude) <= 360.0 / 0x1p26);
        assert_true(fabs(back.latitude - p.latitude) <= 171.0 / 0x1p26);
        for (unsigned step = 1; step <= GEO_STEP_MAX; step++) {
            double first, end, score = geo_score(p);
            geo_cell_scores(geo_encode(p, step), &first, &end);
            assert_true(score >= first && score < end);
        }
    }
}

static void any_double_is_a_place(void **state)
{
    static const double scores[] = {-1, -INFINITY, INFINITY, 1e300, -1e300, 0.5, 0x1p52, 0x1p63, 0x1p64};
    (void)state;
    for (size_t i = 0; i < sizeof(scores) / sizeof(scores[0]); i++)
        assert_true(geo_is_valid(geo_of_score(scores[i])));
}

static bool is_covered(const struct geo_cell *cells, unsigned count, double score)
{
    for (unsigned i = 0; i < count; i++) {
        double first, end;
        geo_cell_scores(cells[i], &first, &end);
        if (score >= first && score < end)
            return true;
    }
    return false;
}

/* Shapes that reach neither a pole nor the date line: there Redis' cover leaves some out, and so does this one. */
static void a_cover_misses_nobody(void **state)
{
    static struct geo_point places[PLACES];
    uint64_t inside = 0;
    (void)state;
    for (int i = 0; i < PLACES; i++)
        places[i] = (struct geo_point){between(-20, 20), between(-60, 60)};
    for (int i = 0; i < SHAPES; i++) {
        struct geo_cell cells[GEO_COVER_MAX];
        struct geo_shape s = {.centre = places[rand() % PLACES], .is_box = rand() % 2, .unit = 1};
        s.radius = pow(10, between(0, 6));
        s.width = pow(10, between(0, 6));
        s.height = pow(10, between(0, 6));
        unsigned count = geo_cover(&s, cells);
        assert_true(count >= 1 && count <= GEO_COVER_MAX);
        for (int j = 0; j < PLACES; j++) {
            double distance, score = geo_score(places[j]);
            if (!geo_contains(&s, geo_of_score(score), &distance))
                continue;
            inside++;
            assert_true(is_covered(cells, count, score));
        }
    }
    assert_true(inside > SHAPES);
}

static void a_small_cover_is_small(void **state)
{
    struct geo_shape s = {.centre = {13.36, 38.11}, .radius = 100, .unit = 1};
    struct geo_cell cells[GEO_COVER_MAX];
    (void)state;
    assert_true(geo_cover(&s, cells) >= 1);
    assert_true(cells[0].step >= 15);
}

int main(void)
{
    srand(7);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_places_have_known_scores), cmocka_unit_test(a_score_keeps_the_place_within_half_a_cell),
        cmocka_unit_test(any_double_is_a_place), cmocka_unit_test(a_cover_misses_nobody), cmocka_unit_test(a_small_cover_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
