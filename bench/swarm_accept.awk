# swarm_accept.awk - hold what was simulated against what it must reach.
#
#	awk -f bench/swarm_accept.awk bench/results/swarm.csv bench/results/*.txt
#
# swarm.csv has a row a run; NAME.txt is what swarm_sim printed of one.  A line
# for each requirement and seed; exits 1 if one is missed.  What was not run at
# the full size is said to be missing, and is not a pass.

BEGIN {
	FS = ","
	# scenario, hosts, column of the CSV, most, what it is
	need("base", 2600, "p50", 1.03, "p50 / bound")
	need("base", 2600, "p99", 1.05, "p99 / bound")
	need("base", 2600, "p999", 1.07, "p99.9 / bound")
	need("base", 2600, "copies", 2, "copies sent by origins")
	need("base", 2600, "control", 0.002, "control bytes / payload")
	need("jitter0", 2600, "p999", 1.10, "p99.9 / bound")
	need("jitter2", 2600, "p999", 1.10, "p99.9 / bound")
	need("n15000", 15000, "p999", 1.10, "p99.9 / bound")
	need("big", 10000, "p999", 1.25, "p99.9 / bound: 80 % of the cap")
	need("single", 2600, "p999", 1.13, "p99.9 / bound")
	need("origin_loss", 2600, "p999", 1.15, "p99.9 / bound")
	need("sick", 2600, "p999", 1.15, "p99.9 of the healthy / bound")
	need("flash", 2600, "p999", 1.15, "p99.9 / bound")
	need("zones", 2600, "p99", 1.30, "p99 / bound")
	need("zones", 2600, "crossed", 2, "copies that crossed into a zone")
	need("streaming", 2600, "first", 0.5, "p99.9 of the first byte, s")
	need("streaming", 2600, "cost", 1.07, "last host / the same of base")
	# Kraken published 10, 18 and 22 s
	need("kraken120", 2600, "of10", 1.15, "model: p50 / 10 s or its inverse")
	need("kraken120", 2600, "of18", 1.15, "model: p99 / 18 s or its inverse")
	need("kraken120", 2600, "of22", 1.15, "model: p99.9 / 22 s or its inverse")
}

function need(name, hosts, column, most, what)
{
	needs++
	n_name[needs] = name; n_hosts[needs] = hosts; n_column[needs] = column
	n_most[needs] = most; n_what[needs] = what
}

function apart(a, b)
{
	return a > b ? a / b : b / a
}

FNR == 1 { table = FILENAME ~ /\.txt$/; run = "" }

!table && $1 != "scenario" {
	run = $1 "," $2 "," $3
	runs[run] = 1
	value[run, "p50"] = $4 / $8
	value[run, "p99"] = $5 / $8
	value[run, "p999"] = $9
	value[run, "copies"] = $10
	value[run, "control"] = $11
	value[run, "of10"] = apart($4, 10)
	value[run, "of18"] = apart($5, 18)
	value[run, "of22"] = apart($6, 22)
}

# "base: 2600 hosts, 5 origins, ..., seed 1"
table && match($0, /^[a-z0-9_]+: [0-9]+ hosts/) {
	split($0, word, /[: ,]+/)
	match($0, /seed [0-9]+$/)
	run = word[1] "," word[2] "," substr($0, RSTART + 5)
}
table && /since first start/ { split($0, word, " "); end_s[run] = word[9] }
table && /first byte/ { split($0, word, " "); value[run, "first"] = word[7] }
table && /into zones from others/ {
	count = split($0, word, " ")
	for (i = count; word[i] + 0 > 0; i--)
		if (word[i] + 0 > value[run, "crossed"] + 0)
			value[run, "crossed"] = word[i]
}

END {
	for (run in end_s) {
		base = run
		if (sub(/^streaming,/, "base,", base) && base in end_s)
			value[run, "cost"] = end_s[run] / end_s[base]
	}
	for (i = 1; i <= needs; i++) {
		seen = 0
		for (run in runs) {
			if (index(run, n_name[i] "," n_hosts[i] ",") != 1 ||
			    !((run, n_column[i]) in value))
				continue
			seen++
			seed = run
			sub(/.*,/, "", seed)
			ok = value[run, n_column[i]] + 0 <= n_most[i]
			failed += !ok
			printf "%-7s %-12s %6d hosts, seed %d: %.5g of at most %g (%s)\n",
				ok ? "ok" : "MISSED", n_name[i], n_hosts[i], seed,
				value[run, n_column[i]], n_most[i], n_what[i]
		}
		if (!seen) {
			missing++
			printf "not run %-12s %6d hosts: %s\n", n_name[i], n_hosts[i], n_what[i]
		}
	}
	printf "%d requirements, %d missed, %d not run\n", needs, failed, missing
	exit failed > 0
}
