// SPDX-License-Identifier: MIT
/*
 * fuzz MODEL SECONDS plain|viommu [SEED] - a client, and a guest, that mean harm: random messages,
 * register writes and descriptors, in between right ones, so that there is something at work;
 * with viommu, tables of an IOMMU that are right, then random, then written to by the device.
 * Prints TAP; the model must answer to the end, must have moved something, and leave with status
 * 0.  Build the model with sanitizers for this.
 */
#include <errno.h>
#include <linux/idxd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MEMORY	   (4u << 20)
#define ANSWER_MAX 65536u
#define WAIT_S	   20
#define TABLES	   16u /* pages, the last ones of the memory */
#define DIRECTORY  (MEMORY - TABLES * 4096)

enum { BAR0 = 0, BAR2 = 2, CONFIG = 7 };
enum { MAP = 2, UNMAP = 3, SET_IRQS = 8, READ = 9, WRITE = 10, RESET = 13 };

struct header {
	uint16_t id, message;
	uint32_t size, flags, error;
};

static int sock, memory, control = -1;
static pid_t model;
static uint64_t state;
static unsigned long messages;

static uint64_t any(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1dull;
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)((any() >> 32) * n >> 32);
}

static void bytes(void *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)to)[i] = (uint8_t)any();
}

static void die(const char *what)
{
	int status = 0;

	sleep(1);
	if (waitpid(model, &status, WNOHANG) == model)
		printf("# the model ended with status %#x\n", status);
	printf("not ok 1 - %s after %lu messages (%s)\n", what, messages, strerror(errno));
	kill(model, SIGKILL);
	exit(1);
}

static void receive(void *to, size_t n)
{
	while (n) {
		ssize_t got = recv(sock, to, n, 0);

		if (got <= 0)
			die("no answer");
		to = (uint8_t *)to + got;
		n -= (size_t)got;
	}
}

/* One message and, unless @quiet, its answer, of which the first 8 bytes come back. */
static uint64_t say(unsigned int message, const void *body, uint32_t n, const int *fd,
		    unsigned int fds, bool quiet)
{
	struct header h = { .id = (uint16_t)messages,
			    .message = (uint16_t)message,
			    .size = (uint32_t)sizeof(h) + n,
			    .flags = quiet ? 0x10 : 0 };
	struct iovec v[2] = { { &h, sizeof(h) }, { (void *)(uintptr_t)body, n } };
	char space[CMSG_SPACE(16 * sizeof(int))] = { 0 };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
	static uint8_t answer[ANSWER_MAX];
	uint64_t word = 0;

	if (fds) {
		struct cmsghdr *c;

		m.msg_control = space;
		m.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fds * sizeof(int));
		memcpy(CMSG_DATA(c), fd, fds * sizeof(int));
	}
	messages++;
	if (sendmsg(sock, &m, MSG_NOSIGNAL) != (ssize_t)h.size)
		die("nobody listens");
	if (quiet)
		return 0;
	receive(&h, sizeof(h));
	if (h.id != (uint16_t)(messages - 1) || h.size < sizeof(h) || h.size > ANSWER_MAX)
		die("a wrong answer");
	receive(answer, h.size - sizeof(h));
	if (h.size >= sizeof(h) + 24)
		memcpy(&word, answer + 16, sizeof(word));
	return word;
}

static void put(uint32_t region, uint64_t offset, const void *data, uint32_t n, bool quiet)
{
	uint8_t body[16 + 256];
	uint32_t place[2] = { region, n };

	memcpy(body, &offset, 8);
	memcpy(body + 8, place, 8);
	memcpy(body + 16, data, n);
	say(WRITE, body, 16 + n, NULL, 0, quiet);
}

static void put32(uint32_t offset, uint32_t value)
{
	put(BAR0, offset, &value, sizeof(value), true);
}

static uint64_t get(uint32_t region, uint64_t offset, uint32_t n)
{
	uint32_t body[4] = { (uint32_t)offset, (uint32_t)(offset >> 32), region, n };

	return say(READ, body, sizeof(body), NULL, 0, false);
}

static void map(void)
{
	struct {
		uint32_t argsz, flags;
		uint64_t offset, address, size;
	} m = { sizeof(m), 3, 0, 0, MEMORY };

	say(MAP, &m, sizeof(m), &memory, 1, false);
}

