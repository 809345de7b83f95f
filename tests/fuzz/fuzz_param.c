// SPDX-License-Identifier: MIT
/*
 * fuzz_param.c - a policy's parameters, and then that policy at work: whatever values it was
 * let in with and whatever it is shown, the plan that comes out is one that plan_clamp() has
 * nothing to say about.
 *
 * Input: POLICY UNIT, lines of "KEY VALUE", a NUL, bytes of a view.
 */
#include "../../broker/param.h"
#include "../../broker/plan.h"
#include "input.h"

#define EPOCHS 4

/* What is written in a unit is read as the same number. */
static void judge_number(const char *text, enum amux_unit unit)
{
	char err[200] = "", written[40];
	uint64_t value, again;

	if (param_parse(text, unit, &value, err, sizeof(err))) {
		must(err[0] && !strchr(err, '\n'));
		return;
	}
	param_format(value, unit, written, sizeof(written));
	must(!param_parse(written, unit, &again, err, sizeof(err)));
	must(again == value);
}

static void set_params(const struct amux_policy_ops *ops, uint64_t *values, char *text,
		       enum amux_unit unit)
{
	char err[400], *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, ' ');

		if (value)
			*value++ = '\0';
		else
			value = line + strlen(line);
		judge_number(value, unit);
		err[0] = '\0';
		if (policy_set_param(ops, values, line, value, err, sizeof(err)))
			must(err[0] && !strchr(err, '\n'));
	}
	for (unsigned int i = 0; i < ops->n_params; i++)
		must(values[i] >= ops->params[i].min && values[i] <= ops->params[i].max);
}

/* The core fills in the counts and the ids; all else may be anything. */
static void make_view(struct amux_view *v, struct input *in, uint64_t now)
{
	size_t head = offsetof(struct amux_view, tenants);

	input_bytes(in, v, head);
	v->abi = AMUX_POLICY_ABI;
	v->n_devices %= AMUX_POLICY_DEVS + 1;
	v->n_tenants %= 4;
	v->now_ns = now;
	v->epoch_ns = 100000 + v->epoch_ns % 10000000000ull;
	v->time_scale = 1 + v->time_scale % 100000;
	for (unsigned int d = 0; d < v->n_devices; d++)
		v->devices[d].engines %= 9;
	input_bytes(in, v->tenants, v->n_tenants * sizeof(v->tenants[0]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct amux_view view;
	struct input in = { data, size };
	const struct amux_policy_ops *ops;
	uint64_t values[AMUX_POLICY_PARAMS], now = 1000000000;
	unsigned int n = 0, which = input_u8(&in), unit = input_u8(&in);
	struct mux_stats stats = { 0 };
	struct planner planner;
	struct amux_plan plan;
	char err[400] = "", *text;
	size_t len;

	while (amux_policies[n])
		n++;
	ops = amux_policies[which % n];
	policy_defaults(ops, values);
	len = strnlen((const char *)in.at, in.left);
	text = strndup((const char *)in.at, len);
	must(text);
	set_params(ops, values, text, unit % (AMUX_UNIT_PAGES + 1));
	free(text);
	in.at += len;
	in.left -= len;
	input_u8(&in);
	if (policy_check(ops, values, err, sizeof(err))) {
		must(err[0] && !strchr(err, '\n'));
		return 0;
	}
	must(!plan_init(&planner, ops, values, &stats));
	for (unsigned int i = 0; i < EPOCHS; i++) {
		make_view(&view, &in, now);
		plan_epoch(&planner, &view);
		plan_read(&planner, &plan);
		must(!plan_clamp(&plan, &view));
		must(!planner.reverted);
		now += view.epoch_ns;
	}
	plan_fini(&planner);
	return 0;
}
