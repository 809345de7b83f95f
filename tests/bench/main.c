// SPDX-License-Identifier: MIT
/*
 * bench-peers: accelmux beside what one would use instead, in one run.
 *
 * Within a row the probes take turns, round by round, each on the same two cores; what counts
 * is the median over the rounds of the ratio within a round, since absolute figures of one
 * machine move by a factor of two and more.  A round in which others were at work is repeated.
 *
 * Exit status: 0; 1: with --check, a target was missed; 2: wrong usage, or it could not be
 * measured; 3: the machine was not quiet.
 */
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "broker.h"
#include "machine.h"
#include "report.h"
#include "row.h"

#define LIMIT_S	     1500
#define MEASURE_NS   250000000u
#define QUICK_NS     10000000u
#define NOISE_FACTOR 2 /* so many times the rounds asked for may be noisy ... */
#define NOISE_MIN    6 /* ... and at least so many */
#define QUICK_SET    ((size_t)8 << 20)
#define EXIT_MISSED  1
#define EXIT_TROUBLE 2
#define EXIT_NOISY   3

struct bench bench = { .measure_ns = MEASURE_NS };

static char absent[128];
static pid_t own_pid;

int bench_absent(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(absent, sizeof(absent), fmt, ap);
	va_end(ap);
	return BENCH_ABSENT;
}

const char *bench_why(void)
{
	return absent;
}

void bench_fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("bench-peers: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (own_pid && getpid() != own_pid)
		kill(own_pid, SIGTERM); /* a peer's process: nobody waits for it for ever */
	else if (broker.daemon.pid)
		broker_abandon();
	_exit(EXIT_TROUBLE); /* every peer dies with this process */
}

struct options {
	unsigned int rounds;
	const char *row, *json;
	bool check, quick;
};

static const char usage[] =
	"usage: peers [--rounds N] [--row GLOB] [--json FILE] [--check] [--quick] [--list]\n"
	"\n"
	"  --rounds N   quiet rounds of each row, 1 to 99; default 7\n"
	"  --row GLOB   those rows alone, such as 'noop*'\n"
	"  --json FILE  the results for programs\n"
	"  --check      exit with 1 if a target is missed\n"
	"  --quick      very short measurements on a machine that need not be quiet: that it\n"
	"               works, nothing else, is shown by this\n"
	"  --list       the rows' names\n";

