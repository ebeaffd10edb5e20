# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# bash completion for convert-bootstrap(8). A new verb or option is one word or line here.

declare -gA _convert_bootstrap_options=(
	[run]='-c -v --verbose -w --watch'
	[check]='-c -j --json --config --explain --library --app'
	[status]='-c -j --json'
	[top]='-c -d --delay --once -j --json'
	[flush]='-c'
	[forget]='-c'
	[pin]='-c'
	[fetch]='-c -n --dry-run -q --quiet --cacert --max-size --max-time --allow-paths --rollback'
	[explain]='-j --json'
	[map]='-c -j --json -v --verbose -s --server -t --lifetime'
)

_convert_bootstrap() {
	local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]}
	local -a kind

	case ${COMP_WORDS[COMP_CWORD - 1]} in
	-c | --cacert | --library) kind=(-A file) ;;
	--app) kind=(-A command) ;;
	-s | --server) kind=(-A hostname) ;;
	--max-size | --max-time | -d | --delay | -t | --lifetime) kind=(-W '') ;;
	*)
		case $COMP_CWORD-$verb-$word in
		1-*) kind=(-W "${!_convert_bootstrap_options[*]} -h --help -V --version") ;;
		*-*--*) kind=(-W "${_convert_bootstrap_options[$verb]-} -h --help") ;;
		*-check-*) kind=(-A hostname) ;;
		*-map-[0-9]*) kind=(-W '') ;;
		*-pin-*) kind=(-W 'mptcp tcp') ;;
		*-fetch-*) kind=(-W 'https://') ;;
		*-explain-*/*) kind=(-A file) ;;
		*-explain-*) kind=(-A command) ;;
		*) kind=(-W "${_convert_bootstrap_options[$verb]-} -h --help") ;;
		esac
		;;
	esac
	[ "${kind[1]}" != file ] || compopt -o filenames 2> /dev/null
	mapfile -t COMPREPLY < <(compgen "${kind[@]}" -- "$word")
}

complete -F _convert_bootstrap convert-bootstrap
