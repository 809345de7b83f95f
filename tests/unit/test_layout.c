// SPDX-License-Identifier: MIT
/*
 * test_layout.c - the static layout as a plan, as accel-config's JSON, as a record.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../broker/layout_json.h"
#include "../../broker/layout_record.h"

static struct idxd_host host, plan;
static char err[512];

/* A device that nobody has configured. */
static struct idxd_device *add(unsigned int id, unsigned int engines, unsigned int wqs,
			       unsigned int entries, bool pasid)
{
	struct idxd_device *dev = &host.device[host.n_devices++];

	*dev = (struct idxd_device){ .id = id,
				     .max_groups = 4,
				     .max_engines = engines,
				     .n_engines = engines,
				     .max_wqs = wqs,
				     .n_wqs = wqs,
				     .max_wq_size = entries,
				     .max_batch = 1024,
				     .max_xfer = 2ull << 30,
				     .configurable = true,
				     .pasid = pasid };
	snprintf(dev->name, sizeof(dev->name), "dsa%u", id);
	for (unsigned int i = 0; i < wqs; i++)
		dev->wq[i] = (struct idxd_wq){ .id = i, .group = -1, .shared = true };
	for (unsigned int i = 0; i < engines; i++)
		dev->engine_group[i] = -1;
	return dev;
}

static void reset(void)
{
	memset(&host, 0, sizeof(host));
	memset(&plan, 0, sizeof(plan));
	err[0] = '\0';
}

static int make(struct layout_options opt)
{
	return layout_plan(&host, &opt, &plan, err, sizeof(err));
}

static void is_wq(const struct idxd_device *dev, unsigned int id, enum idxd_type type,
		  int group, unsigned int size, unsigned int priority)
{
	const struct idxd_wq *wq = layout_wq(dev, id);

	ck_assert_ptr_nonnull(wq);
	ck_assert_int_eq(wq->type, type);
	ck_assert_int_eq(wq->group, group);
	ck_assert_uint_eq(wq->size, size);
	ck_assert_uint_eq(wq->priority, priority);
	ck_assert_int_eq(wq->enabled, size > 0);
}

START_TEST(plan_full)
{
	reset();
	add(0, 4, 8, 128, true);
	ck_assert_int_eq(make((struct layout_options){ 0 }), 0);
	ck_assert_uint_eq(plan.n_devices, 1);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_int_eq(plan.device[0].engine_group[i], (int)i);
		is_wq(&plan.device[0], i, IDXD_TYPE_KERNEL, (int)i, 16, 8);
		is_wq(&plan.device[0], 4 + i, IDXD_TYPE_USER, (int)i, 16, 4);
		ck_assert_str_eq(plan.device[0].wq[i].driver, "dmaengine");
		ck_assert_str_eq(plan.device[0].wq[4 + i].driver, "user");
		ck_assert_str_eq(plan.device[0].wq[4 + i].name, "accelmux");
		ck_assert(!plan.device[0].wq[4 + i].shared);
		ck_assert(!plan.device[0].wq[i].block_on_fault);
		ck_assert_uint_eq(plan.device[0].wq[i].max_xfer, 2 << 20);
	}
	ck_assert_int_eq(layout_check(&host, &plan, err, sizeof(err)), 0);
}
END_TEST

START_TEST(plan_options)
{
	reset();
	add(0, 4, 8, 128, true);
	ck_assert_int_eq(make((struct layout_options){ .user = LAYOUT_USER_SHARED }), 0);
	ck_assert(plan.device[0].wq[4].shared);
	ck_assert_uint_eq(plan.device[0].wq[4].threshold, 16);
	ck_assert(!plan.device[0].wq[0].shared);
	ck_assert_int_eq(make((struct layout_options){ .kernel_only = true }), 0);
	is_wq(&plan.device[0], 3, IDXD_TYPE_KERNEL, 3, 32, 8);
	is_wq(&plan.device[0], 4, IDXD_TYPE_NONE, -1, 0, 0);
}
END_TEST

