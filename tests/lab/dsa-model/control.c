// SPDX-License-Identifier: MIT
/*
 * control.c - see control.h.
 */
#include "control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bits.h"
#include "report.h"

struct server {
	struct device *device;
	int fd;
};

int socket_listen(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	unlink(path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 8)) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	return fd;
}

static const char *state_name(enum state s)
{
	static const char *const name[] = { "disabled", "enabled", "drain", "halted" };

	return name[s];
}

static void stats(struct device *d, FILE *out)
{
	fprintf(out, "device version %u state %s resets %" PRIu64 " time_scale %" PRIu64 "\n",
		d->options.version, state_name(d->state), d->epoch, d->clock.params.time_scale);
	for (unsigned int i = 0; i < WQS; i++) {
		const struct wq *w = &d->wq[i];
		const struct wq_counts *c = &w->count;

		fprintf(out,
			"wq %u enabled %d queued %u running %u submitted %" PRIu64
			" done %" PRIu64 " errors %" PRIu64 " bytes %" PRIu64
			" dropped %" PRIu64 " retried %" PRIu64 " aborted %" PRIu64
			" lost %" PRIu64 "\n",
			i, w->enabled, w->queued, w->running, c->submitted, c->done, c->errors,
			c->bytes, c->dropped, c->retried, c->aborted, c->lost);
	}
	for (unsigned int i = 0; i < ENGINES; i++) {
		const struct engine *e = &d->engine[i];

		fprintf(out,
			"engine %u stuck %d descriptors %" PRIu64 " bytes %" PRIu64
			" busy_ns %" PRIu64 "\n",
			i, e->stuck, e->count.descriptors, e->count.bytes, e->count.busy_ns);
	}
	for (unsigned int i = 0; i < IRQ_VECTORS; i++)
		fprintf(out, "vector %u raised %" PRIu64 "\n", i, d->irq.raised[i]);
	fault_show(&d->fault, out);
}

static void clear(struct device *d)
{
	for (unsigned int i = 0; i < WQS; i++)
		memset(&d->wq[i].count, 0, sizeof(d->wq[i].count));
	for (unsigned int i = 0; i < ENGINES; i++)
		memset(&d->engine[i].count, 0, sizeof(d->engine[i].count));
	memset(d->irq.raised, 0, sizeof(d->irq.raised));
}

/* The device stops and says which reset it wants. */
static bool halt(struct device *d, const char *reset)
{
	static const char *const name[] = { "software", "flr", "warm", "cold" };

	for (uint32_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		if (strcmp(reset, name[i]))
			continue;
		d->state = STATE_HALT;
		d->reset_type = i;
		if (d->genctrl & GENCTRL_HALT_INT)
			report_cause(d, CAUSE_HALT);
		return true;
	}
	return false;
}

/* The guest's root table address register, and this device's number: 0000:00:04.0. */
static bool iommu(struct device *d, const char *root, const char *address)
{
	unsigned int domain, bus, slot, function;
	char *end, more;
	uint64_t value = strtoull(root, &end, 0);

	return !*end &&
	       sscanf(address, "%x:%x:%x.%x%c", &domain, &bus, &slot, &function, &more) == 4 &&
	       !domain && bus < 256 && slot < 32 && function < 8 &&
	       iommu_set(&d->iommu, value, (uint16_t)(bus << 8 | slot << 3 | function));
}

static void answer(struct device *d, const char *line, FILE *out)
{
	char word[3][32] = { "", "", "" };
	int n = sscanf(line, "%31s %31s %31s", word[0], word[1], word[2]);
	bool good = true;

	pthread_mutex_lock(&d->lock);
	if (n == 1 && !strcmp(word[0], "stats"))
		stats(d, out);
	else if (n == 1 && !strcmp(word[0], "clear"))
		clear(d);
	else if (n == 2 && !strcmp(word[0], "halt"))
		good = halt(d, word[1]);
	else if (n == 3 && !strcmp(word[0], "iommu"))
		good = iommu(d, word[1], word[2]);
	else if (n == 3 && !strcmp(word[0], "fault"))
		good = fault_set(&d->fault, word[1], strtoll(word[2], NULL, 0));
	else
		good = false;
	pthread_cond_broadcast(&d->work);
	pthread_mutex_unlock(&d->lock);
	fprintf(out, "%s\n.\n",
		good ? "ok"
		     : "error: expected stats, clear, halt RESET, "
		       "fault NAME VALUE, iommu ROOT ADDRESS (scalable mode, with --viommu)");
	fflush(out);
}

static void *serve(void *arg)
{
	struct server *s = arg;
	FILE *in = fdopen(s->fd, "r"), *out = fdopen(dup(s->fd), "w");
	char line[128];

	while (in && out && fgets(line, sizeof(line), in))
		answer(s->device, line, out);
	if (in)
		fclose(in);
	else
		close(s->fd);
	if (out)
		fclose(out);
	free(s);
	return NULL;
}

static void *accept_all(void *arg)
{
	struct server *listener = arg;
	int fd;

	while ((fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0 || errno == EINTR) {
		struct server *s = fd >= 0 ? malloc(sizeof(*s)) : NULL;
		pthread_t id;

		if (!s) {
			close(fd);
			continue;
		}
		*s = (struct server){ listener->device, fd };
		if (pthread_create(&id, NULL, serve, s)) {
			close(fd);
			free(s);
			continue;
		}
		pthread_detach(id);
	}
	return NULL;
}

int control_start(struct device *d, const char *path)
{
	static struct server listener;
	pthread_t id;
	int fd = socket_listen(path);

	if (fd < 0)
		return fd;
	listener = (struct server){ d, fd };
	return -pthread_create(&id, NULL, accept_all, &listener);
}