static void unmap(void)
{
	struct {
		uint32_t argsz, flags;
		uint64_t address, size;
	} m = { sizeof(m), 0, 0, MEMORY };

	say(UNMAP, &m, sizeof(m), NULL, 0, false);
}

static void interrupts(void)
{
	uint32_t body[5] = { sizeof(body), 4 | 32, 2, 0, 9 };
	int fd[9];

	for (int i = 0; i < 9; i++)
		fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	say(SET_IRQS, body, sizeof(body), fd, 9, false);
	for (int i = 0; i < 9; i++)
		close(fd[i]);
}

/* Four groups of two WQs, one dedicated and one shared, and an engine; all enabled. */
static void configure(void)
{
	uint32_t master = 6;

	put(CONFIG, 4, &master, 2, true);
	put32(0xa0, 5u << 20);
	for (int i = 0; i < 1000 && get(BAR0, 0xa8, 4) & 1u << 31; i++)
		;
	for (uint32_t i = 0; i < 4; i++) {
		put32(0x400 + 64 * i, 0x11u << i);
		put32(0x420 + 64 * i, 1u << i);
	}
	for (uint32_t i = 0; i < 8; i++) {
		put32(0x600 + 64 * i, 16);
		put32(0x604 + 64 * i, 8);
		/* With a PASID or without one, and the supervisor's or not. */
		put32(0x608 + 64 * i,
		      (i & 1) | 5u << 4 | below(6) << 8 | below(4) % 3 << 28 | below(2) << 29);
		put32(0x60c + 64 * i, 21 | 5u << 5);
	}
	put32(0xe0, 0x1000 | below(4));
	put32(0xe8, below(2) ? 64 : below(65536));
	put32(0x80, below(2) ? 1u << 13 : 0);
	put32(0x88, 7);
	put32(0xa0, 1u << 20);
	for (uint32_t i = 0; i < 8; i++) {
		put32(0xa0, 6u << 20 | i);
		put32(0xa0, 13u << 20 | (i + 1));
	}
}

static uint64_t address(void)
{
	uint32_t r = below(10);

	if (r < 7)
		return below(MEMORY) & ~(r < 4 ? 63u : 0);
	return r < 9 ? MEMORY - below(100) : any();
}

/* What delta records and DIF want to be executed at all. */
static void fit(struct dsa_hw_desc *desc)
{
	static const uint32_t blocks[] = { 512, 520, 4096, 4104 };

	if (desc->opcode == DSA_OPCODE_CR_DELTA || desc->opcode == DSA_OPCODE_AP_DELTA) {
		memset(desc->op_specific, 0, sizeof(desc->op_specific));
		desc->src_addr &= ~7ull;
		desc->dst_addr &= ~7ull;
		desc->xfer_size &= ~7u;
		if (desc->opcode == DSA_OPCODE_CR_DELTA) {
			desc->delta_addr = address() & ~7ull;
			desc->max_delta_size = 80 + below(100000);
		} else {
			desc->delta_rec_size = 10 * below(2000);
		}
	} else if (desc->opcode >= DSA_OPCODE_DIF_CHECK && desc->opcode <= 0x17) {
		memset(desc->op_specific, 0, sizeof(desc->op_specific));
		desc->dif_chk_flags = (uint8_t)below(16);
		if (desc->opcode != DSA_OPCODE_DIF_INS && desc->opcode != 0x17)
			desc->src_dif_flags = (uint8_t)(0x60 | below(256));
		desc->xfer_size = below(20) * (blocks[desc->dif_chk_flags & 3] +
					       (desc->src_dif_flags ? 8 : 0));
		if (desc->src_dif_flags)
			desc->chk_app_tag_mask = 0xffff;
	} else if (desc->opcode == 0x0a) {
		memset(desc->op_specific, 0, sizeof(desc->op_specific));
		desc->dst_addr = 0;
	}
}

