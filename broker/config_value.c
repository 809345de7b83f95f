// SPDX-License-Identifier: GPL-2.0-only
/*
 * config_value.c - see config_value.h.
 */
#include "config_value.h"

#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

int config_fail(char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	/* It quotes what was given, which a log must not take for more lines. */
	for (char *p = err; errlen && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return -EINVAL;
}

int config_address(const char *text, struct sockaddr_storage *ss, socklen_t *len)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				  .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(text, ':');
	struct addrinfo *ai;
	char host[64];
	size_t n;

	if (!colon || colon == text || !colon[1] || strspn(colon + 1, "0123456789") > 5 ||
	    colon[1 + strspn(colon + 1, "0123456789")] || atoi(colon + 1) > 65535)
		return -EINVAL;
	n = (size_t)(colon - text);
	if (text[0] == '[' && colon[-1] == ']') {
		text++;
		n -= 2;
	} else if (memchr(text, ':', n)) {
		return -EINVAL; /* IPv6 needs its brackets: which colon is the port's? */
	}
	if (n >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = '\0';
	if (!n || getaddrinfo(host, colon + 1, &hints, &ai))
		return -EINVAL;
	memset(ss, 0, sizeof(*ss));
	memcpy(ss, ai->ai_addr, ai->ai_addrlen);
	*len = ai->ai_addrlen;
	freeaddrinfo(ai);
	return 0;
}

int config_value_bool(const char *value, bool *out, char *err, size_t errlen)
{
	static const char *const words[2][4] = { { "off", "no", "false", "0" },
						 { "on", "yes", "true", "1" } };

	for (unsigned int v = 0; v < 2; v++) {
		for (unsigned int i = 0; i < 4; i++) {
			if (!strcmp(value, words[v][i])) {
				*out = v;
				return 0;
			}
		}
	}
	return config_fail(err, errlen, "'%s': expected on or off", value);
}

int config_value_string(const char *value, char *out, size_t size, const char *what, char *err,
			size_t errlen)
{
	size_t len = strlen(value);

	if (!len || len >= size)
		return config_fail(err, errlen, "'%s': expected %s of 1 to %zu characters",
				   value, what, size - 1);
	memset(out, 0, size); /* config_reloadable() compares the whole field */
	memcpy(out, value, len);
	return 0;
}

/* One of @n words, as its number. */
int config_value_choice(const char *value, const char *const *words, uint32_t n, uint32_t *out,
			char *err, size_t errlen)
{
	char known[80] = "";
	size_t used = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (!strcmp(value, words[i])) {
			*out = i;
			return 0;
		}
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
					 i ? ", " : "", words[i]);
	}
	return config_fail(err, errlen, "'%s': expected one of: %s", value, known);
}

/* A number, or a name that @lookup knows. */
static int parse_id(const char *value, const char *what,
		    int (*lookup)(const char *, uint32_t *), uint32_t *out, char *err,
		    size_t errlen)
{
	char *end;
	unsigned long long v;

	if (*value >= '0' && *value <= '9') {
		errno = 0;
		v = strtoull(value, &end, 10);
		if (!errno && !*end && v < UINT32_MAX) {
			*out = (uint32_t)v;
			return 0;
		}
	} else if (*value && !lookup(value, out)) {
		return 0;
	}
	return config_fail(err, errlen,
			   "'%s': expected the number or name of a %s of this host", value,
			   what);
}

static int lookup_user(const char *name, uint32_t *out)
{
	const struct passwd *pw = getpwnam(name);

	if (!pw)
		return -ENOENT;
	*out = pw->pw_uid;
	return 0;
}

static int lookup_group(const char *name, uint32_t *out)
{
	const struct group *gr = getgrnam(name);

	if (!gr)
		return -ENOENT;
	*out = gr->gr_gid;
	return 0;
}

int config_value_user(const char *value, uint32_t *out, char *err, size_t errlen)
{
	return parse_id(value, "user", lookup_user, out, err, errlen);
}

int config_value_group(const char *value, uint32_t *out, char *err, size_t errlen)
{
	return parse_id(value, "group", lookup_group, out, err, errlen);
}
