// SPDX-License-Identifier: MIT
/*
 * fuzz_rpc.c - a line on the control socket: whatever it is, one line of JSON answers it, or
 * nothing (notifications).
 */
#include <jansson.h>

#include "../../broker/rpc.h"
#include "../unit/fake_broker.h"
#include "input.h"

static struct broker broker;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fake_init(&broker);
	fake_tenant(&broker, "uid:0", 1, 4096);
	fake_tenant(&broker, "db", 10, UINT64_MAX);
	broker.kernel = true;
	broker.source = "replay:/x";
	broker.trace = "synthetic";
	strcpy(broker.reverted, "policy x returned -EIO");
	return 0;
}

static void judge_answer(const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error");

	must(json_is_object(answer));
	must(json_object_get(answer, "id"));
	must(!json_object_get(answer, "result") == !!error);
	must(!error || (json_is_integer(json_object_get(error, "code")) &&
			json_is_string(json_object_get(error, "message"))));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *parsed, *one;
	char *answer;
	size_t i;

	if (!size || size > RPC_REQUEST_MAX)
		return 0;
	answer = rpc_answer(&broker, (const char *)data, size, NULL);
	if (!answer)
		return 0;
	must(strchr(answer, '\n') == answer + strlen(answer) - 1);
	parsed = json_loads(answer, 0, NULL);
	must(parsed);
	if (json_is_array(parsed)) {
		json_array_foreach(parsed, i, one) judge_answer(one);
	} else {
		judge_answer(parsed);
	}
	json_decref(parsed);
	free(answer);
	return 0;
}
