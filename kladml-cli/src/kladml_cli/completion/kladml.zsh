#compdef kladml
# Completion of kladml in zsh.
_kladml() {
    local line kind value
    local -a parts ended open
    while IFS= read -r line; do
        parts=("${(@ps:\t:)line}")
        kind=$parts[1]
        value="${parts[2]//:/\\:}${parts[3]:+:$parts[3]}"
        case $kind in
            space) ended+=("$value") ;;
            nospace) open+=("$value") ;;
            file) _files ;;
            dir) _files -/ ;;
        esac
    done < <(
        COMP_LINE="${(j: :)words[1,CURRENT-1]} ${QIPREFIX}${IPREFIX}${PREFIX}" \
            _KLADML_COMPLETE=zsh_complete ${~words[1]} 2>/dev/null
    )
    (( $#ended )) && _describe -V kladml ended
    (( $#open )) && _describe -V kladml open -S ''
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _kladml "$@"
else
    compdef _kladml kladml
fi
