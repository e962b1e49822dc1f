"""The terminal user interface, `kladml ui`; it needs textual, the extra `tui`.

```text
app ──▶ runs_screen ──▶ runs_table, tree, prompt        what there is: projects to runs
 │  └─▶ run_screen, compare_screen ──▶ plot             one run, several beside one another
 └────▶ data_screen, configs_screen, plugins_screen, logs_screen, help_screen
all ──▶ base ──▶ reading                                 a screen that reads in the background
```

Only `app` and `runs_screen` are imported at the start; every other screen when it is opened first. Nothing is read on
the thread that paints.
"""
