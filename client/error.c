// SPDX-License-Identifier: MIT
/*
 * error.c - the one-line reason of a thread's last failed call.
 */
#include <stdarg.h>
#include <stdio.h>

#include "handle.h"

static _Thread_local char error_text[AMUX_TEXT_LEN + 128];

void amux_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error_text, sizeof(error_text), fmt, ap);
	va_end(ap);
}

const char *amux_error(void)
{
	return error_text;
}
