# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# bash completion for convert-run(1): its options, then a program with its own.

_convert_run() {
	local word=${COMP_WORDS[COMP_CWORD]}
	local -a kind=(-A command)
	local i option=

	for ((i = 1; i < COMP_CWORD; i++)); do
		option=${COMP_WORDS[i]}
		case $option in
		-c | -a | -p | --root) [[ ${COMP_WORDS[i + 1]-} = '=' ]] || ((i += 1)) ;;
		--) ((i += 1)) && break ;;
		-*) ;;
		*) break ;;
		esac
		# bash cuts words at = and at :, which it has for words, too
		while ((i < COMP_CWORD)) && [[ ${COMP_WORDS[i + 1]} = [=:]* ]]; do ((i += 2)); done
	done
	if ((i + 1 == COMP_CWORD)) && [[ ${COMP_WORDS[i]} = @(enable|disable) && ${COMP_WORDS[i - 1]} != -- ]]; then
		local units
		units=$(cd /usr/lib/systemd/system 2> /dev/null && printf '%s ' *.service)
		kind=(-W "$units")
	elif ((i < COMP_CWORD)); then # the program's own words
		if declare -F _command_offset > /dev/null; then
			_command_offset "$i"
			return
		fi
		kind=(-A file)
	elif ((i > COMP_CWORD)); then # what the option is given
		kind=(-A file)
		[[ $option != -[ap] ]] || kind=(-W '')
		[[ $word != [=:]* ]] || word=
	else
		case $option:$word in
		*:-*) kind=(-W '-c -a -p -v --verbose -q --quiet --receipt --strict --any --preload --root -h --help -V --version --') ;;
		*:*/*) kind=(-A file) ;;
		--:*) ;;
		*) kind=(-A command -W 'enable disable') ;;
		esac
	fi
	[ "${kind[1]}" != file ] || compopt -o filenames 2> /dev/null
	mapfile -t COMPREPLY < <(compgen "${kind[@]}" -- "$word")
}

complete -F _convert_run convert-run
