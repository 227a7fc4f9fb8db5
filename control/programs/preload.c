#define _GNU_SOURCE
#include "control/programs/preload.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>

#include "core/clock.h"
#include "core/list.h"
#include "core/log.h"
#include "registry_api/registry.h"

enum { ANSWER_MAX = 65536, IMAGE_MAX = 600, POLL_MS = 50 };

extern char **environ;

struct work {
	struct kr_desk_job job;
	struct kr_preload *p;
	bool answered; /* job is no more */
	enum kr_reg_runtime runtime;
	char tag[KR_TAG_MAX + 1];
	char ns[KR_REPO_MAX + 1];
	struct kr_post post;
	pthread_t thread;
	char image[IMAGE_MAX]; /* host:port/repo, without the tag */
	char answer[ANSWER_MAX];
	size_t answer_len;
	enum kr_err err;
	char text[200];
};

/* ---- docker -------------------------------------------------------------*/

/* Keeps the end of what docker says: there the outcome is. */
static size_t take_answer(char *bytes, size_t size, size_t count, void *ctx)
{
	struct work *w = ctx;
	size_t n = size * count;

	if (n > ANSWER_MAX - 1) {
		bytes += n - (ANSWER_MAX - 1);
		n = ANSWER_MAX - 1;
	}
	if (w->answer_len + n > ANSWER_MAX - 1) {
		const size_t drop = w->answer_len + n - (ANSWER_MAX - 1);

		memmove(w->answer, w->answer + drop, w->answer_len - drop);
		w->answer_len -= drop;
	}
	memcpy(w->answer + w->answer_len, bytes, n);
	w->answer_len += n;
	w->answer[w->answer_len] = '\0';
	return size * count;
}

static void fail(struct work *w, enum kr_err err, const char *what,
		 const char *why)
{
	w->err = err;
	(void)snprintf(w->text, sizeof(w->text), "%s: %.120s", what, why);
}

static int on_progress(void *ctx, curl_off_t down_total, curl_off_t down,
		       curl_off_t up_total, curl_off_t up)
{
	struct work *w = ctx;

	(void)down_total;
	(void)down;
	(void)up_total;
	(void)up;
	return atomic_load(&w->p->stop) ? 1 : 0; /* 1: end the transfer */
}

/* A stream of JSON objects; one that has "error" says why the pull failed. */
static void judge_docker(struct work *w, CURLcode rc, long status)
{
	const char *error = strstr(w->answer, "\"error\":\"");

	if (rc != CURLE_OK)
		fail(w, KR_E_UNAVAILABLE, "docker", curl_easy_strerror(rc));
	else if (status != 200)
		fail(w, KR_E_UNAVAILABLE, "docker pull", w->answer);
	else if (error != NULL)
		fail(w, KR_E_UNAVAILABLE, "docker pull", error + 9);
}

/* A repository and a tag need no escaping in a query but for the colon. */
static void pull_by_docker(struct work *w)
{
	static const char unix_scheme[] = "unix://";
	const char *host = w->p->docker_host;
	char url[IMAGE_MAX + KR_TAG_MAX + 200];
	CURL *curl = curl_easy_init();
	long status = 0;
	CURLcode rc;

	if (curl == NULL) {
		w->err = KR_E_NOMEM;
		return;
	}
	if (strncmp(host, unix_scheme, sizeof(unix_scheme) - 1) == 0) {
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH,
				 host + sizeof(unix_scheme) - 1);
		host = "http://localhost";
	}
	(void)snprintf(url, sizeof(url), "%s/images/create?fromImage=%s&tag=%s",
		       host, w->image, w->tag);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_POST, 1L);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
			 (long)(KR_PRELOAD_NS / 1000000));
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, w);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, w);
	rc = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	judge_docker(w, rc, status);
	curl_easy_cleanup(curl);
}

/* ---- containerd ---------------------------------------------------------*/

