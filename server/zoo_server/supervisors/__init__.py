"""Servers of several processes: a supervisor starts workers and keeps them consistent.

                           ┌──────────── supervisor ────────────┐   no models
             change, state │   starts, ends, replaces, tells all │
                           │ gRPC on unix sockets, both ways     │
    caller ──gRPC──> worker 1                   worker 2 <──gRPC── caller
                      keeps sequences <──── forwards requests

supervise            takes the ports and starts the supervisor
supervisor           keeps N workers alive
worker_group         the workers: changes that all make, what they have in common (WorkerGroup)
worker_process       a worker as the supervisor sees it      (WorkerProcess)
supervisor_channel   the supervisor as a worker sees it      (SupervisorChannel)
worker_topology      the whole server as a worker sees it    (WorkerTopology)
group_dataplane      the data plane of the whole server
sequence_forwarder   a worker's stream to the sequence worker
state                the states that they exchange           (WorkerSpec, WorkerState, GroupState)
rpc                  calls between the processes
replay_log           the changes that a worker started later has to repeat
worker_statistics    the workers' counts, including those of ended workers
backoff              the delays before a dead worker is replaced

Other inference never comes here: the kernel gives each connection to one of the workers.
"""
