"""Schedulers: which requests run together, when, and on which thread.

scheduler.py         the interfaces of a scheduler (Scheduler) and of what it drives (Runner)
dynamic_batcher.py   a request that finds the model idle runs at once, with all that wait
batch_queue.py       its queue and policy: pure, without threads or clocks
backlog.py           whether a request can be answered before its deadline
latency_model.py     how long runs take, and how many rows are worth running together
sequence_batcher.py  the requests of a sequence: in order, with their state
timer.py             wakes a scheduler whose policy said "not yet"
"""
