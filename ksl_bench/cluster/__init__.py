"""Ray: a pool of long-lived Ray Train worker groups that pull work from the driver.

Each group is one `TorchTrainer` whose training function never trains one thing: it asks the desk (an
actor) for work, builds it, says how it went, and asks again. Start-up is paid once a group, not once a
run. When a worker dies, Ray Train restarts its group, and the desk hands out again what the group was
at; after too many losses the work counts as failed. Nothing is remembered here beyond the queue: what
is finished is in the store.
"""