static void options_read(struct options *o, int argc, char **argv)
{
	static const struct option known[] = {
		{ "rounds", required_argument, NULL, 'n' },
		{ "row", required_argument, NULL, 'r' },
		{ "json", required_argument, NULL, 'j' },
		{ "check", no_argument, NULL, 'c' },
		{ "quick", no_argument, NULL, 'q' },
		{ "list", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	unsigned int found = 0;
	char *end;
	int opt;

	while ((opt = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		switch (opt) {
		case 'n':
			o->rounds = (unsigned int)strtoul(optarg, &end, 10);
			if (*end || !o->rounds || o->rounds > ROUNDS_MAX)
				bench_fail("--rounds '%s': expected 1 to %d", optarg,
					   ROUNDS_MAX);
			break;
		case 'r':
			o->row = optarg;
			break;
		case 'j':
			o->json = optarg;
			break;
		case 'c':
			o->check = true;
			break;
		case 'q':
			o->quick = true;
			break;
		case 'l':
			for (unsigned int i = 0; i < n_rows; i++)
				printf("%-16s %s\n", rows[i].name, rows[i].what);
			exit(0);
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			bench_fail("see --help");
		}
	}
	if (optind < argc)
		bench_fail("'%s': expected options only, see --help", argv[optind]);
	for (unsigned int i = 0; i < n_rows; i++)
		found += !fnmatch(o->row, rows[i].name, 0);
	if (!found)
		bench_fail("--row '%s': expected the name of a row, see --list", o->row);
}

/* Every probe once, each round beginning with another one.  Returns the largest share of a
 * measurement that was lost to others. */
static double round_run(struct result *r, unsigned int round)
{
	unsigned int n = r->row->n_probes;
	double lost = 0;

	for (unsigned int k = 0; k < n; k++) {
		unsigned int i = (k + round) % n;
		struct sample *s = &r->sample[i][round];

		if (*r->absent[i])
			continue;
		memset(s, 0, sizeof(*s));
		if (r->row->probes[i].run(&r->row->probes[i], s) == BENCH_ABSENT)
			snprintf(r->absent[i], sizeof(r->absent[i]), "%s", bench_why());
		if (s->lost > lost)
			lost = s->lost;
	}
	return lost;
}

/* In a quick run no larger than it has to be for every request to have memory of its own. */
static size_t row_set(const struct row *row, const struct options *o)
{
	size_t set = QUICK_SET;

	for (unsigned int i = 0; i < row->n_probes; i++)
		if (set < row->probes[i].size * row->probes[i].depth)
			set = row->probes[i].size * row->probes[i].depth;
	return o->quick && set < row->set ? set : row->set;
}

static void row_run(struct result *r, const struct row *row, const struct options *o)
{
	unsigned int rounds = row->once ? 1 : o->rounds, most = NOISE_FACTOR * o->rounds;
	struct noise noise;
	double lost;

	memset(r, 0, sizeof(*r));
	r->row = row;
	broker_open(row_set(row, o), row->spin ? row->spin : "20us");
	bench.warming = true;
	round_run(r, 0);
	bench.warming = false;
	while (r->rounds < rounds && !r->gave_up) {
		noise_start(&noise, broker.daemon.pid);
		lost = round_run(r, r->rounds);
		if (o->quick ||
		    noise_quiet(&noise, broker.daemon.pid, lost, r->noise, sizeof(r->noise)))
			r->rounds++;
		else if (++r->noisy >= (most < NOISE_MIN ? NOISE_MIN : most))
			r->gave_up = true;
	}
	broker_close();
}

static json_t *head_json(const struct options *o)
{
	char date[32];
	time_t now = time(NULL);

	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	return json_pack("{s:s, s:s, s:o, s:i, s:I, s:b}", "date", date, "version",
			 AMUX_VERSION, "machine", machine_json(), "rounds", (int)o->rounds,
			 "measure_ns", (json_int_t)bench.measure_ns, "quick", o->quick);
}

static void head_print(const json_t *head)
{
	const json_t *m = json_object_get(head, "machine");

	printf("%s, %s, %lld cores, %s, Linux %s; medians of %lld rounds (smallest..largest), "
	       "%lld ms each\n",
	       json_string_value(json_object_get(head, "date")),
	       json_string_value(json_object_get(m, "cpu")),
	       (long long)json_integer_value(json_object_get(m, "cores")),
	       json_string_value(json_object_get(m, "memory")),
	       json_string_value(json_object_get(m, "kernel")),
	       (long long)json_integer_value(json_object_get(head, "rounds")),
	       (long long)(bench.measure_ns / 1000000));
}

int main(int argc, char **argv)
{
	struct options o = { .rounds = 7, .row = "*" };
	static struct result result;
	unsigned int missed = 0, gave_up = 0;
	json_t *head, *all = json_array();

	options_read(&o, argc, argv);
	tap_init(argc, argv, LIMIT_S);
	prctl(PR_SET_PDEATHSIG, SIGTERM); /* a group of its own hears no Ctrl-C: make ends it */
	own_pid = getpid();
	machine_open();
	if (o.quick)
		bench.measure_ns = QUICK_NS;
	head = head_json(&o);
	head_print(head);
	for (unsigned int i = 0; i < n_rows; i++) {
		if (fnmatch(o.row, rows[i].name, 0))
			continue;
		row_run(&result, &rows[i], &o);
		json_array_append_new(all, report_row(&result, &missed));
		fflush(stdout);
		gave_up += result.gave_up;
	}
	puts("requests and bytes by the broker's own counters: as measured, in each "
	     "measurement");
	json_object_set_new(head, "rows", all);
	json_object_set_new(head, "missed", json_integer(missed));
	if (o.json && json_dump_file(head, o.json, JSON_INDENT(1)))
		bench_fail("%s: cannot be written: %s", o.json, strerror(errno));
	json_decref(head);
	if (gave_up) {
		fprintf(stderr, "bench-peers: the machine was not quiet: %u rows lack rounds\n",
			gave_up);
		return EXIT_NOISY;
	}
	if (missed)
		fprintf(stderr, "bench-peers: %u targets missed, see MISSED above\n", missed);
	return missed && o.check ? EXIT_MISSED : 0;
}
