"""``arbiter gateway``: HTTP for systems that have no Kafka. It keeps nothing: start as many as the load needs."""
