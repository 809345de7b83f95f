// SPDX-License-Identifier: MIT
/*
 * test_config.c - the configuration: every key, every refusal with its place, the sample.
 */
#include <check.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../broker/config.h"

static char dir[] = "/tmp/test_config.XXXXXX";
static char path[64];
static struct config cfg;
static char err[512];

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a.conf", dir);
	config_default(&cfg);
	err[0] = '\0';
}

static void teardown(void)
{
	unlink(path);
	rmdir(dir);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
}

/* Load @text over the defaults. */
static int load(const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
	config_default(&cfg);
	return config_load(&cfg, path, err, sizeof(err));
}

/* Loading @text fails with "PATH:LINE: " and then @want. */
static void refuse(const char *text, unsigned int line, const char *want)
{
	char full[600];

	snprintf(full, sizeof(full), "%s:%u: %s", path, line, want);
	ck_assert_int_eq(load(text), -EINVAL);
	ck_assert_str_eq(err, full);
}

START_TEST(defaults)
{
	const char *run = "/run/user/1234";

	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), 0);
	ck_assert_str_eq(cfg.metrics_addr, "127.0.0.1:9437");
	ck_assert_uint_eq(cfg.cpu_bps, 10000000000ull);
	ck_assert_uint_eq(cfg.max_connections, 1024);
	ck_assert_uint_eq(cfg.max_regions, 256);
	ck_assert_uint_eq(cfg.max_queues, 64);
	ck_assert_uint_eq(cfg.max_entries, 32768);
	ck_assert_uint_eq(cfg.max_region_bytes, 64ull << 30);
	ck_assert_uint_eq(cfg.caps.region_bytes, 1024ull << 30);
	ck_assert_uint_eq(cfg.soft.time_scale, 1);
	ck_assert_int_ge(config_policy_index(cfg.policy), 0);
	ck_assert_int_eq(config_policy_index("nonesuch"), -ENOENT);
	if (!geteuid()) {
		ck_assert_str_eq(cfg.control, "/run/accelmux/control.sock");
		ck_assert_int_eq(seteuid(65534), 0);
	}
	setenv("XDG_RUNTIME_DIR", run, 1);
	config_default(&cfg);
	ck_assert_str_eq(cfg.socket, "/run/user/1234/accelmux/accelmux.sock");
	unsetenv("XDG_RUNTIME_DIR");
	config_default(&cfg);
	ck_assert_int_eq(strncmp(cfg.control, "/tmp/accelmux-", 14), 0);
	/* So long that a socket there has no address. */
	setenv("XDG_RUNTIME_DIR",
	       "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	       "a"
	       "aaaaaaaaaaaaaaaaaaaa",
	       1);
	config_default(&cfg);
	ck_assert_int_eq(strncmp(cfg.control, "/tmp/accelmux-", 14), 0);
	if (!getuid())
		ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(dsa_keys)
{
	ck_assert_uint_eq(cfg.engine, CONFIG_SOFT);
	ck_assert_uint_eq(config_time_scale(&cfg), 1);
	ck_assert_int_eq(load("[dsa]\n"
			      "submit = movdir64b\n"
			      "prefault = off\n"
			      "timeout = 20ms\n"
			      "time_scale = 1000\n"
			      "desc_time = 90ns\n"
			      "engine_rate = 20G\n"
			      "fabric_rate = 25G\n"),
			 0);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), 0);
	ck_assert_uint_eq(cfg.dsa.submit, DSA_MOVDIR64B);
	ck_assert(!cfg.dsa.prefault);
	ck_assert_uint_eq(cfg.dsa.timeout_ns, 20000000);
	ck_assert_uint_eq(cfg.dsa.desc_ns, 90);
	ck_assert_uint_eq(cfg.dsa.engine_bps, 20000000000ull);
	ck_assert_uint_eq(cfg.dsa.fabric_bps, 25000000000ull);
	/* it says nothing about software engines */
	ck_assert(!config_modelled(&cfg));
	ck_assert_uint_eq(config_time_scale(&cfg), 1);
	cfg.engine = CONFIG_DSA;
	ck_assert(config_modelled(&cfg));
	ck_assert_uint_eq(config_time_scale(&cfg), 1000);
	refuse("[broker]\nengine = iax\n", 2,
	       "[broker] engine = 'iax': expected one of: soft, dsa, fault:SPEC");
	refuse("[broker]\nengine = fault\n", 2,
	       "[broker] engine = 'fault': expected one of: soft, dsa, fault:SPEC");
	refuse("[broker]\nengine = fault:lose=7\n", 2,
	       "[broker] engine = 'fault:lose=7': lose = '7': expected a probability, such as "
	       "1% or 0.01");
	config_default(&cfg);
	ck_assert_int_eq(load("[broker]\nengine = fault:seed=5,lose=1%\n"
			      "kernel = replay:/x\n"),
			 0);
	ck_assert_uint_eq(cfg.engine, CONFIG_FAULT);
	ck_assert_uint_eq(cfg.fault.n_rules, 1);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "kernel = 'replay:/x' with engine = fault"));
	refuse("[dsa]\nsubmit = mmap\n", 2,
	       "[dsa] submit = 'mmap': expected one of: auto, movdir64b, enqcmd, write");
	refuse("[dsa]\ntimeout = 1us\n", 2, "[dsa] timeout = '1us': expected 1ms to 3600s");
}
END_TEST