START_TEST(plan_without_pasid)
{
	reset();
	add(0, 4, 8, 256, false);
	ck_assert_int_eq(make((struct layout_options){ 0 }), 0);
	is_wq(&plan.device[0], 0, IDXD_TYPE_KERNEL, 0, 64, 8);
	is_wq(&plan.device[0], 4, IDXD_TYPE_NONE, -1, 0, 0);
	ck_assert_int_eq(make((struct layout_options){ .user = LAYOUT_USER_DEDICATED }),
			 -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(err, "dsa0: user WQs need an IOMMU"));
}
END_TEST

START_TEST(plan_small)
{
	reset();
	add(0, 1, 2, 10, true);	 /* the smallest that has both */
	add(1, 4, 4, 128, true); /* two pairs for four engines */
	add(2, 4, 8, 7, false);	 /* entries that do not divide */
	ck_assert_int_eq(make((struct layout_options){ 0 }), 0);
	is_wq(&plan.device[0], 0, IDXD_TYPE_KERNEL, 0, 5, 8);
	is_wq(&plan.device[0], 1, IDXD_TYPE_USER, 0, 5, 4);
	is_wq(&plan.device[1], 1, IDXD_TYPE_KERNEL, 1, 32, 8);
	is_wq(&plan.device[1], 2, IDXD_TYPE_USER, 0, 32, 4);
	/* No engine is left idle. */
	ck_assert_int_eq(plan.device[1].engine_group[2], 0);
	ck_assert_int_eq(plan.device[1].engine_group[3], 1);
	is_wq(&plan.device[2], 3, IDXD_TYPE_KERNEL, 3, 1, 8);
	ck_assert_int_eq(layout_check(&host, &plan, err, sizeof(err)), 0);
	/* What it can do is less than what is wished for. */
	host.device[0].max_batch = 8;
	host.device[0].max_xfer = 65536;
	ck_assert_int_eq(make((struct layout_options){ 0 }), 0);
	ck_assert_uint_eq(plan.device[0].wq[0].max_batch, 8);
	ck_assert_uint_eq(plan.device[0].wq[0].max_xfer, 65536);
}
END_TEST

static const struct {
	unsigned int engines, wqs, entries;
	const char *word;
} too_small[] = {
	{ 4, 1, 128,
	  "1 WQs: expected at least one of each, and 2 WQs (or give --kernel-only)" },
	{ 0, 8, 128, "0 engines" },
	{ 4, 8, 7, "7 WQ entries: expected at least one for each of 8 WQs" },
};

START_TEST(plan_too_small)
{
	reset();
	add(0, too_small[_i].engines, too_small[_i].wqs, too_small[_i].entries, true);
	ck_assert_int_eq(make((struct layout_options){ 0 }), -EOPNOTSUPP);
	ck_assert_msg(strstr(err, too_small[_i].word), "%s", err);
}
END_TEST

START_TEST(plan_devices)
{
	static const struct {
		const char *list, *word;
		int rc;
	} wrong[] = {
		{ "dsa7", "'dsa7': no such device", -ENODEV },
		{ "dsa0,dsa0", "'dsa0': given twice", -EINVAL },
		{ "dsa0,", "expected names with commas", -EINVAL },
		{ ",dsa0", "expected names with commas", -EINVAL },
		{ "dsa0 dsa1", "'dsa0 dsa1': no such device", -ENODEV },
	};

	reset();
	ck_assert_int_eq(make((struct layout_options){ 0 }), -ENODEV);
	ck_assert_ptr_nonnull(strstr(err, "no DSA device"));
	add(0, 4, 8, 128, true);
	add(1, 4, 8, 128, true);
	add(2, 4, 8, 128, true)->configurable = false;
	ck_assert_int_eq(make((struct layout_options){ .devices = "dsa1,dsa0" }), 0);
	ck_assert_uint_eq(plan.n_devices, 2);
	ck_assert_str_eq(plan.device[0].name, "dsa1");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ck_assert_int_eq(make((struct layout_options){ .devices = wrong[i].list }),
				 wrong[i].rc);
		ck_assert_msg(strstr(err, wrong[i].word), "%s: %s", wrong[i].list, err);
	}
	ck_assert_int_eq(make((struct layout_options){ 0 }), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(err, "dsa2: expected a device whose WQs"));
	ck_assert_int_eq(make((struct layout_options){ .kernel_only = true,
						       .user = LAYOUT_USER_SHARED }),
			 -EINVAL);
}
END_TEST

