# SPDX-License-Identifier: MIT
# fish completion for convert-bootstrap(8). A new verb or option is one line here.

function __convert_bootstrap_on
    __fish_seen_subcommand_from $argv
end

complete -c convert-bootstrap -f
complete -c convert-bootstrap -s h -l help -d 'a short help'
complete -c convert-bootstrap -n __fish_use_subcommand -s V -l version -d 'the version'

complete -c convert-bootstrap -n __fish_use_subcommand -a run -d 'ask the converters what they can do'
complete -c convert-bootstrap -n __fish_use_subcommand -a check -d 'what is wrong here, and what mends it'
complete -c convert-bootstrap -n __fish_use_subcommand -a status -d 'what is known of converters and servers'
complete -c convert-bootstrap -n __fish_use_subcommand -a top -d 'who is connected to what, and how'
complete -c convert-bootstrap -n __fish_use_subcommand -a flush -d 'forget all of it'
complete -c convert-bootstrap -n __fish_use_subcommand -a forget -d 'forget one server'
complete -c convert-bootstrap -n __fish_use_subcommand -a pin -d 'never learn what a server speaks'
complete -c convert-bootstrap -n __fish_use_subcommand -a fetch -d 'a configuration by HTTPS'
complete -c convert-bootstrap -n __fish_use_subcommand -a explain -d 'can the library work in a program'
complete -c convert-bootstrap -n __fish_use_subcommand -a map -d 'keep ports open at the converters'

complete -c convert-bootstrap -n '__convert_bootstrap_on run check status top flush forget pin fetch map' -s c -r -F -d 'the configuration'
complete -c convert-bootstrap -n '__convert_bootstrap_on check status top explain map' -s j -l json -d 'for programs'
complete -c convert-bootstrap -n '__convert_bootstrap_on run map' -s v -l verbose -d 'say more'
complete -c convert-bootstrap -n '__convert_bootstrap_on run' -s w -l watch -d 'stay, and ask again'
complete -c convert-bootstrap -n '__convert_bootstrap_on top' -s d -l delay -x -d 'seconds between two looks'
complete -c convert-bootstrap -n '__convert_bootstrap_on top' -l once -d 'once, as text'
complete -c convert-bootstrap -n '__convert_bootstrap_on check' -l config -d 'the configuration alone'
complete -c convert-bootstrap -n '__convert_bootstrap_on check' -l explain -d 'where a connection would go'
complete -c convert-bootstrap -n '__convert_bootstrap_on check' -l library -r -F -d 'the library to try'
complete -c convert-bootstrap -n '__convert_bootstrap_on check' -l app -x -a '(__fish_complete_command)' -d 'of this program'
complete -c convert-bootstrap -n '__convert_bootstrap_on check' -a '(__fish_print_hostnames)'
complete -c convert-bootstrap -n '__convert_bootstrap_on pin' -a 'mptcp tcp'
complete -c convert-bootstrap -n '__convert_bootstrap_on fetch' -s n -l dry-run -d 'show, and change nothing'
complete -c convert-bootstrap -n '__convert_bootstrap_on fetch' -s q -l quiet -d 'show nothing'
complete -c convert-bootstrap -n '__convert_bootstrap_on fetch' -l cacert -r -F -d 'the CA, and no other'
complete -c convert-bootstrap -n '__convert_bootstrap_on fetch' -l max-size -x -d 'bytes'
complete -c convert-bootstrap -n '__convert_bootstrap_on fetch' -l max-time -x -d 'seconds'
complete -c convert-bootstrap -n '__convert_bootstrap_on fetch' -l allow-paths -d 'files that are new may be named'
complete -c convert-bootstrap -n '__convert_bootstrap_on fetch' -l rollback -d 'back to the one before'
complete -c convert-bootstrap -n '__convert_bootstrap_on explain' -F -a '(__fish_complete_command)'
complete -c convert-bootstrap -n '__convert_bootstrap_on map' -s s -l server -x -d 'the PCP server' -a '(__fish_print_hostnames)'
complete -c convert-bootstrap -n '__convert_bootstrap_on map' -s t -l lifetime -x -d 'of a mapping'