START_TEST(every_kind)
{
	char kernel[600];

	ck_assert_int_eq(load("; comment\n"
			      "# comment\n"
			      "[broker]\n"
			      "socket = /x/s\n"
			      "  control=/x/c ; said inline\n"
			      "metrics = [::1]:9000\n"
			      "policy = partitioned\n"
			      "kernel = replay:t.trace\n"
			      "replay_loop = yes\n"
			      "epoch = 2ms\n"
			      "spin = 0us\n"
			      "cpu_rate = 8G\n"
			      "max_entries = 64\n"
			      "max_region_size = 2M\n"
			      "max_tenant_memory = 4G\n"
			      "[soft]\n"
			      "devices = 2\n"
			      "engines = 3\n"
			      "user_wq_size = 32\n"
			      "kernel_priority = 9\n"
			      "max_xfer = 1M\n"
			      "desc_time = 90ns\n"
			      "fabric_rate = 20G\n"
			      "[tenant web.1]\n"
			      "uid = root\n"
			      "gid = 0\n"
			      "cgroup = /system.slice\n"
			      "name = loader\n"
			      "weight = 7\n"
			      "reserve = 5M\n"
			      "limit = 1G\n"
			      "[tenant b]\n"
			      "uid = 4000000000\n"
			      "limit = none\n"),
			 0);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), 0);
	ck_assert_str_eq(cfg.socket, "/x/s");
	ck_assert_str_eq(cfg.control, "/x/c");
	ck_assert_str_eq(cfg.metrics_addr, "[::1]:9000");
	ck_assert_str_eq(cfg.policy, "partitioned");
	snprintf(kernel, sizeof(kernel), "replay:%s/t.trace", dir);
	ck_assert_str_eq(cfg.kernel, kernel);
	ck_assert(cfg.replay_loop && !cfg.replay_verify);
	ck_assert_uint_eq(cfg.epoch_ns, 2000000);
	ck_assert_uint_eq(cfg.spin_ns, 0);
	ck_assert_uint_eq(cfg.cpu_bps, 8000000000ull);
	ck_assert_uint_eq(cfg.max_entries, 64);
	ck_assert_uint_eq(cfg.max_region_bytes, 2 << 20);
	ck_assert_uint_eq(cfg.caps.region_bytes, 4ull << 30);
	ck_assert_uint_eq(cfg.devices, 2);
	ck_assert_uint_eq(cfg.soft.engines, 3);
	ck_assert_uint_eq(cfg.soft.wq_size[ENGINE_WQ_USER], 32);
	ck_assert_uint_eq(cfg.soft.wq_priority[ENGINE_WQ_KERNEL], 9);
	ck_assert_uint_eq(cfg.soft.max_xfer, 1 << 20);
	ck_assert_uint_eq(cfg.soft.desc_ns, 90);
	ck_assert_uint_eq(cfg.soft.fabric_bps, 20000000000ull);
	ck_assert_uint_eq(cfg.n_tenants, 2);
	ck_assert_str_eq(cfg.tenants[0].name, "web.1");
	ck_assert(cfg.tenants[0].match_uid && cfg.tenants[0].match_gid &&
		  cfg.tenants[0].match_name);
	ck_assert_uint_eq(cfg.tenants[0].uid, 0);
	ck_assert_str_eq(cfg.tenants[0].client, "loader");
	ck_assert_str_eq(cfg.tenants[0].cgroup, "/system.slice");
	ck_assert_uint_eq(cfg.tenants[0].weight, 7);
	ck_assert_uint_eq(cfg.tenants[0].reserve_bps, 5000000);
	ck_assert_uint_eq(cfg.tenants[0].limit_bps, 1000000000);
	ck_assert_uint_eq(cfg.tenants[1].uid, 4000000000u);
	ck_assert_uint_eq(cfg.tenants[1].weight, 1);
	ck_assert_uint_eq(cfg.tenants[1].limit_bps, AMUX_BPS_MAX);
}
END_TEST