static void wait_child(struct work *w, pid_t pid)
{
	const uint64_t end_ns = kr_clock_mono_ns() + KR_PRELOAD_NS;
	int status = 0;
	pid_t got;

	while ((got = waitpid(pid, &status, WNOHANG)) == 0 ||
	       (got < 0 && errno == EINTR)) {
		if (kr_clock_mono_ns() > end_ns || atomic_load(&w->p->stop)) {
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, &status, 0);
			fail(w, KR_E_TIMEDOUT, "ctr images pull", "given up");
			return;
		}
		(void)usleep(POLL_MS * 1000);
	}
	if (got < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail(w, KR_E_UNAVAILABLE, "ctr images pull",
		     "it failed; see the log of containerd");
}

static void pull_by_containerd(struct work *w)
{
	char image[IMAGE_MAX + KR_TAG_MAX + 2], address[300], ns[300];
	char *const argv[] = { "ctr",  address,        ns,    "images",
			       "pull", "--plain-http", image, NULL };
	posix_spawn_file_actions_t quiet;
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid;
	int rc;

	(void)snprintf(image, sizeof(image), "%s:%s", w->image, w->tag);
	(void)snprintf(address, sizeof(address), "--address=%s",
		       w->p->containerd_address);
	(void)snprintf(ns, sizeof(ns), "--namespace=%s",
		       w->ns[0] != '\0' ? w->ns : "default");
	(void)posix_spawn_file_actions_init(&quiet);
	(void)posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", 1, 0);
	(void)posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", 1, 0);
	(void)posix_spawnattr_init(&attr); /* our threads block signals */
	(void)sigemptyset(&none);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	rc = posix_spawnp(&pid, "ctr", &quiet, &attr, argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&quiet);
	if (rc != 0)
		fail(w, KR_E_UNAVAILABLE, "ctr", strerror(rc));
	else
		wait_child(w, pid);
}

/* ---- its thread ---------------------------------------------------------*/

static void finished(struct kr_post *post)
{
	struct work *w = KR_CONTAINER_OF(post, struct work, post);

	(void)pthread_join(w->thread, NULL); /* it has nothing left to do */
	w->p->running--;
	kr_log_info("preload", "pulled by a runtime of this host",
		    KR_STR("image", w->image), KR_STR("tag", w->tag),
		    KR_ERR("result", w->err), KR_STR("text", w->text));
	if (!w->answered)
		kr_desk_end(&w->job, w->err, w->text);
	free(w);
}

static void cancel(struct kr_desk_job *job)
{
	struct work *w = KR_CONTAINER_OF(job, struct work, job);

	w->answered = true;
	kr_desk_end(&w->job, KR_E_CANCELED, NULL);
}

static void *run(void *arg)
{
	struct work *w = arg;

	if (w->runtime == KR_REG_DOCKER)
		pull_by_docker(w);
	else
		pull_by_containerd(w);
	kr_io_post(w->p->io, &w->post, finished);
	return NULL;
}

static enum kr_err start_thread(struct work *w)
{
	sigset_t all, old;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&w->thread, NULL, run, w);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc == 0 ? KR_OK : kr_err_from_errno(rc);
}

static void on_preload(void *ctx, struct kr_reg_call *call)
{
	struct kr_preload *p = ctx;
	struct work *w;

	if (p->running >= KR_PRELOADS_MAX) {
		kr_desk_refuse(call, KR_E_LIMIT, "too many preloads at once");
		return;
	}
	w = kr_desk_work(call, sizeof(*w), cancel);
	if (w == NULL)
		return;
	w->p = p;
	w->runtime = (enum kr_reg_runtime)call->runtime;
	memcpy(w->tag, call->tag, sizeof(w->tag));
	memcpy(w->ns, call->from_repo, sizeof(w->ns));
	(void)snprintf(w->image, sizeof(w->image), "%s:%u/%s", p->registry_ip,
		       (unsigned)p->registry_port, call->repo);
	p->running++;
	const enum kr_err err = start_thread(w);
	if (err != KR_OK) {
		p->running--;
		kr_desk_end(&w->job, err, "no thread for it");
		free(w);
	}
}

void kr_preload_close(struct kr_preload *p)
{
	atomic_store(&p->stop, true);
	while (p->running > 0)
		kr_io_turn(p->io);
}

void kr_preload_attach(struct kr_preload *p, struct kr_desk *desk)
{
	kr_desk_handle(desk, KR_REG_PRELOAD, on_preload, p);
}