static void describe(struct dsa_hw_desc *desc)
{
	static const uint8_t opcodes[] = { 0,	 1,    2,    3,	   4,	 5,    6,
					   7,	 8,    9,    0x0a, 0x10, 0x11, 0x12,
					   0x13, 0x14, 0x15, 0x17, 0x20 };
	static const uint32_t flags[] = { 0x4, 0xc, 0x1c, 0x14, 0x8c };

	memset(desc, 0, sizeof(*desc));
	if (!below(3))
		bytes(desc->op_specific, sizeof(desc->op_specific));
	desc->opcode = below(20) ? opcodes[below(sizeof(opcodes))] : (uint8_t)any();
	desc->flags = (below(10) ? flags[below(5)] : below(1u << 24)) & 0xffffff;
	desc->completion_addr = address() & ~(below(10) ? 31ull : 0);
	desc->src_addr = address() & ~(desc->opcode == DSA_OPCODE_BATCH ? 63ull : 0);
	desc->dst_addr = below(4) ? address() : desc->src_addr + below(100000);
	desc->xfer_size = below(3) ? below(200000) : below(2) ? below(64) : (uint32_t)any();
	if (desc->opcode == DSA_OPCODE_BATCH)
		desc->desc_count = below(40);
	if (below(4))
		fit(desc);
	desc->int_handle = (uint16_t)(below(10) ? below(10) : any());
}

static void submit(void)
{
	uint32_t at = below(32) * 4096 + below(64) * 64;
	struct dsa_hw_desc desc;

	describe(&desc);
	for (uint32_t i = 0; i < sizeof(desc); i += 8)
		put(BAR2, at + i, (uint8_t *)&desc + i, 8, true);
}

/* Descriptors in memory, for batches. */
static void scatter(void)
{
	struct dsa_hw_desc desc[32];

	for (size_t i = 0; i < 32; i++)
		describe(&desc[i]);
	if (pwrite(memory, desc, sizeof(desc), below(MEMORY - sizeof(desc)) & ~63u) < 0)
		die("memory");
}

/* ------------------------------------------------------------------- IOMMU */

enum { ROOT, CONTEXT, PASID_DIR, PASID_TABLE, FIRST, SECOND = FIRST + 5, THIRD = SECOND + 3 };

static uint64_t table(unsigned int which)
{
	return DIRECTORY + which * 4096ull;
}

static void entry(unsigned int which, uint64_t index, uint64_t value)
{
	if (pwrite(memory, &value, sizeof(value), (off_t)(table(which) + index * 8)) < 0)
		die("memory");
}

/* Everything where it is: PASIDs 0 and 1 by the first stage, 2 by the second, 3 untranslated. */
static void tables(void)
{
	uint64_t flags = below(2) ? 7 : 0x67;

	entry(ROOT, 0, table(CONTEXT) | 1);
	entry(CONTEXT, 4 * 8 * 4, table(PASID_DIR) | below(8) << 9 | 9);
	entry(CONTEXT, 4 * 8 * 4 + 1, below(4));
	entry(PASID_DIR, 0, table(PASID_TABLE) | 1);
	for (unsigned int i = 0; i < 2; i++) {
		entry(PASID_TABLE, i * 8, 1 | 1 << 6);
		entry(PASID_TABLE, i * 8 + 2, table(FIRST) | 1);
	}
	entry(PASID_TABLE, 16, table(SECOND) | 1 | 1 << 2 | 2 << 6 | below(2) << 9);
	entry(PASID_TABLE, 24, 1 | 4 << 6);
	for (unsigned int i = 0; i < 3; i++)
		entry(FIRST + i, 0, table(FIRST + i + 1) | flags);
	entry(FIRST + 2, 1, 2u << 20 | flags | 0x80);
	for (uint64_t i = 0; i < 512; i++)
		entry(FIRST + 3, i, i << 12 | flags);
	entry(SECOND, 0, table(SECOND + 1) | 3);
	for (uint64_t i = 0; i < MEMORY >> 21; i++)
		entry(SECOND + 1, i, i << 21 | 0x83);
}

/* One word of them anything: another table, itself, a large page, beyond the memory. */
static void spoil(void)
{
	uint64_t value = any();

	if (below(2))
		value = (table(below(TABLES)) + below(8)) | 1 | (uint64_t)below(4096);
	if (below(4))
		entry(below(TABLES), below(8) * below(64), value);
	else if (pwrite(memory, &value, below(8) + 1u,
			(off_t)(DIRECTORY + below(TABLES * 4096 - 8))) < 0)
		die("memory");
}

/* A line to the control socket; what the model answers, up to its end, is in @answer. */
static void order(const char *line, char *answer, size_t size)
{
	size_t n = 0;

	if (send(control, line, strlen(line), MSG_NOSIGNAL) < 0)
		die("the control socket is closed");
	do {
		ssize_t got = recv(control, answer + n, size - 1 - n, 0);

		if (got <= 0)
			die("no answer on the control socket");
		n += (size_t)got;
		answer[n] = 0;
	} while (n < size - 1 && (n < 2 || strcmp(answer + n - 2, ".\n")));
}

