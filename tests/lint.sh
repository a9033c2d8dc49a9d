#!/usr/bin/env bash
# lint.sh - what a reviewer should not have to say. `make lint` runs it with the compiler's flags
# in FLAGS; `tests/lint.sh headers layers` runs only those rules.
set -u # and no pipefail: a grep that finds nothing is what we hope for
cd "$(dirname "$0")/.."
: "${FLAGS:=-std=c11 -D_GNU_SOURCE -I. -I/usr/include/json-c}"
mapfile -t C < <(git ls-files '*.c')
mapfile -t H < <(git ls-files '*.h')
mapfile -t OURS < <(git ls-files 'controller/*.[ch]' 'worker/*.[ch]' 'protocol/*.[ch]' 'kernels/*.[ch]')

# Any output of a rule is a finding.
findings() { # title, why
	local out
	if out=$(cat) && [ -n "$out" ]; then
		printf '\n%s: %s\n%s\n' "$1" "$2" "$out"
		return 1
	fi
}

layout() { clang-format --dry-run -Werror "${C[@]}" "${H[@]}" 2>&1 | findings layout "run make format"; }

# Calls and globals. The comments of a file may name them.
banned() {
	grep -nwE '(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof|alloca|system|popen|signal)[[:space:]]*\(' \
		"${C[@]}" "${H[@]}" | grep -vE ':[[:space:]]*(\*|/\*|//)' |
		findings banned "use the bounded call, strtol, posix_spawn or sigaction"
}

headers() {
	printf '%s\n' "${H[@]}" | xargs -P2 -I{} sh -c "${CC:-gcc} $FLAGS -Werror -fsyntax-only -x c {} 2>&1" |
		findings headers "each compiles alone"
}

lengths() { wc -l "${C[@]}" "${H[@]}" | awk '$2 != "total" && $1 > 500' | findings lengths "500 lines at most"; }

# A folder includes only what lies below it. The linker checks calls, this checks headers too.
layers() {
	{
		grep -nE '#include "(protocol|worker|controller|tests)/' kernels/*.[ch]
		grep -nE '#include "(kernels|worker|controller|tests)/' protocol/*.[ch]
		grep -rnE '#include "(controller|tests)/' worker
		grep -nE '#include "(worker|kernels|tests)/' controller/*.[ch]
		grep -lE '#include [<"](cblas|openblas)' kernels/*.c worker/*.c worker/*/*.c protocol/*.c controller/*.c | sed 1d
	} 2>/dev/null | findings layers "kernels and protocol at the bottom, worker and controller apart"
}

# The first line of a file says which file it is: `/* name.c - role.`
first_lines() {
	for f in "${OURS[@]}"; do
		head -n1 "$f" | grep -q "^/\* $(basename "$f") - " || echo "$f: $(head -n1 "$f")"
	done | findings first_lines 'line 1 is "/* name.c - role …"'
}

# Nothing that is true on one machine only.
paths() {
	git grep -nIE '/(home|root|[w]ork)/[a-z]' -- . ':!tests/lint.sh' |
		findings paths "of one machine"
}

words() {
	git grep -nIE '\b(TODO|XXX|HACK)\b' -- '*.c' '*.h' '*.py' '*.sh' Makefile ':!tests/lint.sh' |
		findings words "do it, or open an issue"
}

# The analyzer looks into the product only, and gives a function up after a bounded number of
# states: a fifth of the time for nearly all it finds.
tidy() {
	printf '%s\n' "${C[@]}" | grep -vE '^(examples|tests/emulated)/' | xargs -P2 -n1 sh -c '
		case $1 in
		kernels/x86_avx512*) isa="-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma -mf16c" ;;
		kernels/x86_bf16*) isa="-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16 -mavx2 -mfma -mf16c" ;;
		kernels/x86_vnni*) isa="-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c" ;;
		kernels/x86_avx2*) isa="-mavx2 -mfma -mf16c" ;;
		esac
		case $1 in
		tests/*) analyze="--checks=-clang-analyzer-*" ;;
		*) bounded="-Xclang -analyzer-config -Xclang max-nodes=50000" ;;
		esac
		clang-tidy --quiet $analyze "$1" -- '"$FLAGS"' $isa $bounded 2>/dev/null' sh |
		findings tidy "clang-tidy, see .clang-tidy"
}

bad=0
for rule in ${*:-layout banned headers lengths layers first_lines paths words tidy}; do
	"$rule" || bad=1
done
[ $bad = 0 ] && echo "lint: clean (${#C[@]} sources, ${#H[@]} headers)"
exit $bad
