"""Stand-alone scripts, one small adapter a runtime, run by the interpreter of its environment.

    run.py ADAPTER.py FOLDER        run.mjs ADAPTER.mjs FOLDER

An adapter says its `version()`, and `load(path, outputs)`s a file into a callable from feeds to
outputs, by tensor name; `outputs` names the graph's own in order, for runtimes that rename them.
Nothing here imports the zoo, and the zoo imports nothing from here: it starts these files in a
process of their own (zoo/runtimes/process.py describes what goes in and out).
"""
