"""Kafka in, Kafka out: the batch transport, the runner of each partition, the publisher."""