START_TEST(same_and_drifted)
{
	struct idxd_device now;
	char why[200];

	reset();
	add(0, 4, 8, 128, true);
	ck_assert_int_eq(make((struct layout_options){ 0 }), 0);
	now = plan.device[0];
	ck_assert(layout_same(&now, &plan.device[0], why, sizeof(why)));
#define DRIFT(change, text)                                                       \
	do {                                                                      \
		now = plan.device[0];                                             \
		change;                                                           \
		ck_assert(!layout_same(&now, &plan.device[0], why, sizeof(why))); \
		ck_assert_str_eq(why, text);                                      \
	} while (0)
	DRIFT(now.enabled = false, "dsa0: disabled, planned enabled");
	DRIFT(now.engine_group[2] = -1, "engine0.2: group_id -1, planned 2");
	DRIFT(now.wq[1].size = 8, "wq0.1: size 8, planned 16");
	DRIFT(now.wq[1].enabled = false, "wq0.1: enabled 0, planned 1");
	DRIFT(now.wq[5].priority = 15, "wq0.5: priority 15, planned 4");
	DRIFT(now.wq[5].shared = true, "wq0.5: shared 1, planned 0");
	DRIFT(now.wq[5].block_on_fault = true, "wq0.5: block_on_fault 1, planned 0");
	DRIFT(now.wq[0].type = IDXD_TYPE_USER, "wq0.0: type user, planned kernel");
	DRIFT(strcpy(now.wq[0].name, "app"), "wq0.0: name 'app', planned 'dmaengine'");
	DRIFT(strcpy(now.wq[4].driver, "mdev"), "wq0.4: driver 'mdev', planned 'user'");
#undef DRIFT
	/* Drivers that have no such field. */
	now = plan.device[0];
	now.wq[4].driver[0] = '\0';
	ck_assert(layout_same(&now, &plan.device[0], why, sizeof(why)));
	/* A WQ that the plan does not know may not be enabled. */
	plan.device[0].n_wqs = 7;
	now = plan.device[0];
	now.n_wqs = 8;
	ck_assert(!layout_same(&now, &plan.device[0], why, sizeof(why)));
	ck_assert_str_eq(why, "wq0.7: enabled, planned without entries");
}
END_TEST

/* ---------------------------------------------------------------------------- JSON */

START_TEST(json_round)
{
	struct idxd_host back;
	char why[200];
	json_t *json;

	reset();
	add(0, 4, 8, 128, true);
	add(1, 2, 8, 128, false);
	ck_assert_int_eq(make((struct layout_options){ 0 }), 0);
	plan.device[0].wq[2].shared = true;
	plan.device[0].wq[2].threshold = 9;
	json = layout_to_json(&plan, false);
	ck_assert_int_eq(layout_from_json(json, &back, err, sizeof(err)), 0);
	ck_assert_uint_eq(back.n_devices, 2);
	ck_assert_msg(layout_same(&plan.device[0], &back.device[0], why, sizeof(why)), "%s",
		      why);
	ck_assert_msg(layout_same(&plan.device[1], &back.device[1], why, sizeof(why)), "%s",
		      why);
	ck_assert_uint_eq(back.device[0].wq[2].threshold, 9);
	json_decref(json);
	/* What is disabled stays so, with "state". */
	plan.device[0].enabled = false;
	plan.device[0].wq[0].enabled = false;
	plan.device[0].wq[6].group = -1;
	json = layout_to_json(&plan, true);
	ck_assert_int_eq(layout_from_json(json, &back, err, sizeof(err)), 0);
	ck_assert_msg(layout_same(&plan.device[0], &back.device[0], why, sizeof(why)), "%s",
		      why);
	json_decref(json);
}
END_TEST