START_TEST(time_scale)
{
	ck_assert_int_eq(load("[soft]\nmodel = on\n"), 0);
	ck_assert_uint_eq(cfg.soft.time_scale, CONFIG_MODEL_TIME_SCALE);
	ck_assert_int_eq(load("[soft]\ntime_scale = 7\nmodel = on\n"), 0);
	ck_assert_uint_eq(cfg.soft.time_scale, 7);
	ck_assert_int_eq(load("[soft]\nmodel = on\ntime_scale = 1000\n"), 0);
	ck_assert_uint_eq(cfg.soft.time_scale, 1000);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), 0);
	ck_assert_int_eq(config_override(&cfg, "soft.model=off", err, sizeof(err)), 0);
	ck_assert_uint_eq(cfg.soft.time_scale, 1);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "time_scale"));
	ck_assert_ptr_nonnull(strstr(err, "model"));
	ck_assert_int_eq(load("[soft]\ntime_scale = 1\n"), 0);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), -EINVAL);
}
END_TEST

START_TEST(refusals)
{
	refuse("[broker]\nepoch = 1q\n", 2,
	       "[broker] epoch = '1q': expected a time, such as 500ns, 20us, 10ms or 1s");
	refuse("\n\n[soft]\nengines = 9\n", 4, "[soft] engines = '9': expected 1 to 8");
	refuse("[soft]\nengines = 1\n;\nengines = 2\n", 4,
	       "[soft] engines: given already on line 2");
	/* Indented: a key of its own, not a continuation of the one above. */
	refuse("[soft]\nengines = 1\n  model = perhaps\n", 3,
	       "[soft] model = 'perhaps': expected on or off");
	refuse("[soft]\nnonsense\nengines = 99\n", 2, "expected [section] or key = value");
	refuse("[soft]\nengines = 99\nnonsense\n", 2, "[soft] engines = '99': expected 1 to 8");
	refuse("[soft\nengines = 1\n", 1, "expected [section] or key = value");
	refuse("[soft] engines = 1\n", 1, "expected nothing after ']'");
	refuse("engines = 1\n", 1, "engines: expected a [section] before the first key");
	refuse("[sotf]\n", 1,
	       "[sotf]: expected one of: [broker], [soft], [dsa], [policy NAME], "
	       "[tenant NAME]");
	refuse("[tenant a b]\n", 1,
	       "[tenant a b]: expected a name of 1 to 31 letters, digits, '_', '.' or '-'");
	refuse("[tenant a]\nshare = 1\n", 2,
	       "[tenant a] share: unknown key, expected one of: uid, gid, cgroup, name, "
	       "weight, "
	       "reserve, limit, "
	       "max_connections, max_regions, max_memory, max_queues, max_queue_memory, "
	       "max_faults, max_requests");
	refuse("[tenant a]\nuid = no such user\n", 2,
	       "[tenant a] uid = 'no such user': expected the number or name of a user of this "
	       "host");
	refuse("[tenant a]\ngid = 99999999999\n", 2,
	       "[tenant a] gid = '99999999999': expected the number or name of a group of this "
	       "host");
	refuse("[tenant a]\nweight = 0\n", 2, "[tenant a] weight = '0': expected 1 to 100");
	refuse("[tenant a]\nlimit = 1\n", 2,
	       "[tenant a] limit = '1': expected 1K to 1000G, or none");
	refuse("[broker]\nkernel = device:accelmux\n", 2,
	       "[broker] kernel = 'device:accelmux': expected device:/dev/accelmux, a whole "
	       "path");
	refuse("[broker]\nkernel = replay:\n", 2,
	       "[broker] kernel = 'replay:': expected none, device:/dev/accelmux or "
	       "replay:FILE");
	refuse("[broker]\nsocket = a\n", 2, "[broker] socket = 'a': expected an absolute path");
	refuse("[broker]\nmetrics = localhost:1\n", 2,
	       "[broker] metrics = 'localhost:1': expected off or a numeric ADDR:PORT, such as "
	       "127.0.0.1:9437 or [::1]:9437");
	refuse("[broker]\ncontrol = \n", 2, "[broker] control = '': expected an absolute path");
	ck_assert_int_eq(load("[broker]\nbogus = 1\n"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "a.conf:2: [broker] bogus: unknown key"));
	ck_assert_ptr_nonnull(strstr(err, "max_tenant_memory"));
	ck_assert_int_eq(load("[broker]\npolicy = best\n"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "[broker] policy = 'best': expected one of: "));
	ck_assert_ptr_nonnull(strstr(err, "partitioned"));
	ck_assert_int_eq(load("[policy best]\n"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "a.conf:1: "));
	ck_assert_int_eq(load("\n[policy dynamic]\nnosuch = 1\n"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "a.conf:3: "));
	ck_assert_ptr_nonnull(strstr(err, "nosuch"));
	/* What is quoted never makes a second line. */
	ck_assert_int_eq(load("[broker]\nsocket = a\x1b[2Jb\n"), -EINVAL);
	ck_assert_ptr_null(strchr(err, '\x1b'));
}
END_TEST

