// SPDX-License-Identifier: MIT
/*
 * test_alloc.c - the 1st, 2nd, 3rd ... allocation fails, until the operation needs no more of
 * them: broker start, what the control thread does, a session seen from the broker, the library.
 * Whatever failed, the call says so, nothing is left behind (descriptors, threads, mappings;
 * memory by the leak sanitizer), and the next attempt succeeds.
 */
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <accelmux/accelmux.h>

#include "../../broker/broker.h"
#include "../../broker/broker_state.h"
#include "../../broker/metrics.h"
#include "../../broker/rpc.h"
#include "core_util.h"
#include "failing.h"

#define AT_MAX 400u /* no operation here makes so many */
#define WAIT_S 10
#define BUFFER 65536u

static char dir[64], trace[96], conf[96];
static struct config cfg;

/* ------------------------------------------------------------------------ setting */

static void file_make(char *path, size_t len, const char *name, const char *text)
{
	FILE *f;

	snprintf(path, len, "%s/%s", dir, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static void setup(void)
{
	char text[512];

	failing_init();
	strcpy(dir, "/tmp/amux-alloc-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	file_make(trace, sizeof(trace), "trace",
		  "accelmux-trace 1 synthetic\n0 compaction 32 0 4\n1000000 mbind 512 9 1\n");
	snprintf(text, sizeof(text),
		 "[broker]\nsocket = %s/socket\ncontrol = %s/control\nmetrics = 127.0.0.1:0\n"
		 "policy = partitioned\nown_core = on\nspin = 0ns\n[soft]\nengines = 2\n"
		 "[tenant a]\nuid = 4711\nweight = 2\n[tenant b]\ncgroup = /\n",
		 dir, dir);
	file_make(conf, sizeof(conf), "conf", text);
	config_default(&cfg);
	ck_assert_int_eq(config_load(&cfg, conf, text, sizeof(text)), 0);
}

static void teardown(void)
{
	static const char *const names[] = { "trace", "conf", "socket.lock" };
	char path[128];

	for (unsigned int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	ck_assert_int_eq(rmdir(dir), 0); /* nothing else was left there */
}

/* One line that says what is wrong. */
static void judge_error(int ret, const char *err)
{
	if (ret >= 0 || ret < -4095 || !err[0] || strchr(err, '\n'))
		ck_abort_msg("%s failed: %d, '%s'", failing.what, ret, err);
}

static void judge_holdings(const struct holdings *before, uint32_t at)
{
	struct holdings now;

	if (holdings_back(before))
		return;
	now = holdings();
	ck_abort_msg("call %u, %s, failed: %u fds, %u threads, %lld mappings; expected %u, "
		     "%u, %lld",
		     at, failing.what, now.fds, now.threads, (long long)now.maps, before->fds,
		     before->threads, (long long)before->maps);
}

/* -------------------------------------------------------------------- broker start */

/* Start and stop with the @at-th call failing; false once there are not so many. */
static bool start_failing(uint32_t at, bool after)
{
	struct holdings before = holdings();
	char err[512] = "";
	struct broker *b;
	uint32_t hits;
	int ret;

	failing_arm(FAILING_ALL, at, after);
	ret = broker_open(&b, &cfg, conf, err, sizeof(err));
	hits = failing_disarm();
	if (ret) {
		must(hits);
		judge_error(ret, err);
	} else {
		broker_stop(b);
		broker_run(b);
		broker_close(b);
	}
	judge_holdings(&before, at);
	must(access(cfg.socket, F_OK) && access(cfg.control, F_OK));
	return hits;
}

static void start_until(void)
{
	uint32_t n[2];

	start_failing(0, false); /* what is made once a process is made now */
	for (unsigned int after = 0; after < 2; after++) {
		for (n[after] = 1; start_failing(n[after], after); n[after]++)
			must(n[after] < AT_MAX);
		must(n[after] > 20); /* it does allocate */
	}
}

START_TEST(test_start)
{
	start_until();
}
END_TEST

START_TEST(test_start_replay)
{
	snprintf(cfg.kernel, sizeof(cfg.kernel), "replay:%s", trace);
	cfg.soft.threads = 2;
	start_until();
}
END_TEST

START_TEST(test_start_model)
{
	cfg.own_core = false;
	cfg.soft.model = true;
	cfg.soft.time_scale = 100;
	cfg.devices = 2;
	start_until();
}
END_TEST

/* May at most @n more descriptors be opened than now? */
static void descriptors(const struct rlimit *was, unsigned int n)
{
	struct rlimit now = *was;
	int next = dup(0);

	must(next >= 0);
	close(next);
	now.rlim_cur = (rlim_t)next + n;
	must(!setrlimit(RLIMIT_NOFILE, &now));
}

/*
 * Also where the libraries open them.  Not the first few: uv_loop_init() leaves its epoll
 * descriptor behind when it can have no pipe.
 */
START_TEST(test_start_descriptors)
{
	struct rlimit was;
	struct holdings before;
	struct broker *b;
	char err[512];
	int ret = -1;

	start_failing(0, false);
	must(!getrlimit(RLIMIT_NOFILE, &was));
	for (unsigned int n = 8; ret; n++) {
		must(n < AT_MAX);
		before = holdings();
		err[0] = '\0';
		descriptors(&was, n);
		ret = broker_open(&b, &cfg, NULL, err, sizeof(err));
		must(!setrlimit(RLIMIT_NOFILE, &was));
		if (ret)
			judge_error(ret, err);
		else
			broker_close(b);
		judge_holdings(&before, n);
	}
}
END_TEST

/* ---------------------------------------------------------------- the control thread */

static const char *const requests[] = {
	"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"status\"}",
	"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"devices\"}",
	"[{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"tenants\"},"
	" {\"jsonrpc\": \"2.0\", \"id\": 2, \"method\": \"policy.list\"}]",
	"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"policy.set\","
	" \"params\": {\"name\": \"dynamic\", \"params\": {\"chunk\": \"64K\"}}}",
	"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"none\"}",
};

/* An answer, an error in its place, or none at all, but never half of one. */
static bool rpc_failing(struct broker *b, const char *text, uint32_t at, bool after)
{
	char *answer;
	uint32_t hits;
	json_t *parsed;

	failing_arm(FAILING_ALL, at, after);
	answer = rpc_answer(b, text, strlen(text), NULL);
	hits = failing_disarm();
	must(answer || hits);
	if (answer) {
		parsed = json_loads(answer, 0, NULL);
		if (!parsed)
			ck_abort_msg("%s failed: %s", failing.what, answer);
		json_decref(parsed);
		free(answer);
	}
	return hits;
}

static bool metrics_failing(struct broker *b, uint32_t at, bool after)
{
	struct metrics *m = NULL;
	char *text = NULL;
	uint32_t hits;
	size_t len;

	failing_arm(FAILING_ALL, at, after);
	if (!metrics_open(&m)) {
		text = metrics_text(m, b, &len);
		must(!text || strlen(text) == len);
	}
	hits = failing_disarm();
	must(text || hits);
	free(text);
	if (m)
		metrics_close(m);
	return hits;
}

static bool reload_failing(struct broker *b, uint32_t at, bool after)
{
	char err[512] = "";
	uint32_t hits;
	int ret;

	failing_arm(FAILING_ALL, at, after);
	ret = broker_reload(b, err, sizeof(err));
	hits = failing_disarm();
	if (ret)
		judge_error(ret, err);
	must(!ret || hits);
	return hits;
}

START_TEST(test_control)
{
	struct broker *b;
	char err[512];
	uint32_t at;

	must(!broker_open(&b, &cfg, conf, err, sizeof(err)));
	for (unsigned int after = 0; after < 2; after++) {
		for (unsigned int i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
			for (at = 1; rpc_failing(b, requests[i], at, after); at++)
				must(at < 10 * AT_MAX);
		for (at = 1; metrics_failing(b, at, after); at++)
			must(at < AT_MAX);
		must(at > 3);
		for (at = 1; reload_failing(b, at, after); at++)
			must(at < AT_MAX);
		must(at > 3);
	}
	broker_stop(b);
	broker_run(b);
	broker_close(b);
}
END_TEST

/* --------------------------------------------------------------------- a session */

static struct broker *served;

static void *serve(void *arg)
{
	(void)arg;
	broker_run(served);
	return NULL;
}

/* A broker that runs on a thread of its own; this one is the client's. */
static void serve_start(pthread_t *thread)
{
	char err[512];

	strcpy(cfg.metrics_addr, "");
	cfg.max_queues =
		3; /* session() has as many, amux_copy()'s included: none may be lost */
	must(!broker_open(&served, &cfg, NULL, err, sizeof(err)));
	must(!pthread_create(thread, NULL, serve, NULL));
	failing_me = FAILING_CLIENT;
}

static void serve_stop(pthread_t thread)
{
	broker_stop(served);
	pthread_join(thread, NULL);
	failing_me = FAILING_BROKER;
	broker_close(served);
}

/*
 * step(): @call and, if it failed because something did, once more: the handle is as good as
 * before.  All in one place, so that every call of the library is judged alike.
 */
static bool retry;

static int again(int ret)
{
	if (ret >= 0)
		return 0;
	must(ret > -4096);
	return failing_disarm() && retry;
}

#define STEP(call)                                                                        \
	({                                                                                \
		int step_ret = (call);                                                    \
                                                                                          \
		if (again(step_ret)) {                                                    \
			step_ret = (call);                                                \
			if (step_ret < 0)                                                 \
				ck_abort_msg("%s failed, then %s: %d (%s)", failing.what, \
					     #call, step_ret, amux_error());              \
		}                                                                         \
		step_ret;                                                                 \
	})

static int copy_one(struct amux *a, struct amux_queue *q, char *buf)
{
	static const struct timespec wait = { .tv_sec = WAIT_S };
	struct amux_cqe cqe;
	struct amux_sqe *sqe;
	int ret = STEP(amux_eventfd(q));

	if (ret < 0)
		return ret;
	memset(buf, 1, BUFFER / 2);
	memset(buf + BUFFER / 2, 2, BUFFER / 2);
	sqe = amux_get_sqe(q);
	must(sqe && !amux_prep_copy(a, sqe, buf + BUFFER / 2, buf, BUFFER / 2));
	must(amux_submit(q) == 1);
	ret = amux_wait(q, &cqe, 1, 1, &wait);
	if (ret != 1 || cqe.status)
		ck_abort_msg("%s failed, then a copy: %d, status %d", failing.what, ret,
			     ret == 1 ? cqe.status : 0);
	must(!memcmp(buf, buf + BUFFER / 2, BUFFER / 2));
	memset(buf, 3, BUFFER / 2);
	must(!amux_copy(a, buf + BUFFER / 2, buf, BUFFER / 2));
	must(!memcmp(buf, buf + BUFFER / 2, BUFFER / 2));
	return 0;
}

static int register_one(struct amux *a)
{
	int fd = memfd_create("own", MFD_ALLOW_SEALING), ret;
	void *p;

	if (fd < 0)
		return -errno;
	must(!ftruncate(fd, 4096) && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ret = -ENOMEM;
	if (p != MAP_FAILED) {
		ret = STEP(amux_register(a, fd, p, 4096));
		if (!ret)
			ret = STEP(amux_unregister(a, p));
		munmap(p, 4096);
	}
	close(fd);
	return ret;
}

/* Everything that a client does, to the first call that fails for good. */
static int session(void)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct amux_queue *q, *second;
	struct amux *a = NULL;
	void *buf;
	int ret;

	opt.socket = cfg.socket;
	ret = STEP(amux_connect(&a, &opt));
	must(!ret == !!a);
	must(!a || !strcmp(amux_tenant(a), "b"));
	if (!ret)
		ret = STEP(amux_alloc(a, BUFFER, 0, &buf));
	if (!ret)
		ret = STEP(amux_queue_create(a, 8, &q));
	if (!ret)
		ret = copy_one(a, q, buf);
	if (!ret)
		ret = STEP(amux_queue_create(a, 64, &second));
	if (!ret)
		ret = amux_queue_destroy(q); /* the queue is gone, whatever it says */
	if (!ret)
		ret = register_one(a);
	if (!ret)
		ret = STEP(amux_free(a, buf));
	amux_close(a);
	return ret;
}

/* The session with the @at-th call of @who failing; false once there are not so many. */
static bool session_failing(enum failing_who who, uint32_t at, bool after)
{
	struct holdings before = holdings();
	uint32_t hits;
	int ret;

	retry = !after;
	failing_arm(who, at, after);
	ret = session();
	hits = failing_disarm();
	must(!ret || hits);
	judge_holdings(&before, at);
	ret = session();
	if (ret)
		ck_abort_msg("call %u, %s, failed, and no session later: %d (%s)", at,
			     failing.what, ret, amux_error());
	judge_holdings(&before, at);
	return hits;
}

static void session_until(enum failing_who who)
{
	pthread_t thread;
	uint32_t at;

	serve_start(&thread);
	session_failing(who, 0, false);
	for (unsigned int after = 0; after < 2; after++) {
		for (at = 1; session_failing(who, at, after); at++)
			must(at < AT_MAX);
		must(at > 10);
	}
	serve_stop(thread);
}

START_TEST(test_session_broker)
{
	session_until(FAILING_BROKER);
}
END_TEST

START_TEST(test_session_client)
{
	session_until(FAILING_CLIENT);
}
END_TEST

/* Nobody in the process can open another descriptor: broker and client share the limit. */
START_TEST(test_session_descriptors)
{
	struct rlimit was;
	struct holdings before;
	pthread_t thread;
	int ret = -1;

	serve_start(&thread);
	before = holdings();
	must(!session());
	judge_holdings(&before, 0);
	must(!getrlimit(RLIMIT_NOFILE, &was));
	retry = false;
	for (unsigned int n = 0; ret; n++) {
		must(n < AT_MAX);
		descriptors(&was, n);
		ret = session();
		must(!setrlimit(RLIMIT_NOFILE, &was));
		judge_holdings(&before, n);
		must(!session());
		judge_holdings(&before, n);
	}
	serve_stop(thread);
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("alloc");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_start);
	tcase_add_test(t, test_start_replay);
	tcase_add_test(t, test_start_model);
	tcase_add_test(t, test_start_descriptors);
	tcase_add_test(t, test_control);
	tcase_add_test(t, test_session_broker);
	tcase_add_test(t, test_session_client);
	tcase_add_test(t, test_session_descriptors);
	return run_case(t, "alloc", 120);
}
