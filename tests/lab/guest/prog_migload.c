// SPDX-License-Identifier: MIT
/*
 * migload SECONDS MIB - a migration load for shell tests: anonymous memory to and fro between
 * two nodes, with a writer and a reader.  Prints pages moved; exit 1 if the content went wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "move.h"
#include "pages.h"

int main(int argc, char **argv)
{
	unsigned int seconds = argc > 1 ? (unsigned int)atoi(argv[1]) : 1;
	size_t bytes = (argc > 2 ? (size_t)atoi(argv[2]) : 8) << 20;
	time_t end = time(NULL) + seconds;
	unsigned long rounds = 0, bad;
	struct pages p = { 0 };
	struct memory m;

	if (memory_make(&m, KIND_ANON, bytes, false) || pages_init(&p, m.base, bytes / PAGE) ||
	    pages_start(&p)) {
		fprintf(stderr, "migload: no memory\n");
		return 1;
	}
	for (; time(NULL) < end; rounds++)
		move_to_node(m.base, bytes, rounds % 2 ? 0 : 1);
	bad = pages_finish(&p);
	printf("%lu pages moved, %lu bad\n", rounds * (bytes / PAGE), bad);
	memory_free(&m);
	pages_free(&p);
	return bad != 0;
}
