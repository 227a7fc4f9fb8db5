/*
 * The registry belongs to the process, so each test uses names of its own.
 */
#include "test/support/test.h"

#include <pthread.h>
#include <string.h>

#include "core/metrics.h"

/* The page, for the caller to look into until the next call. */
static const char *page(void)
{
	static struct kr_buf b = { .max = 1 << 20 };

	kr_buf_reset(&b);
	assert_ok(kr_metrics_print(&b));
	assert_ok(kr_buf_append(&b, "", 1));
	return (const char *)b.ptr;
}

static void assert_on_page(const char *lines)
{
	if (strstr(page(), lines) == NULL)
		fail_msg("\"%s\" is not in:\n%s", lines, page());
}

static void test_a_counter_counts_and_prints(void **state)
{
	struct kr_metric *m = kr_metrics_counter("a_total", "Things.", NULL);
	(void)state;

	kr_metric_add(m, 2);
	kr_metric_add(m, 40);
	assert_int_equal(kr_metric_value(m), 42);
	assert_on_page("# HELP a_total Things.\n# TYPE a_total counter\n"
		       "a_total 42\n");
}

static void test_a_gauge_goes_up_and_down(void **state)
{
	struct kr_metric *m = kr_metrics_gauge("b", "Level.", NULL);
	(void)state;

	kr_metric_set(m, 3);
	kr_metric_sub(m, 5);
	kr_metric_add(m, 1);
	assert_int_equal(kr_metric_value(m), -1);
	assert_on_page("# TYPE b gauge\nb -1\n");
}

static void test_the_same_name_and_labels_are_the_same_object(void **state)
{
	struct kr_metric *m = kr_metrics_counter("c_total", "C.", "k=\"1\"");
	(void)state;

	assert_ptr_equal(kr_metrics_counter("c_total", "C.", "k=\"1\""), m);
	assert_ptr_not_equal(kr_metrics_counter("c_total", "C.", "k=\"2\""), m);
	assert_ptr_equal(kr_metrics_counter("c_total", "C.", ""),
			 kr_metrics_counter("c_total", "C.", NULL));
}

static void test_a_family_has_one_help_and_all_its_labels(void **state)
{
	(void)state;

	kr_metric_add(kr_metrics_counter("d_total", "D.", "k=\"1\""), 1);
	kr_metrics_counter("other_total", "O.", NULL);
	kr_metric_add(kr_metrics_counter("d_total", "D.", "k=\"2\""), 2);
	assert_on_page("# HELP d_total D.\n# TYPE d_total counter\n"
		       "d_total{k=\"1\"} 1\nd_total{k=\"2\"} 2\n");
}

static void test_histogram_buckets_are_cumulative(void **state)
{
	static const double bounds[] = { 0.1, 1, 10 };
	struct kr_metric *m =
		kr_metrics_histogram("e_seconds", "E.", NULL, bounds, 3);
	(void)state;

	kr_metric_observe(m, 0.0625);
	kr_metric_observe(m, 1); /* a bound belongs to its bucket */
	kr_metric_observe(m, 2);
	kr_metric_observe(m, 100);
	assert_int_equal(kr_metric_value(m), 4);
	assert_on_page("# TYPE e_seconds histogram\n"
		       "e_seconds_bucket{le=\"0.1\"} 1\n"
		       "e_seconds_bucket{le=\"1\"} 2\n"
		       "e_seconds_bucket{le=\"10\"} 3\n"
		       "e_seconds_bucket{le=\"+Inf\"} 4\n"
		       "e_seconds_sum 103.0625\n"
		       "e_seconds_count 4\n");
}

static void test_histograms_keep_their_labels_beside_le(void **state)
{
	static const double bounds[] = { 1 };
	(void)state;

	kr_metric_observe(kr_metrics_histogram("f", "F.", "k=\"v\"", bounds, 1),
			  2);
	assert_on_page("f_bucket{k=\"v\",le=\"1\"} 0\n"
		       "f_bucket{k=\"v\",le=\"+Inf\"} 1\n"
		       "f_sum{k=\"v\"} 2\nf_count{k=\"v\"} 1\n");
}

