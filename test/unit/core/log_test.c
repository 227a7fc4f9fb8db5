#define _GNU_SOURCE
#include "test/support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "core/log.h"

/* What was logged since the last call; the log writes to a pipe. */
static int log_pipe[2];
static char text[2 * KR_LOG_LINE_MAX];

static const char *logged(void)
{
	const ssize_t n = read(log_pipe[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* The line without its time, whose form is checked. */
static const char *after_time(const char *line)
{
	static const char form[] = "0000-00-00T00:00:00.000Z ";

	for (size_t i = 0; form[i] != '\0'; i++) {
		if (form[i] == '0')
			assert_in_range(line[i], '0', '9');
		else
			assert_int_equal(line[i], form[i]);
	}
	return line + sizeof(form) - 1;
}

static json_t *logged_json(void)
{
	const char *line = logged();

	assert_int_equal(line[strlen(line) - 1], '\n');
	json_t *j = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	return j;
}

static void assert_json_str(const json_t *j, const char *key, const char *want)
{
	const char *got = json_string_value(json_object_get(j, key));

	assert_non_null(got);
	assert_string_equal(got, want);
}

static int set_up(void **state)
{
	(void)state;
	if (pipe2(log_pipe, O_NONBLOCK | O_CLOEXEC) != 0)
		return -1;
	kr_log_set_fd(log_pipe[1]);
	kr_log_set_format(KR_LOG_TEXT);
	kr_log_set_level(KR_LOG_DEBUG);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(log_pipe[0]);
	close(log_pipe[1]);
	return 0;
}

static void test_an_event_without_fields_is_a_line(void **state)
{
	(void)state;

	kr_log_info("core", "hello world");
	assert_string_equal(after_time(logged()),
			    "info core \"hello world\"\n");
}

static void test_fields_of_every_type_print_in_order(void **state)
{
	const struct kr_digest d = { .alg = KR_SHA256, .bytes = { 0xab } };
	const struct kr_addr a = { .ip = { [15] = 1 }, .port = 80 };
	(void)state;

	kr_log_error("core", "x", KR_STR("s", "word"), KR_STR("n", NULL),
		     KR_TEXT("t", "two words!", 9), KR_BOOL("b", true),
		     KR_U64("u", UINT64_MAX), KR_I64("i", INT64_MIN),
		     KR_F64("f", 0.25), KR_ERR("e", KR_E_PROTO),
		     KR_DIGEST("d", &d), KR_ADDR("a", &a));
	assert_string_equal(
		after_time(logged()),
		"error core x s=word n=null t=\"two words\" b=true "
		"u=18446744073709551615 i=-9223372036854775808 f=0.25 "
		"e=\"peer broke the wire protocol [KR_E_PROTO]\" "
		"d=sha256:ab000000000000000000000000000000"
		"00000000000000000000000000000000 a=[::1]:80\n");
}

static void test_values_cannot_forge_a_line_or_a_field(void **state)
{
	(void)state;

	kr_log_warn("core", "x", KR_STR("s", "a\nerror core b=\"1\" \\"),
		    KR_STR("empty", ""), KR_STR("esc", "\x1b[31m\x7f"));
	assert_string_equal(after_time(logged()),
			    "warn core x s=\"a\\nerror core b=\\\"1\\\" \\\\\" "
			    "empty=\"\" esc=\"\\u001b[31m\\u007f\"\n");
}

static void test_events_below_the_level_are_not_written(void **state)
{
	(void)state;

	kr_log_set_level(KR_LOG_WARN);
	kr_log_debug("core", "x");
	kr_log_info("core", "x");
	assert_string_equal(logged(), "");
	kr_log_warn("core", "x");
	assert_string_equal(after_time(logged()), "warn core x\n");
}

static void test_json_has_every_field_with_its_type(void **state)
{
	(void)state;

	kr_log_set_format(KR_LOG_JSON);
	kr_log_info("core", "msg", KR_STR("s", "a \"b\"\n\t"),
		    KR_STR("n", NULL), KR_BOOL("b", false), KR_U64("u", 7),
		    KR_I64("i", -7), KR_F64("f", 0.5), KR_F64("nan", NAN),
		    KR_ERR("e", KR_E_IO));
	json_t *j = logged_json();
	assert_json_str(j, "level", "info");
	assert_json_str(j, "module", "core");
	assert_json_str(j, "msg", "msg");
	assert_json_str(j, "s", "a \"b\"\n\t");
	assert_true(json_is_null(json_object_get(j, "n")));
	assert_true(json_is_false(json_object_get(j, "b")));
	assert_int_equal(json_integer_value(json_object_get(j, "u")), 7);
	assert_int_equal(json_integer_value(json_object_get(j, "i")), -7);
	assert_true(json_real_value(json_object_get(j, "f")) == 0.5);
	assert_true(json_is_null(json_object_get(j, "nan")));
	assert_json_str(j, "e", "local I/O failed [KR_E_IO]");
	assert_non_null(json_object_get(j, "time"));
	json_decref(j);
}

static void test_bytes_that_are_not_utf8_are_replaced(void **state)
{
	/* overlong, surrogate, above U+10FFFF, cut, stray, then a good one */
	static const char bad[] = "\xc0\x80|\xed\xa0\x80|\xf4\x90\x80\x80|"
				  "\xe2\x82|\xff|\xe2\x82\xac";
	(void)state;

	kr_log_set_format(KR_LOG_JSON);
	kr_log_info("core", "msg", KR_STR("s", bad));
	json_t *j = logged_json();
#define R "\xef\xbf\xbd"
	assert_json_str(j, "s",
			R R "|" R R R "|" R R R R "|" R R "|" R
			    "|\xe2\x82\xac");
#undef R
	json_decref(j);
}

static void test_any_length_of_value_leaves_a_whole_line(void **state)
{
	static char big[KR_LOG_LINE_MAX + 100];
	(void)state;

	kr_log_set_format(KR_LOG_JSON);
	for (size_t len = KR_LOG_LINE_MAX - 250; len < sizeof(big) - 1; len++) {
		memset(big, 'x', len);
		big[len] = '\0';
		big[len - 1] = '\n'; /* an escape where the cut may fall */
		kr_log_info("core", "msg", KR_STR("s", big),
			    KR_U64("after", 123456));
		json_t *j = logged_json();
		const char *got = json_string_value(json_object_get(j, "s"));

		assert_true(strlen(text) <= KR_LOG_LINE_MAX);
		assert_non_null(got);
		assert_memory_equal(got, big, strlen(got));
		/* a value is cut or missing exactly when the line says so */
		const bool complete = strcmp(got, big) == 0 &&
				      json_object_get(j, "after") != NULL;
		assert_int_equal(json_object_get(j, "truncated") != NULL,
				 !complete);
		if (json_object_get(j, "after") != NULL)
			assert_int_equal(
				json_integer_value(json_object_get(j, "after")),
				123456);
		json_decref(j);
	}
}

static void test_a_cut_text_line_says_so(void **state)
{
	static char big[2 * KR_LOG_LINE_MAX];
	(void)state;

	memset(big, 'x', sizeof(big) - 1);
	kr_log_info("core", "msg", KR_STR("s", big), KR_U64("after", 1));
	const char *line = logged();
	static const char end[] = "x\" truncated=true\n";
	assert_true(strlen(line) <= KR_LOG_LINE_MAX);
	assert_string_equal(line + strlen(line) - strlen(end), end);
	assert_null(strstr(line, "after"));
}

static void test_logging_leaves_errno_alone(void **state)
{
	(void)state;

	kr_log_set_fd(-1); /* write(2) fails */
	errno = ENOSPC;
	kr_log_info("core", "x");
	assert_int_equal(errno, ENOSPC);
}

static void test_levels_and_formats_are_parsed_by_name(void **state)
{
	enum kr_log_level level = KR_LOG_INFO;
	enum kr_log_format format = KR_LOG_TEXT;
	(void)state;

	assert_ok(kr_log_level_parse("debug", &level));
	assert_int_equal(level, KR_LOG_DEBUG);
	assert_ok(kr_log_level_parse("error", &level));
	assert_int_equal(level, KR_LOG_ERROR);
	assert_err(kr_log_level_parse("INFO", &level), KR_E_INVALID);
	assert_ok(kr_log_format_parse("json", &format));
	assert_int_equal(format, KR_LOG_JSON);
	assert_err(kr_log_format_parse("xml", &format), KR_E_INVALID);
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOG_TEST(test_an_event_without_fields_is_a_line),
		LOG_TEST(test_fields_of_every_type_print_in_order),
		LOG_TEST(test_values_cannot_forge_a_line_or_a_field),
		LOG_TEST(test_events_below_the_level_are_not_written),
		LOG_TEST(test_json_has_every_field_with_its_type),
		LOG_TEST(test_bytes_that_are_not_utf8_are_replaced),
		LOG_TEST(test_any_length_of_value_leaves_a_whole_line),
		LOG_TEST(test_a_cut_text_line_says_so),
		LOG_TEST(test_logging_leaves_errno_alone),
		LOG_TEST(test_levels_and_formats_are_parsed_by_name),
	};
	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