static void tell(void)
{
	char line[100], answer[8192];

	if (below(4))
		snprintf(line, sizeof(line), "iommu %#llx 0000:00:04.0\n",
			 (unsigned long long)(table(ROOT) | 0x400));
	else
		snprintf(line, sizeof(line), "iommu %#llx %x:%x:%x.%x\n",
			 (unsigned long long)(any() >> below(64)), below(2), below(300),
			 below(40), below(9));
	order(line, answer, sizeof(answer));
}

/* What the WQs have moved; only what was translated can be. */
static unsigned long long moved(void)
{
	static char answer[65536];
	unsigned long long sum = 0;

	order("stats\n", answer, sizeof(answer));
	for (char *at = answer; (at = strstr(at, "bytes ")); at++)
		sum += strtoull(at + 6, NULL, 10);
	return sum;
}

static void step_iommu(void)
{
	uint32_t r = below(2000);

	if (r < 10)
		tables();
	else if (r < 40)
		spoil();
	else if (r < 42)
		tell();
	else if (r == 42) {
		tables();
		configure();
	}
}

static void step(void)
{
	uint8_t noise[256];
	uint32_t r = below(1000);

	bytes(noise, sizeof(noise));
	if (r < 600)
		submit();
	else if (r < 700)
		put32(below(2) ? below(0x1000) & ~3u : below(0x10000) & ~3u, (uint32_t)any());
	else if (r < 750)
		put32(0xa0, below(16) << 20 | below(1u << (3 + below(18))) | below(2) << 31);
	else if (r < 800)
		get(below(2) ? BAR0 : below(10), below(0x1000), below(70));
	else if (r < 840)
		scatter();
	else if (r < 850)
		say(below(20), noise, below(200), &memory, below(2), false);
	else if (r < 855)
		say(RESET, NULL, 0, NULL, 0, false);
	else if (r < 860)
		unmap();
	else if (r < 870)
		map();
	else if (r < 880)
		configure();
	else if (r < 890)
		put(CONFIG, below(4096), noise, below(5), false);
	else if (r < 900)
		put(below(10), any() >> below(64), noise, below(100), false);
}

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timeval limit = { WAIT_S, 0 };
	int fd;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (int i = 0; connect(fd, (struct sockaddr *)&a, sizeof(a)); i++) {
		if (i == 100)
			die("no connection");
		usleep(50000);
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	unlink(path);
	return fd;
}

int main(int argc, char **argv)
{
	char path[64], control_path[80];
	bool viommu = argc > 3 && !strcmp(argv[3], "viommu");
	unsigned long long bytes_moved = 0;
	time_t end;
	int status;

	if (argc < 4 || (!viommu && strcmp(argv[3], "plain"))) {
		fprintf(stderr, "fuzz: expected MODEL SECONDS plain|viommu [SEED]\n");
		return 2;
	}
	state = argc > 4 ? strtoull(argv[4], NULL, 0) | 1 : (uint64_t)time(NULL) * 2 + 1;
	printf("# SEED=%llu\n", (unsigned long long)state);
	snprintf(path, sizeof(path), "/tmp/dsa-fuzz-%d", getpid());
	snprintf(control_path, sizeof(control_path), "%s.control", path);
	memory = memfd_create("memory", MFD_CLOEXEC);
	if (memory < 0 || ftruncate(memory, MEMORY))
		return 2;
	fflush(stdout);
	model = fork();
	if (!model) {
		execl(argv[1], argv[1], "--once", "--socket", path, "--control", control_path,
		      viommu ? "--viommu" : (char *)NULL, (char *)NULL);
		_exit(127);
	}
	sock = connect_to(path);
	control = connect_to(control_path);
	map();
	interrupts();
	configure();
	tables();
	end = time(NULL) + atoi(argv[2]);
	while (time(NULL) < end) {
		step();
		if (viommu)
			step_iommu();
	}
	bytes_moved = moved();
	if (!bytes_moved)
		die("the device has moved nothing at all");
	get(BAR0, 0, 8); /* everything before it has been taken */
	close(sock);
	alarm(WAIT_S);
	if (waitpid(model, &status, 0) != model || status)
		die("the model failed");
	printf("ok 1 - %s: %lu messages, %llu bytes moved\n1..1\n", argv[3], messages,
	       bytes_moved);
	return 0;
}