/* A policy that is not built in: by path, beside the file, by name; and its parameters. */
START_TEST(plugins)
{
	const struct policy_setting *set;
	char text[512], want[256];
	unsigned int n;
	FILE *f;

	snprintf(want, sizeof(want), "%s/night.so", dir);
	ck_assert_int_eq(load("[broker]\npolicy = ./night.so\n"), 0);
	ck_assert(cfg.policy[0] == '/' && strstr(cfg.policy, "/./night.so"));
	ck_assert_int_eq(config_policy_index(cfg.policy), -ENOENT);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "night.so: cannot open: No such file"));
	snprintf(text, sizeof(text), "[broker]\npolicy_dir = %s\npolicy = night\n", dir);
	ck_assert_int_eq(load(text), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "'night': expected one of: "));
	f = fopen(want, "w");
	ck_assert_ptr_nonnull(f);
	fclose(f);
	strcat(text, "[policy night]\nafter = 5s\nafter2 = x\n");
	ck_assert_int_eq(chmod(want, 0644), 0);
	ck_assert_msg(!load(text), "%s", err);
	ck_assert_str_eq(cfg.policy, want);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), 0);
	set = config_plugin_settings(&cfg, "/elsewhere/night.so", &n);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(set[0].key, "after");
	ck_assert_str_eq(set[0].value, "5s");
	config_plugin_settings(&cfg, "/elsewhere/day.so", &n);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(config_override(&cfg, "policy.night.after=6s", err, sizeof(err)), 0);
	ck_assert_str_eq(cfg.plugin_settings[0].value, "6s");
	ck_assert_uint_eq(cfg.n_plugin_settings, 2);
	ck_assert_int_eq(config_override(&cfg, "policy.day.after=6s", err, sizeof(err)),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "[policy day]: expected [policy NAME]"));
	/* Others may write it. */
	ck_assert_int_eq(chmod(want, 0646), 0);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "has mode 0646"));
	/* Another policy has nothing of it. */
	ck_assert_int_eq(config_override(&cfg, "broker.policy=/x/day.so", err, sizeof(err)), 0);
	ck_assert_uint_eq(cfg.n_plugin_settings, 0);
	unlink(want);
}
END_TEST