/* As `accel-config save-config` wrote it, but for the names. */
static const char saved[] =
	"[{\"dev\":\"dsa0\",\"read_buffer_limit\":0,\"groups\":[{\"dev\":\"group0.1\","
	"\"read_buffers_reserved\":0,\"traffic_class_a\":1,\"grouped_workqueues\":["
	"{\"dev\":\"wq0.3\",\"mode\":\"shared\",\"size\":16,\"group_id\":1,\"priority\":10,"
	"\"block_on_fault\":1,\"max_batch_size\":32,\"max_transfer_size\":2097152,"
	"\"type\":\"user\",\"driver_name\":\"user\",\"name\":\"app1\",\"threshold\":15,"
	"\"ats_disable\":0}],\"grouped_engines\":[{\"dev\":\"engine0.1\",\"group_id\":1}]}]}]";

START_TEST(json_of_accel_config)
{
	json_t *json = json_loads(saved, 0, NULL);
	const struct idxd_wq *wq;

	reset();
	add(0, 4, 8, 128, true);
	ck_assert_int_eq(layout_from_json(json, &plan, err, sizeof(err)), 0);
	wq = layout_wq(&plan.device[0], 3);
	ck_assert_ptr_nonnull(wq);
	ck_assert(wq->shared && wq->block_on_fault && wq->enabled);
	ck_assert_uint_eq(wq->threshold, 15);
	ck_assert_int_eq(plan.device[0].engine_group[1], 1);
	ck_assert_int_eq(plan.device[0].engine_group[0], -1);
	ck_assert_int_eq(layout_check(&host, &plan, err, sizeof(err)), 0);
	json_decref(json);
}
END_TEST

static const struct {
	const char *from, *to, *word;
} broken[] = {
	{ "\"dev\":\"dsa0\"", "\"dev\":\"iax0\"", "dev 'iax0': expected a DSA device" },
	{ "\"dev\":\"dsa0\"", "\"dev\":\"dsa0/../x\"", "expected a DSA device" },
	{ "\"wq0.3\"", "\"wq1.3\"", "group0.1: dev 'wq1.3': expected" },
	{ "\"wq0.3\"", "\"wq0.99\"", "group0.1: dev 'wq0.99': expected" },
	{ "\"wq0.3\"", "3", "expected wq0.0" },
	{ "\"size\":16", "\"size\":-1", "wq0.3: size: expected an integer" },
	{ "\"size\":16", "\"size\":\"16\"", "wq0.3: size: expected an integer" },
	{ "\"mode\":\"shared\"", "\"mode\":\"both\"",
	  "wq0.3: mode 'both': expected shared or dedicated" },
	{ "\"type\":\"user\"", "\"type\":\"mdev\"", "wq0.3: type 'mdev': expected kernel" },
	{ "\"app1\"", "\"../app\"", "wq0.3: name '../app': expected letters" },
	{ "\"app1\"", "\"a\\nb\"", "wq0.3: name 'a?b'" },
	{ "\"group_id\":1,\"pri", "\"group_id\":99,\"pri", "wq0.3: group_id: expected" },
	{ "\"engine0.1\"", "\"engine0.9\"",
	  "dev 'engine0.9': expected engine0.0 to engine0.7" },
	{ "\"groups\":[", "\"groups\":7,\"x\":[", "dsa0: groups: expected a list" },
	/* What this device is not able to do. */
	{ "\"size\":16", "\"size\":129",
	  "dsa0: sizes of WQs add up to 129: expected at most 128" },
	{ "\"priority\":10", "\"priority\":16", "wq0.3: priority 16: expected 1 to 15" },
	{ "\"threshold\":15", "\"threshold\":17",
	  "wq0.3: threshold 17: expected 1 to its size" },
	{ "\"max_batch_size\":32", "\"max_batch_size\":4096", "wq0.3: max_batch_size 4096" },
	{ "\"wq0.3\"", "\"wq0.9\"", "wq0.9: no such WQ; dsa0 has 8" },
	{ "\"name\":\"app1\",", "", "wq0.3: name: expected one" },
	{ "\"engine0.1\"", "\"engine0.7\"", "dsa0: 8 engines: it has 4" },
	{ "\"dev\":\"dsa0\"", "\"dev\":\"dsa1\"", "dev 'group0.1': expected group1.0" },
};

