"""Stand-alone scripts, one small adapter a runtime, run by the interpreter of its environment.

    serve.py ADAPTER.py JOB.json FD        serve.mjs ADAPTER.mjs JOB.json FD

An adapter says its `version()`, and `load(path, outputs)`s a file into a callable from feeds to
outputs, by tensor name; `outputs` names the graph's own in order, for runtimes that rename them. Nothing here imports the zoo, and the zoo imports nothing from here: it starts these
files in a process of their own (zoo/runtimes/process.py, which describes the job and the events).
"""
