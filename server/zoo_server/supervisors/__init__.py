"""One server of several processes: who starts them, and how they agree.

              caller ──gRPC──> worker 1 ─┐
                                         ├─ frames ─ supervisor: starts, replaces, tells all
              caller ──gRPC──> worker 2 ─┘           (no models, no gRPC)

opening      takes the ports and starts the supervisor
supervisor   keeps N workers alive and passes on what concerns all of them
hired        one worker as the supervisor sees it: its process and the pipe to it
seat         the other end: the supervisor as a worker sees it
company      what the processes know and count together, as one of them sees it
keeper       requests that belong together, handed on to the worker that keeps their state
whole        the RPCs that are about the whole server, answered from a worker's seat
counts       what they have counted, those included that have ended
journal      which changes a worker started later has to make up for
backoff      when a dead worker is replaced, and when no more
frames       what goes through the pipe

Other inference never comes here: the kernel gives each connection to one of the workers.
"""