START_TEST(json_broken)
{
	const char *at = strstr(saved, broken[_i].from);
	char text[2048];
	json_t *json;
	int rc;

	ck_assert_ptr_nonnull(at);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - saved), saved, broken[_i].to,
		 at + strlen(broken[_i].from));
	json = json_loads(text, 0, NULL);
	ck_assert_msg(json, "%s", text);
	reset();
	add(0, 4, 8, 128, true);
	rc = layout_from_json(json, &plan, err, sizeof(err));
	rc = rc ?: layout_check(&host, &plan, err, sizeof(err));
	json_decref(json);
	ck_assert_int_eq(rc, -EINVAL);
	ck_assert_msg(strstr(err, broken[_i].word), "%s", err);
	ck_assert(!strchr(err, '\n'));
}
END_TEST

START_TEST(json_no_layout)
{
	static const char *const texts[] = {
		"{}", "[]", "[1]", "[[]]", "[{}]", "[{\"dev\":\"dsa0\"},{\"dev\":\"dsa0\"}]"
	};
	json_t *json;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		json = json_loads(texts[i], 0, NULL);
		ck_assert_ptr_nonnull(json);
		ck_assert_msg(layout_from_json(json, &plan, err, sizeof(err)) == -EINVAL, "%s",
			      texts[i]);
		json_decref(json);
	}
}
END_TEST

/* -------------------------------------------------------------------------- record */

static char dir[] = "/tmp/layout.XXXXXX";
static char path[64];

static void record_make(struct layout_record *rec)
{
	struct layout_channel channel[4] = { 0 };

	reset();
	add(0, 4, 8, 128, true);
	add(1, 4, 8, 128, true);
	ck_assert_int_eq(make((struct layout_options){ 0 }), 0);
	memset(rec, 0, sizeof(*rec));
	for (unsigned int d = 0; d < 2; d++) {
		for (unsigned int i = 0; i < 4; i++) {
			channel[i].index = channel[i].wq = i;
			channel[i].inode = 100 * d + i;
			snprintf(channel[i].name, IDXD_NAME, "dma%uchan%u", d, i);
			strcpy(channel[i].device, plan.device[d].name);
		}
		layout_record_add(rec, &plan.device[d], &host.device[d], channel, 4);
	}
}

