/*
 * `kraken runtime-config`: the command line, what it says, and the order of
 * things.  The texts are runtime_config_text.c's and runtime_config_docker.c's,
 * the files runtime_config_file.c's.
 */
#define _GNU_SOURCE
#include "control/programs/runtime_config.h"

#include <getopt.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"

enum runtime { CONTAINERD, DOCKER, CRIO, PODMAN, RUNTIME_COUNT };

static const struct {
	const char *name;
	const char *path; /* the file, or certs.d */
	const char *then; /* what is left to do */
} runtimes[RUNTIME_COUNT] = {
	[CONTAINERD] = { "containerd", "/etc/containerd/certs.d",
			 "containerd reads it at the next pull" },
	[DOCKER] = { "docker", "/etc/docker/daemon.json",
		     "then: systemctl reload docker" },
	[CRIO] = { "crio", "/etc/containers/registries.conf.d/50-kraken.conf",
		   "then: systemctl reload crio" },
	[PODMAN] = { "podman",
		     "/etc/containers/registries.conf.d/50-kraken.conf",
		     "podman reads it at the next pull" },
};

struct command {
	struct kr_rtc rtc;
	bool wanted[RUNTIME_COUNT];
	bool any_upstream;               /* none was named */
	const char *path[RUNTIME_COUNT]; /* NULL: the usual one */
};

/* ---- one file -----------------------------------------------------------*/

static void print_text(struct kr_bytes text)
{
	const char *p = (const char *)text.ptr;
	const char *end = text.len > 0 ? p + text.len : p;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		const size_t n = nl ? (size_t)(nl - p) : (size_t)(end - p);

		printf("    %.*s\n", (int)n, p);
		p += n + 1;
	}
}

static int complain(const char *path, enum kr_err err, const char *why)
{
	fprintf(stderr, "kraken runtime-config: %s is left as it is: %s\n",
		path, why != NULL ? why : kr_err_text(err));
	return EXIT_FAILURE;
}

/* Bring @path of @which from @old to @text (empty: not needed).  A directory
 * below certs.d is nothing without its file. */
static int settle(const struct kr_rtc *rtc, enum runtime which,
		  const char *path, bool is_there, struct kr_bytes old,
		  struct kr_bytes text)
{
	const bool same =
		old.len == text.len &&
		(old.len == 0 || memcmp(old.ptr, text.ptr, old.len) == 0);
	enum kr_err err = KR_OK;

	if (same && (is_there || text.len == 0)) {
		printf("unchanged: %s%s\n", path,
		       is_there ? "" : " (there is none)");
		return EXIT_SUCCESS;
	}
	if (rtc->action == KR_RTC_SHOW) {
		printf("would write %s:\n", path);
		print_text(text);
		return EXIT_SUCCESS;
	}
	err = text.len > 0 ? kr_rtc_write(path, text)
			   : kr_rtc_delete(path, which == CONTAINERD);
	if (err != KR_OK)
		return complain(path, err,
				err == KR_E_NOTFOUND ? "it is a link to what "
						       "is not there"
						     : NULL);
	printf("%s %s\n", text.len > 0 ? "wrote" : "deleted", path);
	print_text(text);
	return EXIT_SUCCESS;
}

static int change_file(const struct kr_rtc *rtc, enum runtime which,
		       const char *upstream, const char *path)
{
	struct kr_buf old, text;
	const char *why = NULL;
	int status;

	kr_buf_init(&old, KR_RTC_FILE_BYTES_MAX);
	kr_buf_init(&text, KR_RTC_FILE_BYTES_MAX);
	enum kr_err err = kr_rtc_read(path, &old);
	const bool is_there = err == KR_OK;
	const struct kr_bytes was = { old.ptr, old.len };
	if (err == KR_E_NOTFOUND)
		err = KR_OK;
	if (err == KR_OK && which == CONTAINERD)
		err = kr_rtc_containerd(rtc, upstream, was, &text, &why);
	else if (err == KR_OK && which == DOCKER)
		err = kr_rtc_docker(rtc, was, &text, &why);
	else if (err == KR_OK)
		err = kr_rtc_podman(rtc, was, &text, &why);
	if (err != KR_OK)
		status = complain(path, err, err == KR_E_CONFIG ? why : NULL);
	else
		status = settle(rtc, which, path, is_there, was,
				(struct kr_bytes){ text.ptr, text.len });
	kr_buf_fini(&old);
	kr_buf_fini(&text);
	return status;
}

/* ---- one runtime --------------------------------------------------------*/

static const char *path_of(const struct command *c, enum runtime which,
			   char buf[KR_RTC_PATH_MAX])
{
	if (c->path[which] != NULL)
		return c->path[which];
	(void)snprintf(buf, KR_RTC_PATH_MAX, "%s%s", c->rtc.root,
		       runtimes[which].path);
	return buf;
}

