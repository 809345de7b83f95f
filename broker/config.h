/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config.h - the broker's configuration: INI by libinih, every key typed and checked.
 * docs/config.md lists the keys.
 *
 * Owner: the control thread.  A struct config is immutable once loaded; a reload makes a
 * second one and compares.
 */
#ifndef BROKER_CONFIG_H
#define BROKER_CONFIG_H

#include <sys/socket.h>

#include "dsa.h"
#include "param.h"
#include "soft.h"

#define CONFIG_TENANTS_MAX 64
#define CONFIG_NAME_LEN	   32
#define CONFIG_POLICIES	   8 /* built-in ones whose parameters are kept */

/*
 * time_scale of `model = on` where none is given.  At 100 a modelled device of 30 GB/s moves
 * 300 MB/s and each modelled CPU of 10 GB/s copies 100 MB/s, so that all the real copies
 * behind them leave more than half a core of two free: what is measured is then the model's
 * contention, not the host's.
 */
#define CONFIG_MODEL_TIME_SCALE 100

/* A [tenant NAME] section.  A client belongs to the first whose every given match key
 * (uid, gid, cgroup, name) fits; without any, to a tenant of its uid's own. */
struct config_tenant {
	char name[CONFIG_NAME_LEN];
	bool match_uid, match_gid, match_name;
	uint32_t uid, gid;
	char client[CONFIG_NAME_LEN]; /* name = : the client's name in HELLO */
	char cgroup[256];	      /* cgroup = : path prefix in /proc/PID/cgroup; "" none */
	uint32_t weight;	      /* 1 .. 100 */
	uint64_t reserve_bps;	      /* 0: none */
	uint64_t limit_bps;	      /* AMUX_BPS_MAX: none */
};

/* [broker] engine */
enum config_engine { CONFIG_SOFT = 0, CONFIG_DSA };

struct config {
	/* [broker] */
	uint32_t engine;       /* enum config_engine */
	char socket[108];      /* session socket */
	char control[108];     /* control socket */
	char metrics_addr[64]; /* "127.0.0.1:9437", "" : off */
	char policy[32];
	char kernel
		[512]; /* "none", "device:PATH", "replay:FILE"; FILE made relative to the config file */
	bool replay_loop, replay_verify;
	uint64_t epoch_ns; /* unscaled; default 1 ms */
	uint64_t spin_ns;  /* the mux polls this long before it sleeps; default 20 us */
	uint64_t cpu_bps;  /* CPU copy rate of clients and kernel, unscaled */
	bool own_core;	   /* soft, no model: the operator gave the broker a core */
	uint32_t max_connections, max_regions, max_queues, max_entries; /* last three: each */
	uint64_t max_region_bytes;
	uint64_t max_tenant_bytes; /* registered memory of one tenant */
	/* --wait: seconds that a starting broker waits for the one before it to end */
	unsigned int wait_s;
	/* [soft] */
	unsigned int devices; /* per node */
	struct soft_config soft;
	uint64_t time_scale_given; /* 0: not given, soft.time_scale is the default */
	/* [dsa] */
	struct dsa_config dsa;
	/* [policy NAME]: parameters by policy, in the order of amux_policies[] */
	uint64_t policy_values[CONFIG_POLICIES][AMUX_POLICY_PARAMS];
	/* [tenant NAME] */
	unsigned int n_tenants;
	struct config_tenant tenants[CONFIG_TENANTS_MAX];
};

/* Defaults for this user: sockets under /run/accelmux as root, else under
 * $XDG_RUNTIME_DIR/accelmux, else /tmp/accelmux-UID. */
void config_default(struct config *cfg);

/*
 * Load @path over what @cfg holds.  -errno and one line in @err, "FILE:LINE: ...", for the
 * first thing that is wrong; @cfg is then of no use.  config_check() is the caller's next
 * step, after his overrides.
 */
int config_load(struct config *cfg, const char *path, char *err, size_t errlen);

/* Apply one "section.key=value" from the command line ("broker.policy=cpu",
 * "policy.dynamic.KEY=VALUE", "tenant.NAME.weight=2"). */
int config_override(struct config *cfg, const char *assignment, char *err, size_t errlen);

/* Judge the whole: keys that contradict each other, tenants nobody can belong to. */
int config_check(const struct config *cfg, char *err, size_t errlen);

/* May a running broker go from @a to @b?  -EINVAL and the key that needs a restart. */
int config_reloadable(const struct config *a, const struct config *b, char *err, size_t errlen);

/* How many times slower than real this host's engines are modelled to be; 1: they are not. */
uint64_t config_time_scale(const struct config *cfg);
bool config_modelled(const struct config *cfg);

/* Index of @name in amux_policies[], or -ENOENT. */
int config_policy_index(const char *name);

/* Parse the numeric "ADDR:PORT" or "[ADDR6]:PORT" of `metrics`; port 0 asks for any free
 * one.  0 or -EINVAL. */
int config_address(const char *text, struct sockaddr_storage *ss, socklen_t *len);

#endif /* BROKER_CONFIG_H */
