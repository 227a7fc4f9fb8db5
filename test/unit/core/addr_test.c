#include "test/support/test.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "core/addr.h"

static struct kr_addr addr_of(const char *text)
{
	struct kr_addr a;

	assert_ok(kr_addr_parse(text, strlen(text), &a));
	return a;
}

static void test_addresses_print_as_they_were_parsed(void **state)
{
	static const char *const texts[] = {
		"1.2.3.4:80", "0.0.0.0:0", "255.255.255.255:65535",
		"[::1]:80",   "[::]:1",    "[2001:db8::1:2]:15003",
	};
	(void)state;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		const struct kr_addr a = addr_of(texts[i]);
		char buf[KR_ADDR_TEXT_MAX];

		assert_string_equal(kr_addr_print(&a, buf), texts[i]);
		assert_int_equal(kr_addr_is_v4(&a), texts[i][0] != '[');
	}
}

static void test_the_longest_address_fits_its_text(void **state)
{
	struct kr_addr a = { .port = UINT16_MAX };
	char buf[KR_ADDR_TEXT_MAX];
	(void)state;

	memset(a.ip, 0xfe, sizeof(a.ip));
	assert_string_equal(kr_addr_print(&a, buf),
			    "[fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe]:65535");
}

static void test_malformed_addresses_are_refused(void **state)
{
	static const char *const bad[] = {
		"",           ":80",          "1.2.3.4",      "1.2.3.4:",
		"1.2.3.4:x",  "1.2.3.4:-1",   "1.2.3.4:+1",   "1.2.3.4:65536",
		"1.2.3:80",   "1.2.3.256:80", "host:80",      "::1:80",
		"[::1]",      "[::1]80",      "[]:80",        "[::1:80",
		"[1.2.3.4]:", "[host]:80",    "[1.2.3.4]:80", "1.2.3.4:000080",
	};
	struct kr_addr a = { .port = 77 };
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_err(kr_addr_parse(bad[i], strlen(bad[i]), &a),
			   KR_E_INVALID);
	assert_err(kr_addr_parse("1.2.3.4\0x:80", 12, &a), KR_E_INVALID);
	assert_int_equal(a.port, 77);
}

static void test_host_and_port_come_apart(void **state)
{
	struct kr_bytes host;
	uint16_t port = 0;
	(void)state;

	assert_ok(kr_addr_split("registry.local:5000 ", 19, &host, &port));
	assert_int_equal(host.len, 14);
	assert_memory_equal(host.ptr, "registry.local", 14);
	assert_int_equal(port, 5000);
	assert_ok(kr_addr_split("[::1]:80", 8, &host, &port));
	assert_int_equal(host.len, 3);
	assert_memory_equal(host.ptr, "::1", 3);
}

static void test_equality_and_hash_see_address_and_port(void **state)
{
	const struct kr_addr a = addr_of("1.2.3.4:80"),
			     same = addr_of("[::ffff:1.2.3.4]:80"),
			     port = addr_of("1.2.3.4:81"),
			     ip = addr_of("1.2.3.5:80");
	(void)state;

	assert_true(kr_addr_equal(&a, &same));
	assert_true(kr_addr_hash(&a) == kr_addr_hash(&same));
	assert_false(kr_addr_equal(&a, &port));
	assert_true(kr_addr_hash(&a) != kr_addr_hash(&port));
	assert_false(kr_addr_equal(&a, &ip));
	assert_true(kr_addr_hash(&a) != kr_addr_hash(&ip));
}

static void test_socket_addresses_come_back(void **state)
{
	static const char *const texts[] = { "1.2.3.4:80", "[2001:db8::1]:9" };
	(void)state;

	for (size_t i = 0; i < 2; i++) {
		const struct kr_addr a = addr_of(texts[i]);
		struct sockaddr_storage ss;
		struct kr_addr back;

		const socklen_t len = kr_addr_to_sockaddr(&a, &ss);
		assert_int_equal(ss.ss_family, i == 0 ? AF_INET : AF_INET6);
		assert_int_equal(len, i == 0 ? sizeof(struct sockaddr_in)
					     : sizeof(struct sockaddr_in6));
		assert_ok(kr_addr_from_sockaddr((const struct sockaddr *)&ss,
						&back));
		assert_true(kr_addr_equal(&a, &back));
	}
}

static void test_other_families_are_unsupported(void **state)
{
	const struct sockaddr sa = { .sa_family = AF_UNIX };
	struct kr_addr a;
	(void)state;

	assert_err(kr_addr_from_sockaddr(&sa, &a), KR_E_UNSUPPORTED);
}

static void test_literals_resolve_to_themselves(void **state)
{
	static const char *const texts[] = { "127.0.0.1:80", "[::1]:81" };
	(void)state;

	for (size_t i = 0; i < 2; i++) {
		const struct kr_addr want = addr_of(texts[i]);
		struct kr_addr list[2];
		size_t count = 0;

		assert_ok(kr_addr_resolve(texts[i], list, 2, &count));
		assert_int_equal(count, 1);
		assert_true(kr_addr_equal(&list[0], &want));
	}
}

static void test_localhost_resolves_to_loopback_once(void **state)
{
	const struct kr_addr v4 = addr_of("127.0.0.1:15003"),
			     v6 = addr_of("[::1]:15003");
	struct kr_addr list[8];
	size_t count = 0;
	(void)state;

	assert_ok(kr_addr_resolve("localhost:15003", list, 8, &count));
	assert_in_range(count, 1, 2);
	for (size_t i = 0; i < count; i++)
		assert_true(kr_addr_equal(&list[i], &v4) ||
			    kr_addr_equal(&list[i], &v6));
	assert_ok(kr_addr_resolve("localhost:15003", list, 1, &count));
	assert_int_equal(count, 1);
}

static void test_malformed_names_do_not_reach_the_resolver(void **state)
{
	char too_long[1200];
	struct kr_addr a;
	size_t count;
	(void)state;

	memset(too_long, 'a', sizeof(too_long));
	memcpy(too_long + sizeof(too_long) - 4, ":80", 4);
	assert_err(kr_addr_resolve("localhost", &a, 1, &count), KR_E_INVALID);
	assert_err(kr_addr_resolve(":80", &a, 1, &count), KR_E_INVALID);
	assert_err(kr_addr_resolve(too_long, &a, 1, &count), KR_E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_print_as_they_were_parsed),
		cmocka_unit_test(test_the_longest_address_fits_its_text),
		cmocka_unit_test(test_malformed_addresses_are_refused),
		cmocka_unit_test(test_host_and_port_come_apart),
		cmocka_unit_test(test_equality_and_hash_see_address_and_port),
		cmocka_unit_test(test_socket_addresses_come_back),
		cmocka_unit_test(test_other_families_are_unsupported),
		cmocka_unit_test(test_literals_resolve_to_themselves),
		cmocka_unit_test(test_localhost_resolves_to_loopback_once),
		cmocka_unit_test(
			test_malformed_names_do_not_reach_the_resolver),
	};
	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
