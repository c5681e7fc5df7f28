"""Which requests are run together, when, and on which thread.

queue.py      the policy: pure, values in and a decision out, tested without threads or clocks
scheduler.py  the shell: whoever finds the model idle runs at once with whatever waits
cost.py       how long runs take, and how many rows are worth running together
timer.py      wakes a scheduler whose policy said "not yet"
"""
