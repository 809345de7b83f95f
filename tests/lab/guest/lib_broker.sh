# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# lib_broker.sh - for shell tests with a broker in the guest, whose process number is in broker.
export ACCELMUX_SOCKET=/tmp/amux.sock ACCELMUX_CONTROL=/tmp/control.sock

# broker_conf: /tmp/broker.conf, what is read from standard input behind where it is found
broker_conf()
{
	cat - >/tmp/broker.rest
	cat - /tmp/broker.rest >/tmp/broker.conf <<-END
	[broker]
	socket = /tmp/amux.sock
	control = /tmp/control.sock
	END
}

# broker_start: until it serves; the last line that it said is "$(broker_said)"
broker_start()
{
	accelmuxd --config /tmp/broker.conf >/tmp/broker.log 2>&1 &
	broker=$!
	i=0
	# It attaches before it serves: only then does it drain when it is told to end.
	while ! accelmux status >/dev/null 2>&1; do
		[ $i -lt 100 ] && kill -0 $broker 2>/dev/null || return 1
		i=$((i + 1))
		sleep 0.1
	done
}

broker_said()
{
	tail -n 1 /tmp/broker.log
}

# broker_end: its exit status
broker_end()
{
	kill $broker
	wait $broker
}

# metric NAME [LABEL]: the sum of a metric's samples that have it, 'engine="1"'
metric()
{
	wget -q -O - http://127.0.0.1:9437/metrics | awk -v name="accelmux_$1{" -v what="${2:-}" \
		'index($1, name) == 1 && (what == "" || index($1, what)) { sum += $2 } END { printf "%.0f\n", sum }'
}
