// SPDX-License-Identifier: MIT
/*
 * test_tenant.c - which tenant a client is accounted to, and with which limits.
 */
#include <stdio.h>
#include <string.h>

#include "../../broker/tenant.h"
#include "core_util.h"

static struct config cfg;
static struct list tenants;

static void setup(void)
{
	config_default(&cfg);
	cfg.n_tenants = 0;
	list_init(&tenants);
}

static void teardown(void)
{
	tenants_free(&tenants);
	ck_assert(list_empty(&tenants));
}

static struct config_tenant *section(const char *name)
{
	struct config_tenant *ct = &cfg.tenants[cfg.n_tenants++];

	memset(ct, 0, sizeof(*ct));
	snprintf(ct->name, sizeof(ct->name), "%s", name);
	ct->weight = 1;
	ct->limit_bps = AMUX_BPS_MAX;
	return ct;
}

static const char *who(uid_t uid, gid_t gid, const char *name)
{
	struct peer peer = { getpid(), uid, gid, name };
	struct tenant *t = tenant_get(&tenants, &cfg, &peer);

	ck_assert_ptr_nonnull(t);
	return t->name;
}

START_TEST(by_default_the_uid)
{
	struct peer peer = { getpid(), 1000, 100, "app" };
	struct tenant *t = tenant_get(&tenants, &cfg, &peer);

	ck_assert_str_eq(t->name, "uid:1000");
	ck_assert_uint_eq(t->weight, 1);
	ck_assert_uint_eq(t->reserve_bps, 0);
	ck_assert_uint_eq(t->limit_bps, AMUX_BPS_MAX);
	peer.gid = 5;
	peer.name = "other";
	ck_assert_ptr_eq(tenant_get(&tenants, &cfg, &peer), t); /* one tenant, however named */
	peer.uid = 1001;
	ck_assert_ptr_ne(tenant_get(&tenants, &cfg, &peer), t);
	ck_assert_ptr_eq(tenant_find(&tenants, "uid:1000"), t);
	ck_assert_ptr_null(tenant_find(&tenants, "uid:1002"));
}
END_TEST

START_TEST(first_that_fits)
{
	struct config_tenant *ct = section("both");

	ct->match_uid = ct->match_gid = true;
	ct->uid = 7;
	ct->gid = 8;
	ct = section("uid");
	ct->match_uid = true;
	ct->uid = 7;
	ct = section("gid");
	ct->match_gid = true;
	ct->gid = 8;
	ct = section("named");
	ct->match_name = true;
	snprintf(ct->client, sizeof(ct->client), "db");
	section("nobody"); /* without a match key: nobody can belong to it */

	ck_assert_str_eq(who(7, 8, "db"), "both");
	ck_assert_str_eq(who(7, 9, "db"), "uid");
	ck_assert_str_eq(who(9, 8, "db"), "gid");
	ck_assert_str_eq(who(9, 9, "db"), "named");
	ck_assert_str_eq(who(9, 9, "dbx"), "uid:9");
	ck_assert_str_eq(who(9, 9, ""), "uid:9");
	ck_assert_str_eq(who(0, 0, "nobody"), "uid:0");
}
END_TEST

/* The path of this process in the unified hierarchy, or of whatever line comes last. */
static void own_cgroup(char *path, size_t len)
{
	char line[4096] = "";
	FILE *f = fopen("/proc/self/cgroup", "re");
	char *p;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		;
	fclose(f);
	p = strchr(line, ':');
	p = p ? strchr(p + 1, ':') : NULL;
	ck_assert_ptr_nonnull(p);
	p[strcspn(p, "\n")] = '\0';
	ck_assert_uint_lt(strlen(p + 1), len);
	snprintf(path, len, "%s", p + 1);
}

/* Is this process taken for one below cgroup @prefix? */
static bool belongs(const char *prefix)
{
	struct peer peer = { getpid(), 4242, 1, "x" };

	cfg.n_tenants = 0;
	snprintf(section("below")->cgroup, sizeof(cfg.tenants[0].cgroup), "%s", prefix);
	return !strcmp(tenant_get(&tenants, &cfg, &peer)->name, "below");
}

