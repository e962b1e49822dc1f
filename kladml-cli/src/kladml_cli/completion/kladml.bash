# Completion of kladml in bash.
_kladml_complete() {
    local line spaces=''
    COMPREPLY=()
    while IFS= read -r line; do
        if [ -z "$spaces" ]; then
            spaces=$line
        else
            COMPREPLY+=("$line")
        fi
    done < <(
        COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORD="$2" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
            _KLADML_COMPLETE=bash_complete "$1" 2>/dev/null
    )
    if [ "$spaces" = nospace ]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}
complete -o nosort -F _kladml_complete kladml 2>/dev/null || complete -F _kladml_complete kladml
