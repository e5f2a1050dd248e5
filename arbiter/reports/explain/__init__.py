"""A request's history in words: found on Kafka and in Redis, with what would have let it through."""
