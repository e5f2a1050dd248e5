"""``arbiter dev``: broker, store, worker and a policy on this machine, for whoever builds a system that asks."""
