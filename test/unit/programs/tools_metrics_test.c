#include "control/programs/tools_metrics.h"

#include "test/support/test.h"

static const char text[] = "# HELP bytes_total moved\n"
			   "# TYPE bytes_total counter\n"
			   "bytes_total{direction=\"in\",peer=\"agent\"} 5\n"
			   "bytes_total{direction=\"in\",peer=\"origin\"} 7\n"
			   "bytes_total_of_another 100\n"
			   "conns{role=\"agent\"} 3\n"
			   "plain 1.5\n"
			   "last 9";

static double sum(const char *metric)
{
	double v = -1;

	return kr_tools_metric_sum(text, metric, &v) ? v : -1;
}

static void a_metric_without_labels_is_its_line(void **state)
{
	(void)state;
	assert_true(sum("plain") == 1.5);
	assert_true(sum("last") == 9);
}

static void a_metric_with_labels_is_that_line_alone(void **state)
{
	(void)state;
	assert_true(sum("bytes_total{direction=\"in\",peer=\"agent\"}") == 5);
	assert_true(sum("bytes_total{direction=\"in\",peer=\"proxy\"}") == -1);
}

static void a_name_alone_is_the_sum_of_its_family(void **state)
{
	(void)state;
	assert_true(sum("bytes_total") == 12);
	assert_true(sum("conns") == 3);
}

static void neither_prefixes_nor_comments_are_metrics(void **state)
{
	(void)state;
	assert_true(sum("bytes") == -1);
	assert_true(sum("moved") == -1);
	assert_true(sum("pla") == -1);
}

static void a_label_is_found_by_its_key(void **state)
{
	char buf[8] = "";

	(void)state;
	assert_true(
		kr_tools_metric_label(text, "conns", "role", buf, sizeof(buf)));
	assert_string_equal(buf, "agent");
	assert_true(kr_tools_metric_label(text, "bytes_total", "peer", buf,
					  sizeof(buf)));
	assert_string_equal(buf, "agent");
	assert_false(
		kr_tools_metric_label(text, "conns", "ole", buf, sizeof(buf)));
	assert_false(
		kr_tools_metric_label(text, "plain", "role", buf, sizeof(buf)));
}

static void a_label_that_does_not_fit_is_no_label(void **state)
{
	char buf[5] = "same";

	(void)state;
	assert_false(
		kr_tools_metric_label(text, "conns", "role", buf, sizeof(buf)));
	assert_string_equal(buf, "same");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_metric_without_labels_is_its_line),
		cmocka_unit_test(a_metric_with_labels_is_that_line_alone),
		cmocka_unit_test(a_name_alone_is_the_sum_of_its_family),
		cmocka_unit_test(neither_prefixes_nor_comments_are_metrics),
		cmocka_unit_test(a_label_is_found_by_its_key),
		cmocka_unit_test(a_label_that_does_not_fit_is_no_label),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
