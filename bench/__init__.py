"""Benchmarks that anyone can run: `make bench`, or `python -m bench --help`.

environments.py  a virtual environment for each peer, made once under build/bench/
repository.py    the models, as a repository that ours and Triton both serve
servers.py       how each server is started
programs/        what runs inside the servers and peers
load.py          the load: h2load for small messages, a plain channel for large ones
process.py       CPU and memory of a server, read from /proc
scenarios.py     what is measured
report.py        medians, ratios and the table

Only ratios within one run mean anything: machines differ, and one machine differs from hour to hour.
"""
