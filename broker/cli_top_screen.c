// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_top_screen.c - frames on a terminal, by ncurses: as much of them as fits.
 */
#include "cli_top.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* After the standard headers: it has macros of many names. */
#include <ncurses.h>

#include "clock.h"

#define STEP_NS 500000000ull /* + and - */
#define MIN_NS	100000000ull
#define MAX_NS	(3600 * NSEC_PER_SEC)

struct view {
	char *text; /* the frame, from open_memstream() */
	size_t len;
	int first; /* line shown at the top */
	bool help;
};

static const char keys[] =
	"q quit  s sort  p policy  +/- interval  arrows scroll  space now  h help";

static const char help[] =
	"q          quit\n"
	"s          sort tenants by bytes, wait, declined, queued, name\n"
	"b w d n    ... by bytes, wait, declined, name\n"
	"p          the policy's parameters, and back; accelmux policy set changes them\n"
	"+ -        longer, shorter interval\n"
	"arrows     scroll, by lines or with the page keys by pages\n"
	"space      a sample at once\n"
	"h          this, and back\n"
	"\n"
	"ENGINE and CPU are bytes a second; WAIT is of the last interval; LENT is what users\n"
	"borrow of the kernel class's reserve; vs ALONE and vs CPU are since the start.\n";

static int frame_make(const struct top *t, struct view *v)
{
	FILE *f;

	free(v->text); /* open_memstream() */
	v->text = NULL;
	f = open_memstream(&v->text, &v->len);
	if (!f)
		return -ENOMEM;
	if (v->help)
		fputs(help, f);
	else
		top_frame(t, f);
	return fclose(f) ? -ENOMEM : 0;
}

static int count_lines(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* One line at row @y, as much as fits; what is not ASCII may be of any width. */
static void draw_line(int y, const char *line, size_t len, attr_t attr)
{
	move(y, 0);
	attrset((int)attr);
	for (size_t i = 0; i < len && (int)i < COLS; i++)
		addch((chtype)(line[i] & 0x80 ? '?' : line[i]));
	attrset(0);
	clrtoeol();
}

static void draw(const struct top *t, struct view *v)
{
	const char *line = v->text ? v->text : "out of memory\n", *end;
	int rows = LINES > 1 ? LINES - 1 : LINES, last = count_lines(line) - rows, y = 0, n = 0;
	attr_t attr = t->now.status ? A_BOLD : A_STANDOUT;

	if (v->first > last)
		v->first = last;
	if (v->first < 0)
		v->first = 0;
	erase();
	for (; *line; line = end + 1, n++) {
		end = strchrnul(line, '\n');
		if (n >= v->first && y < rows)
			draw_line(y++, line, (size_t)(end - line), attr);
		attr = end == line ? A_BOLD : A_NORMAL;
		if (!*end)
			break;
	}
	if (LINES > 1)
		draw_line(LINES - 1, keys, strlen(keys), A_REVERSE);
	refresh();
}

static void interval_add(struct top *t, int64_t ns)
{
	int64_t v = (int64_t)t->interval_ns + ns;

	t->interval_ns = v < (int64_t)MIN_NS   ? MIN_NS
			 : v > (int64_t)MAX_NS ? MAX_NS
					       : (uint64_t)v;
}

enum act { ACT_NONE, ACT_DRAW, ACT_SAMPLE, ACT_QUIT };

static enum act key_act(struct top *t, struct view *v, int key)
{
	switch (key) {
	case 'q':
	case 'Q':
		return ACT_QUIT;
	case 's':
		t->sort = (t->sort + 1) % TOP_SORTS;
		return ACT_DRAW;
	case 'b':
		t->sort = TOP_BYTES;
		return ACT_DRAW;
	case 'w':
		t->sort = TOP_WAIT;
		return ACT_DRAW;
	case 'd':
		t->sort = TOP_DECLINED;
		return ACT_DRAW;
	case 'n':
		t->sort = TOP_NAME;
		return ACT_DRAW;
	case 'p':
		t->params = !t->params;
		v->help = false;
		return ACT_SAMPLE;
	case 'h':
	case '?':
		v->help = !v->help;
		v->first = 0;
		return ACT_DRAW;
	case '+':
		interval_add(t, STEP_NS);
		return ACT_DRAW;
	case '-':
		interval_add(t, -(int64_t)STEP_NS);
		return ACT_DRAW;
	case ' ':
		return ACT_SAMPLE;
	case KEY_UP:
		v->first--;
		return ACT_DRAW;
	case KEY_DOWN:
		v->first++;
		return ACT_DRAW;
	case KEY_PPAGE:
		v->first -= LINES;
		return ACT_DRAW;
	case KEY_NPAGE:
		v->first += LINES;
		return ACT_DRAW;
	case KEY_HOME:
		v->first = 0;
		return ACT_DRAW;
	case KEY_RESIZE:
		return ACT_DRAW;
	default:
		return ACT_NONE;
	}
}

static int run(struct top *t)
{
	struct view v = { 0 };
	uint64_t next = clock_ns(), frames = 0, now;
	enum act act = ACT_DRAW;
	int code = CLI_OK, key;

	while (act != ACT_QUIT) {
		now = clock_ns();
		if (act == ACT_SAMPLE || now >= next) {
			if (t->count && frames++ == t->count)
				break;
			top_sample(t);
			next = clock_ns() + t->interval_ns;
			act = ACT_DRAW;
		}
		if (act == ACT_DRAW) {
			if (frame_make(t, &v)) {
				code = cli_fail(CLI_FAILED, "top: %s", strerror(ENOMEM));
				break;
			}
			draw(t, &v);
		}
		now = clock_ns();
		timeout(next > now ? (int)((next - now) / 1000000) + 1 : 0);
		errno = 0;
		key = getch();
		act = key == ERR ? ACT_NONE : key_act(t, &v, key);
	}
	free(v.text); /* frame_make() */
	return code;
}

int top_screen(struct top *t)
{
	const char *term = getenv("TERM");
	SCREEN *screen = newterm(NULL, stdout, stdin);
	int code;

	if (!screen)
		return cli_fail(CLI_FAILED,
				"top: TERM = '%s': expected a terminal that is known; --plain "
				"needs none",
				term ? term : "");
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	(void)curs_set(0);
	code = run(t);
	endwin();
	delscreen(screen);
	return code;
}
