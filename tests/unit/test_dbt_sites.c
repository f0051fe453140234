/* Which instructions get another form: sites.c. */
#include "engine/dbt/dbt.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define AT 0x12345u

static uint64_t clock_ns;
static unsigned dropped;

uint64_t platform_clock_ns(void)
{
	return clock_ns;
}

void dbt_page_drop_range(struct dbt *d, gpa_t gpa, unsigned len)
{
	dropped++;
}

static int setup(void **state)
{
	struct dbt *d = calloc(1, sizeof(*d));

	d->sites = calloc(1, dbt_sites_size());
	*state = d;
	clock_ns = 1;
	dropped = 0;
	return d->sites ? 0 : -1;
}

static int teardown(void **state)
{
	struct dbt *d = *state;

	free(d->sites);
	free(d);
	return 0;
}

/* Signals of a kind until its form changes. */
static unsigned signals_until(struct dbt *d, gpa_t gpa, enum dbt_site kind)
{
	unsigned n = 1;

	while (!dbt_site_count(d, gpa, kind) && n < 100000)
		n++;
	return n;
}

static void review(struct dbt *d)
{
	clock_ns += 20000000;
	dbt_sites_review(d);
}

static void test_kinds(void **state)
{
	struct dbt *d = *state;

	assert_int_equal(dbt_site_kind(d, AT), SITE_PLAIN);
	assert_false(dbt_site_any(d, AT));
	assert_int_equal(signals_until(d, AT, SITE_CROSSES), 4);
	assert_int_equal(dbt_site_kind(d, AT), SITE_CROSSES);
	assert_true(dbt_site_any(d, AT & PAGE_MASK));
	assert_int_equal(dbt_site_kind(d, AT + 1), SITE_PLAIN);
	assert_int_equal(signals_until(d, AT, SITE_STEP), 6);
	assert_int_equal(dbt_site_kind(d, AT), SITE_STEP);
}

static void test_absent_stays_while_it_pays(void **state)
{
	struct dbt *d = *state;

	assert_int_equal(signals_until(d, AT, SITE_ABSENT), 8);
	assert_int_equal(dbt_site_kind(d, AT), SITE_ABSENT);
	assert_non_null(dbt_site_absent(d, AT));
	for (unsigned i = 0; i < 10; i++) {
		dbt_site_absent(d, AT)->looks += 10000;
		dbt_site_absent(d, AT)->misses += 100;
		review(d);
		assert_int_equal(dbt_site_kind(d, AT), SITE_ABSENT);
	}
	assert_int_equal(dropped, 0);
}

static void test_absent_ends_and_waits_longer(void **state)
{
	struct dbt *d = *state;

	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(signals_until(d, AT, SITE_ABSENT), 8u << i);
		dbt_site_absent(d, AT)->looks = 1000000;
		review(d);
		assert_int_equal(dropped, i + 1);
		assert_null(dbt_site_absent(d, AT));
		assert_int_equal(dbt_site_kind(d, AT), SITE_PLAIN);
	}
}

static void test_not_reviewed_all_the_time(void **state)
{
	struct dbt *d = *state;

	clock_ns = 1000000000;
	signals_until(d, AT, SITE_ABSENT);
	review(d);
	dbt_site_absent(d, AT)->looks = 1000000;
	clock_ns += 1000;
	dbt_sites_review(d);
	assert_non_null(dbt_site_absent(d, AT));
}

/* When all places are taken, those without a use give theirs up. */
static void test_absent_places(void **state)
{
	struct dbt *d = *state;
	unsigned left = 0;

	for (unsigned i = 0; i < DBT_ABSENT_MAX; i++)
		assert_int_equal(signals_until(d, i * 64, SITE_ABSENT), 8);
	assert_int_equal(signals_until(d, AT, SITE_ABSENT), 100000);
	assert_int_equal(dbt_site_kind(d, AT), SITE_PLAIN);
	for (unsigned i = 0; i < 30; i++) {
		dbt_site_absent(d, 64)->misses = 1;
		review(d);
	}
	for (unsigned i = 0; i < DBT_ABSENT_MAX; i++)
		left += dbt_site_absent(d, i * 64) != NULL;
	assert_int_equal(left, 1);
	assert_non_null(dbt_site_absent(d, 64));
	signals_until(d, AT, SITE_ABSENT);
	assert_int_equal(dbt_site_kind(d, AT), SITE_ABSENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_absent_stays_while_it_pays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_absent_ends_and_waits_longer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_reviewed_all_the_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_absent_places, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
