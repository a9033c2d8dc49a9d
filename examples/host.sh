#!/usr/bin/env bash
# A complete host in bash and grep: load, tokenize, stream a text, cancel another.
set -euo pipefail
model=$(realpath "${1:-models/novel-7m}")
coproc TANDEM { exec "${TANDEM:-build/tandem}"; }
exec {to}>&"${TANDEM[1]}" {from}<&"${TANDEM[0]}" # the shell forgets the array when tandem ends
pid=$TANDEM_PID
eval "exec ${TANDEM[1]}>&-" # ours is then the only copy, and closing it is an end of input

send() { printf '{"jsonrpc":"2.0","id":%d,"method":"%s","params":{%s}}\n' "$1" "$2" "$3" >&"$to"; }

# Print the text of every chunk on the way to the line that matches; leave that in $line.
read_until() {
	while IFS= read -r line <&"$from"; do
		case $line in *'"stream.chunk"'*)
			text=$(grep -oP '"token":"\K(\\.|[^"\\])*' <<<"$line" | tr -d '\n'; echo .)
			printf '%b' "${text%.}" ;;
		esac
		[[ $line != *"$1"* ]] || return 0
	done
	return 1
}
field() { grep -oP "\"$1\":\\K(\"[^\"]*\"|\[[^]]*\]|[^,}]*)" <<<"$line" | head -n1; }

send 1 load_model "\"model_id\":\"novel\",\"local_path\":\"$model\""
read_until '"id":1,'
echo "loaded: $(field state)"
send 2 tokenize '"model_id":"novel","text":"It was a cold evening"'
read_until '"id":2,'
echo "tokens: $(field tokens)"
send 3 generate '"model_id":"novel","prompt":"It was a cold evening","max_tokens":40,"seed":1,"stream_id":"a"'
read_until '"stream.event"'
printf '\nended: %s\n' "$(field finish_reason)"
send 4 generate '"model_id":"novel","prompt":"Once upon a time","max_tokens":400,"ignore_eos":true,"stream_id":"b"'
read_until '"id":4,' # cancelled before this, it would be answered with an error and no stream
send 5 cancel '"stream_id":"b"'
read_until '"stream.event"'
printf '\nended: %s\n' "$(field finish_reason)"
exec {to}>&- # the end of input is the end of tandem
wait "$pid"
