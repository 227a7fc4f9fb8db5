# Reads `nm -u` of a PURE archive; fails on any symbol pure code may not need.
# (Plain builds only: sanitizers add symbols of their own.)
$1 == "U" {
	impure = "^kr_(io|work|log|store|metric|metrics|config|clock|limits)_"
	ours   = $2 ~ /^kr_/ && $2 !~ impure
	string = $2 ~ /^(mem(cpy|move|set|cmp)|strlen)$/
	traps  = $2 ~ /^__(assert_fail|stack_chk_fail)$/
	if (!ours && !string && !traps) {
		print "not pure: needs " $2
		bad = 1
	}
}
END { exit bad }