START_TEST(files)
{
	char text[400] = "[broker]\nsocket = /";
	FILE *f;

	memset(text + strlen(text), 'a', 300);
	ck_assert_int_eq(load(text), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "a.conf:2: expected lines"));
	ck_assert_int_eq(load("\xef\xbb\xbf[broker]\r\nepoch = 3ms\r\n"), 0);
	ck_assert_uint_eq(cfg.epoch_ns, 3000000);
	ck_assert_int_eq(load(""), 0);
	f = fopen(path, "w");
	fwrite("[broker]\n\0epoch=1ms\n", 1, 20, f);
	fclose(f);
	ck_assert_int_eq(config_load(&cfg, path, err, sizeof(err)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "a.conf:2: expected lines of text"));
	ck_assert_int_eq(config_load(&cfg, dir, err, sizeof(err)), -EISDIR);
	ck_assert_ptr_nonnull(strstr(err, dir));
	ck_assert_int_eq(config_load(&cfg, "/nonexistent/x", err, sizeof(err)), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err, "/nonexistent/x: cannot open"));
}
END_TEST

START_TEST(checks)
{
	ck_assert_int_eq(load("[tenant a]\nweight = 2\n"), 0);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "[tenant a]: expected at least one of uid"));
	ck_assert_int_eq(load("[tenant a]\nuid = 1\nreserve = 2G\nlimit = 1G\n"), 0);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), -EINVAL);
	ck_assert_str_eq(err, "[tenant a] reserve = 2G: expected at most limit = 1G");
	ck_assert_int_eq(load("[broker]\nsocket = /a\ncontrol = /a\n"), 0);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), -EINVAL);
	ck_assert_int_eq(load("[broker]\nengine = dsa\n[soft]\nmodel = on\n"), 0);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), -EINVAL);
	ck_assert_str_eq(err, "[soft] model = on with [broker] engine = dsa: expected one of "
			      "them otherwise");
	ck_assert_int_eq(load("[broker]\nengine = dsa\nkernel = replay:/t\n"), 0);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), -EINVAL);
	ck_assert_str_eq(err,
			 "[broker] kernel = 'replay:/t' with engine = dsa: expected none or "
			 "device:/dev/accelmux (the kernel WQs are the kernel's)");
	ck_assert_int_eq(load("[broker]\nown_core = on\n[soft]\nmodel = on\n"), 0);
	ck_assert_int_eq(config_check(&cfg, err, sizeof(err)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "own_core"));
}
END_TEST

START_TEST(overrides)
{
	static const char *const bad[] = {
		"",
		"x",
		"=",
		"policy=cpu",
		"broker.=1",
		".=",
		"broker.policy",
		"soft.engines=0",
		"tenant.=1",
		"nosuch.key=1",
		"policy.no.x=1",
		"broker.epoch=",
		"tenant.a b.weight=1",
	};

	ck_assert_int_eq(config_override(&cfg, "broker.policy=cpu", err, sizeof(err)), 0);
	ck_assert_str_eq(cfg.policy, "cpu");
	ck_assert_int_eq(config_override(&cfg, "tenant.x.y.weight=3", err, sizeof(err)), 0);
	ck_assert_str_eq(cfg.tenants[0].name, "x.y");
	ck_assert_uint_eq(cfg.tenants[0].weight, 3);
	/* A relative path stays relative to the working directory. */
	ck_assert_int_eq(config_override(&cfg, "broker.kernel=replay:a=b.c", err, sizeof(err)),
			 0);
	ck_assert_str_eq(cfg.kernel, "replay:a=b.c");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err[0] = '\0';
		ck_assert_int_eq(config_override(&cfg, bad[i], err, sizeof(err)), -EINVAL);
		ck_assert_ptr_nonnull(strstr(err, bad[i]));
	}
}
END_TEST

