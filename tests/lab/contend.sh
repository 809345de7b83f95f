# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# contend.sh - the seed observation in a guest: guest/test_contend.sh for longer, and of what
# broker and model counted a table and a picture.

# Between two looks, from the broker's status: per class MB/s by engine, in all, and, of the
# kernel class, p50 and p99 of a batch in ms.
contend_query='
def class($s; $c): $s.classes[] | select(.class == $c);
def buckets($s): [class($s; "kernel").batch.buckets[]?];
def between($b; $e): [buckets($e)[] | . as $x
	| [$x[0], $x[1] - ([buckets($b)[] | select(.[0] == $x[0])[1]][0] // 0)]];
def quantile($q): (map(.[1]) | add // 0) as $n
	| if $n == 0 then 0 else
		(reduce .[] as $x ({ seen: 0, at: 0 };
			if .at == 0 and .seen + $x[1] >= $q * $n then { seen: .seen, at: $x[0] }
			else .seen += $x[1] end)).at / 1e6 end;
.[0] as $b | .[1] as $e | ($e.uptime_ns - $b.uptime_ns) as $t
| def rate($c; $f): ((class($e; $c)[$f] // 0) - (class($b; $c)[$f] // 0)) * 1000 / $t;
[$t, rate("kernel"; "engine_bytes"), rate("kernel"; "finished_bytes"),
 rate("user"; "engine_bytes"),
 (between($b; $e) | quantile(0.5)), (between($b; $e) | quantile(0.99))] | @tsv'

# model_bytes FILE kernel|user
model_bytes()
{
	awk -v who="$2" '$1 == "wq" && (($2 < 4) == (who == "kernel")) {
		for (i = 3; i < NF; i++) if ($i == "bytes") n += $(i + 1) } END { print n + 0 }' "$1"
}

# contend_rows DIR: policy, sides, kernel engine MB/s, kernel MB/s, user MB/s, p50, p99, kernel and
# user MB/s by the model
contend_rows()
{
	for policy in shared partitioned dynamic; do
		for sides in kernel user kernel+user; do
			at=$1/$policy.$sides
			row=$(in_root jq -rs "$contend_query" <<-EOF || return 1
			$(cat "$at.begin.json" "$at.end.json")
			EOF
			)
			ns=$(echo "$row" | cut -f 1)
			for who in kernel user; do
				from=$(model_bytes "$at.begin.dsa" $who) to=$(model_bytes "$at.end.dsa" $who)
				row="$row	$(awk "BEGIN { print ($to - $from) * 1000 / $ns }")"
			done
			echo "$policy	$sides	$(echo "$row" | cut -f 2-)"
		done
	done
}

contend_table()
{
	echo "| policy | | kernel MB/s by engine | in all | batch p50 ms | p99 ms | tenant MB/s | model: kernel, tenant MB/s |"
	echo "|---|---|---|---|---|---|---|---|"
	awk -F '\t' '{
		printf "| %s | %s | %.1f | %.1f | %.0f | %.0f | %.1f | %.1f, %.1f |\n", $1,
			$2 == "kernel" ? "kernel alone" : $2 == "user" ? "tenant alone" : "both",
			$3, $4, $6, $7, $5, $8, $9 }' "$1"
}

contend_picture()
{
	awk -F '\t' '
		{ k[$1, $2] = $3; u[$1, $2] = $5 }
		END {
			print "\"each alone\"", k["shared", "kernel"], u["shared", "user"]
			for (i = 1; i <= split("shared partitioned dynamic", p, " "); i++)
				print p[i], k[p[i], "kernel+user"], u[p[i], "kernel+user"]
		}' "$1" >"$AMUX_LAB_DIR/root/contend-$$"
	in_root gnuplot <<-EOF
	set terminal svg size 640,360 font "sans,12"
	set title "One device, a migration load and a saturating tenant (device model, time_scale 1000)"
	set style data histogram
	set style histogram clustered gap 1
	set style fill solid 0.8 border -1
	set ylabel "MB/s by engine (modelled GB/s)"
	set yrange [0:*]
	set grid y
	plot "/contend-$$" using 2:xtic(1) title "kernel migration", "" using 3 title "tenant"
	EOF
	rm -f "$AMUX_LAB_DIR/root/contend-$$"
}

# What only this needs in the root directory
contend_tools()
{
	in_root sh -c 'command -v jq && command -v gnuplot' >/dev/null ||
		in_root apt-get install -y -qq --no-install-recommends jq gnuplot-nox \
			>"$AMUX_LAB_DIR/root.log" 2>&1
}

# lab_contend: on the newest kernel; the table on standard output, the picture in docs
lab_contend()
{
	contend_tools || die "jq and gnuplot cannot be installed: see $AMUX_LAB_DIR/root.log"
	looks=$O/lab/7/contend
	rm -rf "$looks"
	mkdir -p "$looks"
	: "${AMUX_LAB_SECONDS:=20}" "${AMUX_LAB_FULL:=1}" "${AMUX_LAB_TIMEOUT:=1200}"
	export AMUX_LAB_SECONDS AMUX_LAB_FULL
	# shellcheck disable=SC2034 # boot.sh looks at it
	AMUX_LAB_DISK=$looks/disk
	lab_run 7 contend || return 1
	tar -C "$looks" -xf "$looks/disk" || return 1
	rm -f "$looks/disk"
	contend_rows "$looks" >"$looks/rows" || return 1
	contend_table "$looks/rows"
	contend_picture "$looks/rows" >"$top/docs/contend.svg"
}
