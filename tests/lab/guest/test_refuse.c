// SPDX-License-Identifier: MIT
/*
 * test_refuse.c - the module loads where it understands the kernel, or says in one line why
 * not: a prototype that is not the expected one, a function that somebody else redirects, a
 * bad parameter.  Afterwards nothing of it remains: the next load works.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <unistd.h>

#include "../../lib/tap.h"
#include "dma.h"

#define LOG_MAX (1u << 20)

/*
 * Lines of the kernel's log with accelmux: and @word in them, said since the last call; @last:
 * the latest.  What the kernel itself says of a module (taint, parameter) has no such word.
 */
static unsigned int log_lines(const char *word, char *last, size_t size)
{
	static char text[LOG_MAX];
	static unsigned int before;
	int n = klogctl(3, text, sizeof(text) - 1); /* SYSLOG_ACTION_READ_ALL */
	unsigned int lines = 0, fresh = 0;
	char *save = NULL;

	text[n > 0 ? n : 0] = '\0';
	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *said = strstr(line, "] accelmux: ");

		if (!said)
			continue;
		if (++lines <= before || !strstr(said, word))
			continue;
		fresh++;
		snprintf(last, size, "%s", said + 2);
	}
	before = lines;
	return fresh;
}

static void refused(const char *path, const char *params, int error, const char *word,
		    const char *what)
{
	char line[512] = "";
	unsigned int lines;
	int ret;

	log_lines("", line, sizeof(line));
	line[0] = '\0';
	ret = dma_load(path, params);
	lines = log_lines(word, line, sizeof(line));
	tap_ok(ret == error && lines == 1, "%s: %s, in one line: %s", what, strerror(-ret),
	       line);
	if (!ret)
		dma_unload("accelmux");
}

int main(int argc, char **argv)
{
	int ret;

	tap_init(argc, argv, 600);
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		tap_skip("a prototype that is not the expected one", "this kernel has no BTF");
	else
		refused("/m/accelmux-wrongproto.ko", "", -ENOEXEC, "expected 's32(void)'",
			"a prototype that is not the expected one");
	for (int i = 0; i < 2; i++) {
		static const char *const target[] = { "migrate_pages", "folio_mc_copy" };
		char params[64], what[64];

		snprintf(params, sizeof(params), "target=%s", target[i]);
		snprintf(what, sizeof(what), "%s redirected by somebody else", target[i]);
		ret = dma_load("/m/amux_testhook.ko", params);
		if (ret)
			tap_bail("amux_testhook.ko: %s", strerror(-ret));
		refused("/m/accelmux.ko", "", -EBUSY, "livepatch", what);
		dma_unload("amux_testhook");
	}
	refused("/m/accelmux.ko", "default=all", -EINVAL, "expected cpu or share",
		"default=all");
	refused("/m/accelmux.ko", "min_pages=0", -EINVAL, "1 or more", "min_pages=0");
	refused("/m/accelmux.ko", "timeout_ms=0", -EINVAL, "1 to 600000", "timeout_ms=0");
	ret = dma_load("/m/accelmux.ko", "");
	tap_ok(!ret && !dma_unload("accelmux"), "and then it loads and unloads: %s",
	       ret ? strerror(-ret) : "yes");
	return tap_done();
}
