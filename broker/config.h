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
#include "fault.h"
#include "param.h"
#include "plugin_file.h"
#include "soft.h"

#define CONFIG_TENANTS_MAX 64
#define CONFIG_NAME_LEN	   32
#define CONFIG_POLICIES	   8		   /* built-in ones whose parameters are kept */
#define CONFIG_PLUGIN	   CONFIG_POLICIES /* in place of an index: none of them */

/*
 * time_scale of `model = on` where none is given.  At 100 a modelled device of 30 GB/s moves
 * 300 MB/s and each modelled CPU of 10 GB/s copies 100 MB/s, so that all the real copies
 * behind them leave more than half a core of two free: what is measured is then the model's
 * contention, not the host's.
 */
#define CONFIG_MODEL_TIME_SCALE 100

/* What one tenant may have over all its connections.  In a [tenant] section 0: as [broker] says. */
struct config_caps {
	uint32_t connections, regions, queues;
	uint64_t region_bytes; /* registered memory */
	uint64_t queue_bytes;  /* the broker's memory behind its queues */
	uint64_t faults;       /* a second, on one node; UINT64_MAX: no limit */
	uint64_t requests;     /* of the session socket, a second; UINT64_MAX: no limit */
};

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
	struct config_caps caps;
};

/* [broker] engine */
enum config_engine { CONFIG_SOFT = 0, CONFIG_DSA, CONFIG_FAULT };

/* [broker] clients */
enum config_clients { CONFIG_OWNER = 0, CONFIG_GROUP, CONFIG_ALL };

struct config {
	/* [broker] */
	uint32_t engine;	   /* enum config_engine */
	struct fault_config fault; /* engine = fault:SPEC */
	char socket[108];	   /* session socket */
	char control[108];	   /* control socket */
	uint32_t clients;      /* enum config_clients: who may connect to the session socket */
	bool system;	       /* config_system(): the host's broker, whoever runs it */
	char metrics_addr[64]; /* "127.0.0.1:9437", "" : off */
	char policy[PLUGIN_PATH_LEN];	  /* name of a built-in one, or path of a plug-in */
	char policy_dir[PLUGIN_PATH_LEN]; /* where plug-ins are found by name */
	uint32_t policy_patience;	  /* epochs that a plug-in may be late */
	uint64_t policy_load_ns;	  /* until a plug-in must be loaded */
	char kernel
		[512]; /* "none", "device:PATH", "replay:FILE"; FILE made relative to the config file */
	bool replay_loop, replay_verify;
	uint64_t epoch_ns; /* unscaled; default 1 ms */
	uint64_t spin_ns;  /* the mux polls this long before it sleeps; default 20 us */
	uint64_t cpu_bps;  /* CPU copy rate of clients and kernel, unscaled */
	bool own_core;	   /* soft, no model: the operator gave the broker a core */
	uint32_t max_connections, max_regions, max_queues, max_entries; /* last three: each */
	uint64_t max_region_bytes;
	uint64_t connect_rate;	 /* of one uid, a second; UINT64_MAX: no limit */
	struct config_caps caps; /* of a tenant that has none of its own */
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
	/* [policy NAME] of the plug-in that is `policy` */
	struct policy_setting plugin_settings[AMUX_POLICY_PARAMS];
	unsigned int n_plugin_settings;
	/* [tenant NAME] */
	unsigned int n_tenants;
	struct config_tenant tenants[CONFIG_TENANTS_MAX];
};

/* Defaults for this user: sockets under /run/accelmux as root, else under
 * $XDG_RUNTIME_DIR/accelmux, else /tmp/accelmux-UID. */
void config_default(struct config *cfg);

/* The host's broker under a user of its own: after config_default(), sockets as for root. */
void config_system(struct config *cfg);

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

/* Set one of weight, reserve and limit of @t, as its section would.  -EINVAL and @err. */
int config_tenant_set(struct config_tenant *t, const char *key, const char *value, char *err,
		      size_t errlen);
/* Do the limits of @t agree with each other?  -EINVAL and @err. */
int config_tenant_judge(const struct config_tenant *t, char *err, size_t errlen);

/* May a running broker go from @a to @b?  -EINVAL and the key that needs a restart. */
int config_reloadable(const struct config *a, const struct config *b, char *err, size_t errlen);

/* How many times slower than real this host's engines are modelled to be; 1: they are not. */
uint64_t config_time_scale(const struct config *cfg);
bool config_modelled(const struct config *cfg);

/* Index of @name in amux_policies[], or -ENOENT. */
int config_policy_index(const char *name);

/*
 * What an operator means by @name: the index of a built-in policy; or CONFIG_PLUGIN and in
 * @path the whole path of a plug-in (@beside: see plugin_file_find()); or -errno and in @err
 * what was expected.
 */
int config_policy_find(const struct config *cfg, const char *name, const char *beside,
		       char *path, size_t len, char *err, size_t errlen);

/* The parameters that @cfg has for the plug-in at @path, and how many in *@n. */
const struct policy_setting *config_plugin_settings(const struct config *cfg, const char *path,
						    unsigned int *n);

/* Parse the numeric "ADDR:PORT" or "[ADDR6]:PORT" of `metrics`; port 0 asks for any free
 * one.  0 or -EINVAL. */
int config_address(const char *text, struct sockaddr_storage *ss, socklen_t *len);

#endif /* BROKER_CONFIG_H */
