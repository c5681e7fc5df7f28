"""Benchmarks that anyone can run: `make bench`, or `python -m bench --help`.

environments.py  a virtual environment for each peer, made once under build/bench/
graphs.py        the ONNX graphs, and
repository.py    the models as a repository that ours and Triton both serve
servers.py       how each server is started
programs/        what runs inside the servers and peers
messages.py      the messages, and a client that asks once
answers.py       whether what came back is right
load.py          the load: h2load for small messages, a plain channel for large ones
process.py       CPU and memory of a server, read from /proc
scenarios.py     what is measured
run.py           one run: servers started, driven in turn, and stopped
bars.py          the targets: bounds on ratios
export.py        our files beside other exporters': `python -m bench.export`
layers.py        every layer of the atlas with other exporters: `python -m bench.layers`
peers.py         those exporters
applications.py  every model of keras.applications: `python -m bench.applications`
commands.py      what each command takes: `python -m bench.commands`
quantize.py      the time of smaller variants: `python -m bench.quantize`
goodput.py       answers in time under overload: `python -m bench.goodput`
stall/           what one request does to others: `python -m bench.stall`
workers.py       two workers against one, by itself: `python -m bench.workers`
attacks.py       what good callers see during an attack: `python -m bench.attacks`
many_models.py   ten thousand models loaded on request: `python -m bench.many_models`
object_store.py  a repository in an object store: `python -m bench.object_store`
many_keys.py     a repository in a bucket of a million keys: `python -m bench.many_keys`
rolling_update.py  servers replaced under load, as Kubernetes does it: `python -m bench.rolling_update`
training_workers.py  where the time of two training workers goes: `python -m bench.training_workers`
ray_serve.py     replicas behind Ray Serve beside one server: `python -m bench.ray_serve`
autoscaling.py   autoscaling against a day's requests, simulated: `python -m bench.autoscaling`
metrics_page.py  what a scrape of the metrics costs: `python -m bench.metrics_page`
response_cache.py  what the response cache saves: `python -m bench.response_cache`
lock_holds.py    how long Python's lock is held: `python -m bench.lock_holds`
race.py          sessions timed in turn; random_networks.py: weights for networks that are not trained
report.py        medians, ratios and the tables

Only ratios within one run mean anything: machines differ, and one machine differs from hour to hour.
"""
