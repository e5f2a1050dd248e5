"""The report on shadows, from the decisions on Kafka: rules in shadow mode, and the shadow policy."""
