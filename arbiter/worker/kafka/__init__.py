"""Kafka in, Kafka out: the transport, the reader, the producer, the topics."""
