"""The same command as a Ray job: what is sent to a cluster, and how it is followed.

Nothing is planned or stored here: a job runs the command line at the head of the cluster, as a user would.
"""
