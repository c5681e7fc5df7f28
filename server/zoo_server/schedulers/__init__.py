"""Which requests are run together, when, and on which thread.

scheduler.py         what stands before a loaded model (Scheduler), and what it drives (Runner)
dynamic_batcher.py   whoever finds the model idle runs at once with whatever waits
batch_queue.py       its policy: pure, values in and a decision out, tested without threads or clocks
latency_model.py     how long runs take, and how many rows are worth running together
sequence_batcher.py  requests that belong together: in order, with their state
timer.py             wakes a scheduler whose policy said "not yet"
"""
