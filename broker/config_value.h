/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_value.h - inside the configuration: what stands behind the "=", as a word, a name or a
 * number of the host's.  (Numbers with units are param.h's.)  Not for others;
 * config_address(), which is one of them, is declared in config.h.
 *
 * Each returns 0, or -EINVAL and in @err the value and what was expected.
 *
 * Owner: nobody, it keeps nothing.  Thread: the control thread (getpwnam()).
 */
#ifndef BROKER_CONFIG_VALUE_H
#define BROKER_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Put one line of text in @err, whatever it quotes; returns -EINVAL. */
int config_fail(char *err, size_t errlen, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* on or off, and their synonyms. */
int config_value_bool(const char *value, bool *out, char *err, size_t errlen);

/* @what ("a path") that fits into @size bytes; what it leaves of them is zeroed. */
int config_value_string(const char *value, char *out, size_t size, const char *what, char *err,
			size_t errlen);

/* One of @n words, as its number. */
int config_value_choice(const char *value, const char *const *words, uint32_t n, uint32_t *out,
			char *err, size_t errlen);

/* A user or group of this host, by number or name. */
int config_value_user(const char *value, uint32_t *out, char *err, size_t errlen);
int config_value_group(const char *value, uint32_t *out, char *err, size_t errlen);

#endif /* BROKER_CONFIG_VALUE_H */