START_TEST(by_cgroup)
{
	char path[200], prefix[256];

	own_cgroup(path, sizeof(path));
	ck_assert(belongs(path));
	ck_assert(belongs("/"));
	snprintf(prefix, sizeof(prefix), "%s/", strcmp(path, "/") ? path : "");
	ck_assert(belongs(prefix)); /* a slash at the end says nothing more */
	snprintf(prefix, sizeof(prefix), "%s%s", strcmp(path, "/") ? path : "", "/sub");
	ck_assert(!belongs(prefix));
	ck_assert(!belongs("/no/such/group"));
	if (strlen(path) > 2) {
		snprintf(prefix, sizeof(prefix), "%.*s", (int)strlen(path) - 1, path);
		/* a prefix by letters is none by name, unless it ends at a slash */
		ck_assert(belongs(prefix) == (prefix[strlen(prefix) - 1] == '/'));
	}
}
END_TEST

START_TEST(a_peer_that_is_gone)
{
	struct peer peer = { 0x7ffffffe, 5, 5, "x" };

	snprintf(section("below")->cgroup, sizeof(cfg.tenants[0].cgroup), "/");
	ck_assert_str_eq(tenant_get(&tenants, &cfg, &peer)->name, "uid:5");
}
END_TEST

START_TEST(limits)
{
	struct config_tenant *ct = section("gold");
	struct peer peer = { getpid(), 1, 1, "x" };
	uint64_t reserve, limit;
	struct tenant *t;
	uint32_t weight;

	ct->match_uid = true;
	ct->uid = 1;
	ct->weight = 9;
	ct->reserve_bps = 1000;
	ct->limit_bps = 5000;
	t = tenant_get(&tenants, &cfg, &peer);
	ck_assert_uint_eq(t->weight, 9);
	ck_assert_uint_eq(t->reserve_bps, 1000);
	ck_assert_uint_eq(t->limit_bps, 5000);
	for (unsigned int i = 0; i < TENANT_NODES; i++) {
		ck_assert_uint_eq(t->node[i].id, t->id);
		ck_assert_uint_eq(t->node[i].weight, 9);
		ck_assert_uint_eq(t->node[i].reserve_bps, 1000);
		ck_assert_uint_eq(t->node[i].limit_bps, 5000);
		ck_assert(list_empty(&t->node[i].link) && list_empty(&t->node[i].flows));
	}
	tenant_limits(&cfg, "gold", &weight, &reserve, &limit);
	ck_assert(weight == 9 && reserve == 1000 && limit == 5000);
	tenant_limits(&cfg, "uid:77", &weight, &reserve, &limit);
	ck_assert(weight == 1 && reserve == 0 && limit == AMUX_BPS_MAX);
}
END_TEST

/* Ids are the order of arrival; there is an end to them, and no crash at it. */
START_TEST(at_most_so_many)
{
	struct peer peer = { getpid(), 0, 0, "x" };

	for (uid_t uid = 0; uid < TENANTS_MAX; uid++) {
		struct tenant *t;

		peer.uid = uid;
		t = tenant_get(&tenants, &cfg, &peer);
		ck_assert_ptr_nonnull(t);
		ck_assert_uint_eq(t->id, uid + 1);
	}
	peer.uid = TENANTS_MAX;
	ck_assert_ptr_null(tenant_get(&tenants, &cfg, &peer));
	peer.uid = 5; /* who is known stays welcome */
	ck_assert_str_eq(tenant_get(&tenants, &cfg, &peer)->name, "uid:5");
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("tenant");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, by_default_the_uid);
	tcase_add_test(t, first_that_fits);
	tcase_add_test(t, by_cgroup);
	tcase_add_test(t, a_peer_that_is_gone);
	tcase_add_test(t, limits);
	tcase_add_test(t, at_most_so_many);
	return run_case(t, "tenant", 20);
}