START_TEST(record_round)
{
	struct layout_record rec, back;
	char why[200];
	struct stat st;

	record_make(&rec);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a/b/layout.json", dir);
	ck_assert_int_eq(layout_record_read(path, &back, err, sizeof(err)), -ENOENT);
	ck_assert_int_eq(layout_record_write(path, &rec, err, sizeof(err)), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(layout_record_read(path, &back, err, sizeof(err)), 0);
	ck_assert_uint_eq(back.plan.n_devices, 2);
	ck_assert(layout_same(&rec.plan.device[1], &back.plan.device[1], why, sizeof(why)));
	ck_assert(!back.before.device[1].enabled);
	ck_assert_uint_eq(back.n_channels, 8);
	ck_assert_str_eq(back.channel[5].name, "dma1chan1");
	ck_assert_uint_eq(back.channel[5].inode, 101);
	ck_assert_uint_eq(back.channel[5].wq, 1);
	/* One device less, then none. */
	layout_record_drop(&back, "dsa0");
	ck_assert_uint_eq(back.n_channels, 4);
	ck_assert_str_eq(back.channel[0].device, "dsa1");
	ck_assert_str_eq(back.before.device[0].name, "dsa1");
	layout_record_drop(&back, "dsa1");
	ck_assert_int_eq(layout_record_write(path, &back, err, sizeof(err)), 0);
	ck_assert_int_eq(layout_record_read(path, &rec, err, sizeof(err)), 0);
	ck_assert_uint_eq(rec.plan.n_devices, 0);
	ck_assert_uint_eq(rec.n_channels, 0);
}
END_TEST

/* The record with @from replaced by @to, as it is read. */
static int record_altered(const char *from, const char *to, struct layout_record *rec)
{
	char *text = NULL, *at;
	size_t size = 0;
	FILE *f = fopen(path, "r");

	ck_assert_ptr_nonnull(f);
	ck_assert(getdelim(&text, &size, '\0', f) > 0);
	fclose(f);
	at = strstr(text, from);
	ck_assert_msg(at, "%s", from);
	f = fopen(path, "w");
	fprintf(f, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
	fclose(f);
	free(text);
	return layout_record_read(path, rec, err, sizeof(err));
}

START_TEST(record_damaged)
{
	struct layout_record rec;

	ck_assert(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/layout.json", dir);
#define DAMAGE(from, to, rc, word)                                                      \
	do {                                                                            \
		record_make(&rec);                                                      \
		ck_assert_int_eq(layout_record_write(path, &rec, err, sizeof(err)), 0); \
		ck_assert_int_eq(record_altered(from, to, &rec), rc);                   \
		ck_assert_msg(strstr(err, word), "%s", err);                            \
		ck_assert_uint_eq(rec.plan.n_devices, 0);                               \
	} while (0)
	DAMAGE("\"version\": 1", "\"version\": 2", -EINVAL, "version: expected 1");
	DAMAGE("\"version\": 1", "\"version\": ", -EINVAL, "layout.json:");
	DAMAGE("\"boot\": \"", "\"boot\": \"x", -ENOENT, "another boot");
	DAMAGE("\"device\": \"dsa0\"", "\"device\": \"dsa5\"", -EINVAL, "channels: entry 0");
	DAMAGE("\"dma0chan1\"", "\"../../x\"", -EINVAL, "channels: entry 1");
	DAMAGE("\"size\": 16", "\"size\": false", -EINVAL, "size: expected an integer");
#undef DAMAGE
}
END_TEST

static void clean(void)
{
	char command[128];

	if (dir[strlen(dir) - 1] != 'X') {
		snprintf(command, sizeof(command), "rm -rf %s", dir);
		ck_assert_int_eq(system(command), 0);
	}
}

int main(void)
{
	Suite *s = suite_create("layout");
	TCase *tc;
	SRunner *sr;
	int failed;

	tc = tcase_create("plan");
	tcase_add_test(tc, plan_full);
	tcase_add_test(tc, plan_options);
	tcase_add_test(tc, plan_without_pasid);
	tcase_add_test(tc, plan_small);
	tcase_add_loop_test(tc, plan_too_small, 0,
			    (int)(sizeof(too_small) / sizeof(too_small[0])));
	tcase_add_test(tc, plan_devices);
	tcase_add_test(tc, same_and_drifted);
	suite_add_tcase(s, tc);
	tc = tcase_create("json");
	tcase_add_test(tc, json_round);
	tcase_add_test(tc, json_of_accel_config);
	tcase_add_loop_test(tc, json_broken, 0, (int)(sizeof(broken) / sizeof(broken[0])));
	tcase_add_test(tc, json_no_layout);
	suite_add_tcase(s, tc);
	tc = tcase_create("record");
	tcase_add_checked_fixture(tc, NULL, clean);
	tcase_add_test(tc, record_round);
	tcase_add_test(tc, record_damaged);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
