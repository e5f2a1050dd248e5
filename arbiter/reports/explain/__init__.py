"""A request's history in words: found on Kafka and in Redis, told in sentences, with what would have let it through."""