/* hosts.toml counts only where containerd's own configuration says so. */
static void check_config_path(const struct command *c, const char *dir)
{
	char path[KR_RTC_PATH_MAX];
	struct kr_buf text;

	(void)snprintf(path, sizeof(path), "%s/etc/containerd/config.toml",
		       c->rtc.root);
	kr_buf_init(&text, KR_RTC_FILE_BYTES_MAX);
	if (kr_rtc_read(path, &text) != KR_OK ||
	    memmem(text.ptr, text.len, "config_path", 11) == NULL)
		printf("note: %s does not set config_path; Kubernetes pulls "
		       "by these files only with\n"
		       "    [plugins.\"io.containerd.grpc.v1.cri\".registry]\n"
		       "      config_path = \"%s\"\n"
		       "  (containerd 2: "
		       "[plugins.\"io.containerd.cri.v1.images\".registry])\n",
		       path, dir);
	kr_buf_fini(&text);
}

static bool has_ours(const char *path)
{
	struct kr_buf text;
	bool ours;

	kr_buf_init(&text, KR_RTC_FILE_BYTES_MAX);
	ours = kr_rtc_read(path, &text) == KR_OK &&
	       kr_rtc_containerd_has_ours(
		       (struct kr_bytes){ text.ptr, text.len });
	kr_buf_fini(&text);
	return ours;
}

/* Out of every hosts.toml below @dir. */
static int leave_containerd(const struct command *c, const char *dir)
{
	char pattern[KR_RTC_PATH_MAX + 16];
	glob_t found = { 0 };
	bool any = false;
	int status = EXIT_SUCCESS;

	(void)snprintf(pattern, sizeof(pattern), "%s/*/hosts.toml", dir);
	if (glob(pattern, 0, NULL, &found) != 0)
		found.gl_pathc = 0;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		if (!has_ours(found.gl_pathv[i]))
			continue;
		any = true;
		if (change_file(&c->rtc, CONTAINERD, c->rtc.upstreams[0],
				found.gl_pathv[i]) != EXIT_SUCCESS)
			status = EXIT_FAILURE;
	}
	if (!any)
		printf("unchanged: nothing below %s is ours\n", dir);
	globfree(&found);
	return status;
}

static int change_containerd(const struct command *c, const char *dir)
{
	char path[KR_RTC_PATH_MAX];
	int status = EXIT_SUCCESS;

	if (c->rtc.action == KR_RTC_REMOVE && c->any_upstream)
		return leave_containerd(c, dir);
	for (size_t i = 0; i < c->rtc.upstream_count; i++) {
		const char *upstream = c->rtc.upstreams[i];
		const int n = snprintf(path, sizeof(path), "%s/%s/hosts.toml",
				       dir, kr_rtc_containerd_dir(upstream));

		if (n < 0 || n >= (int)sizeof(path))
			return complain(dir, KR_E_TOOBIG, NULL);
		if (change_file(&c->rtc, CONTAINERD, upstream, path) !=
		    EXIT_SUCCESS)
			status = EXIT_FAILURE;
	}
	if (c->rtc.action != KR_RTC_REMOVE)
		check_config_path(c, dir);
	return status;
}

static int change_runtime(const struct command *c, enum runtime which)
{
	char buf[KR_RTC_PATH_MAX];
	const char *path = path_of(c, which, buf);
	int status;

	if (which == DOCKER && (c->rtc.upstream_count > 1 ||
				strcmp(c->rtc.upstreams[0], "docker.io") != 0))
		printf("note: docker uses mirrors for docker.io only\n");
	status = which == CONTAINERD ? change_containerd(c, path)
				     : change_file(&c->rtc, which, NULL, path);
	if (status == EXIT_SUCCESS && c->rtc.action != KR_RTC_SHOW)
		printf("%s: %s\n", runtimes[which].name, runtimes[which].then);
	return status;
}

/* ---- the command line ---------------------------------------------------*/

enum {
	OPT_APPLY = 1000,
	OPT_REMOVE,
	OPT_AGENT,
	OPT_UPSTREAM,
	OPT_KEEP_HOST,
	OPT_ROOT,
	OPT_PATH,
	OPT_HELP,
};

static int usage(FILE *to, int status)
{
	fprintf(to,
		"kraken runtime-config RUNTIME [--apply | --remove] [flags]\n"
		"RUNTIME: --containerd, --docker, --crio, --podman; without "
		"--apply or --remove it\n"
		"prints what --apply would write.\n"
		"  --agent HOST:PORT  the agent's registry (127.0.0.1:16000)\n"
		"  --upstream HOST    mirror this registry (docker.io; with "
		"--remove: all); may be\n"
		"                     said again; '*': every one (containerd)\n"
		"  --keep-host        podman, CRI-O: ask the agent for "
		"HOST/repository, for an agent\n"
		"                     whose registry.upstreams has HOST\n"
		"  --path PATH        of the file (containerd: certs.d) of the "
		"runtime before it\n"
		"  --root DIR         put before the usual paths\n");
	return status;
}

