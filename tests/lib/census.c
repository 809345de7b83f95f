/* SPDX-License-Identifier: MIT */
#include "census.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool count_fds(pid_t pid, unsigned int *n)
{
	struct dirent *e;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while ((e = readdir(dir)))
		*n += e->d_name[0] != '.';
	closedir(dir);
	*n -= pid == getpid(); /* the directory itself */
	return true;
}

static FILE *proc_open(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fopen(path, "re");
}

bool census_take(pid_t pid, struct census *out)
{
	char line[1024];
	FILE *f;

	memset(out, 0, sizeof(*out));
	if (!pid)
		pid = getpid();
	if (!count_fds(pid, &out->fds))
		return false;
	f = proc_open(pid, "maps");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		out->maps++;
		out->memfds += strstr(line, "memfd:") != NULL;
	}
	fclose(f);
	f = proc_open(pid, "status");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "RssAnon:", 8))
			out->anon_kib = strtoull(line + 8, NULL, 10);
		else if (!strncmp(line, "RssShmem:", 9))
			out->shmem_kib = strtoull(line + 9, NULL, 10);
	}
	fclose(f);
	return true;
}
