# Reads `nm -u` of a PURE archive; fails on any symbol pure code may not need.
# (Plain builds only: sanitizers add symbols of their own.)
$1 == "U" {
	impure = "^kr_(io|work|log|store|metric|metrics|config|clock|limits|addr_resolve|alloc_heap)(_|$)"
	ours   = $2 ~ /^kr_/ && $2 !~ impure
	string = $2 ~ /^(mem(cpy|move|set|cmp)|bcmp|strlen)$/
	traps  = $2 ~ /^__stack_chk_fail$/
	gcc    = $2 ~ /^__popcountdi2$/ # libgcc: a count of bits
	if (!ours && !string && !traps && !gcc) {
		print "not pure: needs " $2
		bad = 1
	}
}
END { exit bad }
