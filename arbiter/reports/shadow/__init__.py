"""What shadows would have done, from the decisions on Kafka: rules in shadow mode, and the shadow policy."""
