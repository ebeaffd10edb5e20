# SPDX-License-Identifier: MIT
# fish completion for convert-run(1).

complete -c convert-run -x -a '(__fish_complete_subcommand -- -c -a -p --root)'
complete -c convert-run -n __fish_use_subcommand -a enable -d 'have systemd start a service so'
complete -c convert-run -n __fish_use_subcommand -a disable -d 'not any more'
complete -c convert-run -s c -r -F -d 'the configuration'
complete -c convert-run -s a -x -d 'the converter'
complete -c convert-run -s p -x -d 'its port'
complete -c convert-run -s q -l quiet -d 'do not say what stands in the way'
complete -c convert-run -l receipt -d 'say when it has ended what became of its connections'
complete -c convert-run -l strict -d 'not start if something does, and no connection is direct'
complete -c convert-run -l root -x -a '(__fish_complete_directories)' -d 'a system for enable and disable'
complete -c convert-run -n '__fish_seen_subcommand_from enable disable' -f -d service \
	-a '(string replace -r ".*/(.*)\.service\$" "\$1" /usr/lib/systemd/system/*.service)'
complete -c convert-run -l any -d 'by a supervisor, which reaches every program'
complete -c convert-run -l preload -d 'by the library alone'
complete -c convert-run -s v -l verbose -d 'say what happens to each connection'
complete -c convert-run -s h -l help -d 'a short help'
complete -c convert-run -s V -l version -d 'the version'