static int64_t next_number(void *ctx)
{
	return ++*(int64_t *)ctx;
}

static void test_a_gauge_function_is_asked_when_printed(void **state)
{
	int64_t number = 6;
	(void)state;

	kr_metrics_gauge_fn("g", "G.", NULL, next_number, &number);
	assert_int_equal(number, 6);
	assert_on_page("\ng 7\n");
	assert_on_page("\ng 8\n");
	kr_metrics_gauge_fn("g", "G.", NULL, NULL, NULL); /* number goes */
	assert_on_page("\ng 0\n");
}

static void test_help_is_escaped(void **state)
{
	(void)state;

	kr_metrics_counter("h_total", "back\\slash \"and\"\nnewline", NULL);
	assert_on_page("# HELP h_total back\\\\slash \"and\"\\nnewline\n");
}

static void test_label_values_are_escaped_and_joined(void **state)
{
	char labels[64] = "";
	(void)state;

	assert_ok(kr_metrics_label(labels, sizeof(labels), "a", "x\"y\\z\n"));
	assert_ok(kr_metrics_label(labels, sizeof(labels), "b", ""));
	assert_string_equal(labels, "a=\"x\\\"y\\\\z\\n\",b=\"\"");
}

static void test_a_label_that_does_not_fit_leaves_the_text(void **state)
{
	(void)state;

	/* k="v\n" with its NUL is 8 bytes */
	for (size_t cap = 1; cap < 8; cap++) {
		char labels[8] = "";

		assert_err(kr_metrics_label(labels, cap, "k", "v\n"),
			   KR_E_TOOBIG);
		assert_string_equal(labels, "");
	}
	char labels[8] = "";
	assert_ok(kr_metrics_label(labels, 8, "k", "v\n"));
	assert_string_equal(labels, "k=\"v\\n\"");
}

static void test_a_page_above_the_ceiling_is_an_error(void **state)
{
	struct kr_buf b;
	(void)state;

	kr_metrics_counter("i_total", "I.", NULL);
	kr_buf_init(&b, 16);
	assert_err(kr_metrics_print(&b), KR_E_TOOBIG);
	kr_buf_fini(&b);
}

enum { THREADS = 4, ROUNDS = 2000 };

static void *count_much(void *unused)
{
	static const double bounds[] = { 1 };
	struct kr_metric *c = kr_metrics_counter("j_total", "J.", NULL);
	struct kr_metric *h = kr_metrics_histogram("k", "K.", NULL, bounds, 1);

	for (int i = 0; i < ROUNDS; i++) {
		kr_metric_add(c, 1);
		kr_metric_observe(h, 2);
	}
	return unused;
}

static void test_nothing_is_lost_between_threads(void **state)
{
	pthread_t threads[THREADS];
	(void)state;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, count_much, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_on_page("j_total 8000\n");
	assert_on_page("k_sum 16000\nk_count 8000\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_counter_counts_and_prints),
		cmocka_unit_test(test_a_gauge_goes_up_and_down),
		cmocka_unit_test(
			test_the_same_name_and_labels_are_the_same_object),
		cmocka_unit_test(test_a_family_has_one_help_and_all_its_labels),
		cmocka_unit_test(test_histogram_buckets_are_cumulative),
		cmocka_unit_test(test_histograms_keep_their_labels_beside_le),
		cmocka_unit_test(test_a_gauge_function_is_asked_when_printed),
		cmocka_unit_test(test_help_is_escaped),
		cmocka_unit_test(test_label_values_are_escaped_and_joined),
		cmocka_unit_test(
			test_a_label_that_does_not_fit_leaves_the_text),
		cmocka_unit_test(test_a_page_above_the_ceiling_is_an_error),
		cmocka_unit_test(test_nothing_is_lost_between_threads),
	};
	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
