# test/lint/files.sh - sourced by the checks: files PATTERN... lists the files
# of the tree that match, relative to the current directory.  What git ignores
# is not of the tree; without git, build folders are left out by name.
# Names in this tree have no blanks.
files() {
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files -co --exclude-standard "$@"
	else
		for pattern; do
			find . -name "$pattern" -not -path './build*'
		done | sed 's,^\./,,'
	fi | while read -r name; do
		[ ! -e "$name" ] || echo "$name"
	done
}