START_TEST(policies)
{
	const struct amux_policy_ops *ops;
	char text[128], want[48];
	unsigned int tried = 0;

	for (unsigned int i = 0; amux_policies[i]; i++) {
		ops = amux_policies[i];
		ck_assert_uint_lt(i, CONFIG_POLICIES);
		for (unsigned int p = 0; p < ops->n_params; p++) {
			param_format(ops->params[p].max, ops->params[p].unit, want,
				     sizeof(want));
			snprintf(text, sizeof(text), "[policy %s]\n%s = %s\n", ops->name,
				 ops->params[p].name, want);
			ck_assert_msg(!load(text), "%s", err);
			ck_assert_uint_eq(cfg.policy_values[i][p], ops->params[p].max);
			tried++;
		}
	}
	ck_assert_uint_gt(tried, 0);
}
END_TEST

START_TEST(reload)
{
	static const struct {
		const char *text;
		bool ok;
		const char *names;
	} cases[] = {
		{ "[tenant a]\nuid = 1\n", true, "" },
		{ "[tenant a]\nuid = 1\nweight = 9\nreserve = 1M\nlimit = 2M\n", true, "" },
		{ "[tenant a]\nuid = 1\n[broker]\npolicy = cpu\nspin = 1ms\nepoch = 2ms\n",
		  true, "" },
		{ "[tenant a]\nuid = 1\n[broker]\nmax_queues = 1\nmax_tenant_memory = 1G\n",
		  true, "" },
		{ "[tenant a]\nuid = 2\n", false, "[tenant a] uid" },
		{ "[tenant a]\nuid = 1\nname = x\n", false, "[tenant a] name" },
		{ "[tenant b]\nuid = 1\n", false, "[tenant b]" },
		{ "", false, "[tenant a]" },
		{ "[tenant a]\nuid = 1\n[tenant c]\nuid = 3\n", false, "[tenant c]" },
		{ "[tenant a]\nuid = 1\n[broker]\nmetrics = off\n", false, "metrics" },
		{ "[tenant a]\nuid = 1\n[broker]\nkernel = replay:/x\n", false, "kernel" },
		{ "[tenant a]\nuid = 1\n[broker]\nsocket = /s\n", false, "socket" },
		{ "[tenant a]\nuid = 1\n[soft]\nengines = 1\n", false, "[soft] engines" },
		{ "[tenant a]\nuid = 1\n[soft]\nmodel = on\n", false, "[soft] model" },
		{ "[tenant a]\nuid = 1\n[broker]\nengine = dsa\n", false, "[broker] engine" },
		{ "[tenant a]\nuid = 1\n[dsa]\nsubmit = write\n", false, "[dsa] submit" },
		{ "[tenant a]\nuid = 1\n[dsa]\nprefault = off\n", true, "" },
	};
	struct config old;

	ck_assert_int_eq(load(cases[0].text), 0);
	old = cfg;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_msg(!load(cases[i].text), "%s", err);
		ck_assert_int_eq(config_reloadable(&old, &cfg, err, sizeof(err)),
				 cases[i].ok ? 0 : -EINVAL);
		if (!cases[i].ok)
			ck_assert_msg(strstr(err, cases[i].names) && strstr(err, "restart"),
				      "%s", err);
	}
	/* The same settings by another way: nothing left over from the longer text. */
	ck_assert_int_eq(load("[tenant a]\nuid = 1\n[broker]\nmetrics = off\n"), 0);
	ck_assert_int_eq(
		config_override(&cfg, "broker.metrics=127.0.0.1:9437", err, sizeof(err)), 0);
	ck_assert_int_eq(config_reloadable(&old, &cfg, err, sizeof(err)), 0);
}
END_TEST

