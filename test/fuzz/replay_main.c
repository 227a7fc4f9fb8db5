/*
 * test/fuzz/replay_main.c - run a fuzz target over its corpus without
 * libFuzzer: every file as it is, cut short everywhere, and in a few hundred
 * mutants of a fixed seed.
 *
 *	<name>_fuzz DIRECTORY|FILE...
 *
 * An empty corpus is a failure.  An input that breaks the target is left in
 * the working directory as crash-<target>, to be given as FILE.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/rand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_MAX_BYTES = 1 << 20, CUTS_MAX = 512, MUTANTS = 256 };

/* For the signal handler only: what the target was given last. */
static const uint8_t *volatile current;
static volatile size_t current_len;

static void on_crash(int sig)
{
	char name[64];

	snprintf(name, sizeof(name), "crash-%s", program_invocation_short_name);
	const int fd =
		open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd >= 0 && write(fd, current, current_len) >= 0)
		fprintf(stderr, "the input is in ./%s\n", name);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* A block of its own and of its size, so that AddressSanitizer sees the first
 * byte read past the end. */
static void run(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	if (copy == NULL)
		abort();
	if (len > 0)
		memcpy(copy, data, len);
	current = copy;
	current_len = len;
	if (LLVMFuzzerTestOneInput(copy, len) != 0)
		abort();
	free(copy);
}

/* One to four changes of a byte, a bit, or the length. */
static void run_mutant(const uint8_t *data, size_t len, struct kr_rand *rand)
{
	uint8_t *m = malloc(len + 4);
	uint32_t changes = 1 + kr_rand_below(rand, 4);

	if (m == NULL)
		abort();
	if (len > 0)
		memcpy(m, data, len);
	while (changes-- > 0) {
		const uint32_t at = kr_rand_below(rand, (uint32_t)len + 1);
		const uint8_t byte = (uint8_t)kr_rand_u64(rand);

		switch (kr_rand_below(rand, 4)) {
		case 0: /* grow: never more than the four changes */
			memmove(m + at + 1, m + at, len - at);
			m[at] = byte;
			len++;
			break;
		case 1: /* shrink */
			if (at < len)
				memmove(m + at, m + at + 1, --len - at);
			break;
		case 2:
			if (at < len)
				m[at] = byte;
			break;
		default:
			if (at < len)
				m[at] ^= (uint8_t)(1U << (byte & 7));
		}
	}
	run(m, len);
	free(m);
}

static void replay(const uint8_t *data, size_t len)
{
	struct kr_rand rand;

	run(data, len);
	for (size_t n = 0; n < len && n < CUTS_MAX; n++)
		run(data, n);
	kr_rand_init(&rand, len);
	for (int i = 0; i < MUTANTS; i++)
		run_mutant(data, len, &rand);
}

static int replay_file(const char *path)
{
	static uint8_t buf[FILE_MAX_BYTES];
	FILE *f = fopen(path, "rbe");

	if (f == NULL) {
		perror(path);
		return 1;
	}
	const size_t len = fread(buf, 1, sizeof(buf), f);
	const int bad = ferror(f) || !feof(f);
	fclose(f);
	if (bad) {
		fprintf(stderr, "%s: cannot be read, or is above %d bytes\n",
			path, (int)sizeof(buf));
		return 1;
	}
	replay(buf, len);
	return 0;
}

static int replay_dir(const char *dir, int *file_count)
{
	struct dirent **list;
	const int n = scandir(dir, &list, NULL, alphasort);
	int bad = 0;

	if (n < 0) {
		perror(dir);
		return 1;
	}
	for (int i = 0; i < n; i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", dir, list[i]->d_name);
		if (list[i]->d_name[0] != '.') {
			bad |= replay_file(path);
			(*file_count)++;
		}
		free(list[i]);
	}
	free(list);
	return bad;
}

int main(int argc, char **argv)
{
	int file_count = 0, bad = 0;

	signal(SIGABRT, on_crash);
	run(NULL, 0);
	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode)) {
			bad |= replay_dir(argv[i], &file_count);
		} else {
			bad |= replay_file(argv[i]);
			file_count++;
		}
	}
	if (file_count == 0) {
		fprintf(stderr, "no corpus: there is nothing to replay\n");
		return 1;
	}
	printf("%d files, with cuts and %d mutants of each\n", file_count,
	       MUTANTS);
	return bad;
}
