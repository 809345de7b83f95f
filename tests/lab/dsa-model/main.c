// SPDX-License-Identifier: MIT
/*
 * main.c - dsa-model: a model of Intel's Data Streaming Accelerator as a vfio-user server.
 * README.md says how to use it.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "control.h"
#include "vfio_user.h"

/* What is known of one device of the first generation. */
#define DESCRIPTOR_NS 120
#define ENGINE_BPS    10000000000ull
#define FABRIC_BPS    30000000000ull

static struct device device;

static const char usage[] =
	"usage: dsa-model --socket PATH [options]\n"
	"	--control PATH	 the control socket: counters, faults\n"
	"	--viommu	 the guest's IOMMU translates; the control socket tells it\n"
	"	--endpoint	 behind a root port, not integrated into the root complex\n"
	"	--id N		 PCI subsystem device, 0 to 65535 (0)\n"
	"	--version 1|2	 DSA 1 (128 WQ entries) or 2 (256, event log); 2\n"
	"	--time-scale N	 modelled time, so many times slower; 0: none (0)\n"
	"	--descriptor-ns N, --engine-bps N, --fabric-bps N\n"
	"			 the model's parameters (120, 10e9, 30e9)\n"
	"	--once		 end when the client leaves\n";

static uint64_t number(const char *text)
{
	char *end;
	double v = strtod(text, &end);

	if (*end || end == text || v < 0 || v > 1e18) {
		fprintf(stderr, "dsa-model: '%s': expected a number\n", text);
		exit(2);
	}
	return (uint64_t)v;
}

struct options {
	const char *socket, *control;
	bool once;
	struct device_options device;
};

static void parse(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {
		{ "socket", 1, NULL, 's' },
		{ "control", 1, NULL, 'c' },
		{ "version", 1, NULL, 'v' },
		{ "time-scale", 1, NULL, 't' },
		{ "descriptor-ns", 1, NULL, 'd' },
		{ "engine-bps", 1, NULL, 'e' },
		{ "fabric-bps", 1, NULL, 'f' },
		{ "once", 0, NULL, 'o' },
		{ "viommu", 0, NULL, 'i' },
		{ "endpoint", 0, NULL, 'p' },
		{ "id", 1, NULL, 'n' },
		{ "help", 0, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (opt == 's')
			o->socket = optarg;
		else if (opt == 'c')
			o->control = optarg;
		else if (opt == 'v')
			o->device.version = (unsigned int)number(optarg);
		else if (opt == 't')
			o->device.clock.time_scale = number(optarg);
		else if (opt == 'd')
			o->device.clock.descriptor_ns = number(optarg);
		else if (opt == 'e')
			o->device.clock.engine_bps = number(optarg);
		else if (opt == 'f')
			o->device.clock.fabric_bps = number(optarg);
		else if (opt == 'i')
			o->device.viommu = true;
		else if (opt == 'p')
			o->device.endpoint = true;
		else if (opt == 'n')
			o->device.id = (unsigned int)number(optarg);
		else if (opt == 'o')
			o->once = true;
		else {
			fputs(usage, opt == 'h' ? stdout : stderr);
			exit(opt == 'h' ? 0 : 2);
		}
	}
	if (!o->socket || optind != argc || o->device.version < 1 || o->device.version > 2 ||
	    o->device.id > 0xffff) {
		fputs(usage, stderr);
		exit(2);
	}
}

static int fail(const char *what, int error)
{
	fprintf(stderr, "dsa-model: %s: %s\n", what, strerror(-error));
	return 1;
}

int main(int argc, char **argv)
{
	struct options o = { .device = { .version = 2,
					 .clock = { .descriptor_ns = DESCRIPTOR_NS,
						    .engine_bps = ENGINE_BPS,
						    .fabric_bps = FABRIC_BPS } } };
	int listener, fd, ret;

	parse(&o, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	ret = device_init(&device, &o.device);
	if (ret)
		return fail("the device", ret);
	if (o.control) {
		ret = control_start(&device, o.control);
		if (ret)
			return fail(o.control, ret);
	}
	listener = socket_listen(o.socket);
	if (listener < 0)
		return fail(o.socket, listener);
	do {
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && errno != EINTR)
			return fail("accept", -errno);
		if (fd >= 0)
			vfio_user_serve(&device, fd);
	} while (!o.once || fd < 0);
	return 0;
}