START_TEST(addresses)
{
	static const char *const bad[] = { "",
					   ":1",
					   "1.2.3.4",
					   "1.2.3.4:",
					   "a:1",
					   "1.2.3.4:65536",
					   "1.2.3.4:99999999999",
					   "::1:80",
					   "[::1]",
					   "[]:1",
					   "1.2.3.4:-1",
					   "1.2.3.4:0x1" };
	struct sockaddr_storage ss;
	socklen_t len;

	ck_assert_int_eq(config_address("0.0.0.0:0", &ss, &len), 0);
	ck_assert_int_eq(ss.ss_family, AF_INET);
	ck_assert_int_eq(config_address("[::]:65535", &ss, &len), 0);
	ck_assert_int_eq(ss.ss_family, AF_INET6);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(config_address(bad[i], &ss, &len) == -EINVAL, "%s", bad[i]);
}
END_TEST

/* The sample, with every "#key = value" taken at its word, is the defaults; and the manual
 * knows every key that it has. */
START_TEST(sample)
{
	char text[16384] = "", line[256], manual[65536], key[64];
	struct config want;
	bool policy = false; /* those keys are in docs/policies.md */
	unsigned int n = 0;
	size_t got;
	FILE *f = fopen("docs/config.md", "r");

	ck_assert_msg(f != NULL, "docs/config.md: run from the top of the tree");
	got = fread(manual, 1, sizeof(manual) - 1, f);
	manual[got] = '\0';
	fclose(f);
	f = fopen("docs/accelmux.conf", "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		char *from = line;

		/* "#key = value" and "#[section]" are settings, "# words" are words. */
		if (line[0] == '#' && line[1] != ' ' && line[1] != '\n')
			from++;
		if (from[0] == '[')
			policy = !strncmp(from, "[policy ", 8);
		if (!policy && sscanf(from, "%63[a-z_] =", key) == 1 && strchr(from, '=')) {
			char cell[80];

			snprintf(cell, sizeof(cell), "`%s`", key);
			ck_assert_msg(strstr(manual, cell) != NULL, "docs/config.md lacks %s",
				      cell);
			n++;
		}
		ck_assert_uint_lt(strlen(text) + strlen(from), sizeof(text));
		strcat(text, from);
	}
	fclose(f);
	ck_assert_uint_gt(n, 30);
	ck_assert_msg(!load(text), "%s", err);
	/* The example tenant apart. */
	ck_assert_uint_eq(cfg.n_tenants, 1);
	cfg.n_tenants = 0;
	memset(cfg.tenants, 0, sizeof(cfg.tenants));
	config_default(&want);
	strcpy(want.socket, "/run/accelmux/accelmux.sock");
	strcpy(want.control, "/run/accelmux/control.sock");
	ck_assert_int_eq(config_reloadable(&want, &cfg, err, sizeof(err)), 0);
	ck_assert_str_eq(want.policy, cfg.policy);
	ck_assert_mem_eq(want.policy_values, cfg.policy_values, sizeof(want.policy_values));
	ck_assert_uint_eq(want.epoch_ns, cfg.epoch_ns);
	ck_assert_uint_eq(want.spin_ns, cfg.spin_ns);
	ck_assert_uint_eq(want.max_connections, cfg.max_connections);
	ck_assert_uint_eq(want.max_regions, cfg.max_regions);
	ck_assert_uint_eq(want.max_queues, cfg.max_queues);
	ck_assert_uint_eq(want.max_entries, cfg.max_entries);
	ck_assert_uint_eq(want.max_region_bytes, cfg.max_region_bytes);
	ck_assert_uint_eq(want.connect_rate, cfg.connect_rate);
	ck_assert_mem_eq(&want.caps, &cfg.caps, sizeof(want.caps));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("config");
	TCase *t = tcase_create("config");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, defaults);
	tcase_add_test(t, dsa_keys);
	tcase_add_test(t, every_kind);
	tcase_add_test(t, time_scale);
	tcase_add_test(t, refusals);
	tcase_add_test(t, plugins);
	tcase_add_test(t, files);
	tcase_add_test(t, checks);
	tcase_add_test(t, overrides);
	tcase_add_test(t, policies);
	tcase_add_test(t, reload);
	tcase_add_test(t, addresses);
	tcase_add_test(t, sample);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
