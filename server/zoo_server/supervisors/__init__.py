"""One server of several processes: who starts them, and how they agree.

                           ┌──────────── supervisor ────────────┐   no models
             change, state │   starts, ends, replaces, tells all │
                           │ gRPC on unix sockets, both ways     │
    caller ──gRPC──> worker 1                   worker 2 <──gRPC── caller
                      keeps sequences <──── forwards requests

opening              takes the ports and starts the supervisor
supervisor           keeps N workers alive and passes on what concerns all of them
worker_process       a worker as the supervisor sees it      (WorkerProcess)
supervisor_channel   the supervisor as a worker sees it      (SupervisorChannel)
worker_group         the whole server as a worker sees it    (WorkerGroup)
group_dataplane      what callers may ask, answered for the whole server
sequence_forwarder   a worker's stream to the one that keeps sequences
state                what they tell each other               (WorkerSpec, WorkerState, GroupState)
rpc                  how they call each other
replay_log           the changes that a worker started later has to make too
worker_statistics    what they have counted, those included that have ended
backoff              when a dead worker is replaced, and when no more

Other inference never comes here: the kernel gives each connection to one of the workers.
"""
