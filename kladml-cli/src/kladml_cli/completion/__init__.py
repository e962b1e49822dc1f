"""Completion in the shell: commands, options, and the names of what there is.

```text
attach ──▶ what an argument or option takes, by a word; imports nothing
answering ──▶ shells ──▶ lines        what the shell asks, how it is answered, and quoting
                └──▶ kladml.bash, kladml.zsh, kladml.fish
addresses, settings, files ──▶ surroundings
```

Completing reads only what is quick to read, writes nothing, and says nothing if something is wrong.
"""
