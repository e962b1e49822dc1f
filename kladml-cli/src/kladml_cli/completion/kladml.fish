# Completion of kladml in fish.
function __kladml_complete
    set -l command (commandline -opc)[1]
    for line in (env COMP_LINE=(commandline -cp | string collect) _KLADML_COMPLETE=fish_complete $command 2>/dev/null)
        set -l parts (string split -m 1 \t -- $line)
        switch $parts[1]
            case file
                __fish_complete_path (commandline -ct)
            case dir
                __fish_complete_directories (commandline -ct)
            case '*'
                echo $parts[2]
        end
    end
end
complete -c kladml -f -k -a '(__kladml_complete)'