static bool is_host(const char *s)
{
	if (strcmp(s, "*") == 0)
		return true;
	return s[0] != '\0' && s[0] != '.' && strlen(s) <= 255 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			 "0123456789.-:") == strlen(s);
}

static bool is_agent(const char *s)
{
	char host[KR_CONFIG_HOST_MAX];
	uint16_t port;

	return strlen(s) <= 255 && strpbrk(s, "\"\\ /") == NULL &&
	       kr_config_address_split(s, host, &port) == KR_OK &&
	       host[0] != '\0' && port != 0;
}

static bool add_upstream(struct kr_rtc *rtc, const char *host)
{
	if (!is_host(host)) {
		fprintf(stderr,
			"kraken runtime-config: --upstream %s: "
			"expected a host or host:port\n",
			host);
		return false;
	}
	if (rtc->upstream_count == KR_RTC_UPSTREAMS_MAX) {
		fprintf(stderr,
			"kraken runtime-config: at most %d times "
			"--upstream\n",
			KR_RTC_UPSTREAMS_MAX);
		return false;
	}
	rtc->upstreams[rtc->upstream_count++] = host;
	return true;
}

static bool set_action(struct kr_rtc *rtc, enum kr_rtc_action action)
{
	if (rtc->action != KR_RTC_SHOW && rtc->action != action) {
		fprintf(stderr, "kraken runtime-config: --apply or --remove, "
				"not both\n");
		return false;
	}
	rtc->action = action;
	return true;
}

static bool take_flag(struct command *c, int opt, const char *arg, int *last)
{
	switch (opt) {
	case OPT_APPLY:
		return set_action(&c->rtc, KR_RTC_APPLY);
	case OPT_REMOVE:
		return set_action(&c->rtc, KR_RTC_REMOVE);
	case OPT_AGENT:
		c->rtc.agent = arg;
		return true;
	case OPT_UPSTREAM:
		return add_upstream(&c->rtc, arg);
	case OPT_KEEP_HOST:
		c->rtc.keep_host = true;
		return true;
	case OPT_ROOT:
		c->rtc.root = arg;
		return strlen(arg) < KR_RTC_PATH_MAX / 2;
	case OPT_PATH:
		if (*last < 0) {
			fprintf(stderr, "kraken runtime-config: --path comes "
					"behind the runtime it is of\n");
			return false;
		}
		c->path[*last] = arg;
		return strlen(arg) < KR_RTC_PATH_MAX / 2;
	default:
		*last = opt;
		c->wanted[opt] = true;
		return true;
	}
}

static const struct option options[] = {
	{ "containerd", no_argument, NULL, CONTAINERD },
	{ "docker", no_argument, NULL, DOCKER },
	{ "crio", no_argument, NULL, CRIO },
	{ "podman", no_argument, NULL, PODMAN },
	{ "apply", no_argument, NULL, OPT_APPLY },
	{ "remove", no_argument, NULL, OPT_REMOVE },
	{ "agent", required_argument, NULL, OPT_AGENT },
	{ "upstream", required_argument, NULL, OPT_UPSTREAM },
	{ "keep-host", no_argument, NULL, OPT_KEEP_HOST },
	{ "root", required_argument, NULL, OPT_ROOT },
	{ "path", required_argument, NULL, OPT_PATH },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

/* True: go on.  Else @ret_status is the program's. */
static bool parse(int argc, char **argv, struct command *c, int *ret_status)
{
	int opt, last = -1;
	bool any = false;

	*ret_status = EXIT_FAILURE;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == OPT_HELP) {
			*ret_status = usage(stdout, EXIT_SUCCESS);
			return false;
		}
		if (opt == '?' || !take_flag(c, opt, optarg, &last))
			return false;
	}
	for (int i = 0; i < RUNTIME_COUNT; i++)
		any = any || c->wanted[i];
	if (!any || optind < argc) {
		(void)usage(stderr, EXIT_FAILURE);
		return false;
	}
	if (!is_agent(c->rtc.agent)) {
		fprintf(stderr,
			"kraken runtime-config: --agent %s: expected "
			"host:port\n",
			c->rtc.agent);
		return false;
	}
	c->any_upstream = c->rtc.upstream_count == 0;
	return !c->any_upstream || add_upstream(&c->rtc, "docker.io");
}

int kr_runtime_config_main(int argc, char **argv)
{
	struct command c = { .rtc = { .action = KR_RTC_SHOW,
				      .agent = "127.0.0.1:16000",
				      .root = "" } };
	int status;

	if (!parse(argc, argv, &c, &status))
		return status;
	status = EXIT_SUCCESS;
	for (int i = 0; i < RUNTIME_COUNT; i++) {
		if (c.wanted[i] &&
		    change_runtime(&c, (enum runtime)i) != EXIT_SUCCESS)
			status = EXIT_FAILURE;
	}
	return status;
}
