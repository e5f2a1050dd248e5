import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Asks whether a customer may be contacted, waits for the decision, uses the permit:
 * {@code java -cp 'libs/*' Ask.java CUSTOMER CATEGORY}.
 *
 * <p>ARBITER_KAFKA names the brokers, ARBITER_TOPIC_PREFIX what stands before the topics' names.
 */
public class Ask {
  private static final String DEPARTMENT = "shop";
  private static final String PREFIX = System.getenv().getOrDefault("ARBITER_TOPIC_PREFIX", "");
  private static final ObjectMapper JSON = new ObjectMapper();

  private final KafkaProducer<String, String> producer;
  private final KafkaConsumer<String, String> consumer;
  private final String requestId;
  private long newest = -1;
  private JsonNode permit;

  private Ask(KafkaProducer<String, String> producer, KafkaConsumer<String, String> consumer, String requestId) {
    this.producer = producer;
    this.consumer = consumer;
    this.requestId = requestId;
  }

  /** Exit code 1 if the customer must not be contacted. */
  public static void main(String[] arguments) throws Exception {
    String customer = arguments[0];
    String category = arguments[1];
    // A group goes on where it ended; a new one begins with the oldest decision, so that none is missed.
    Map<String, Object> reading = Map.of(
        "bootstrap.servers", System.getenv("ARBITER_KAFKA"),
        "group.id", "shop-mailer-java",
        "auto.offset.reset", "earliest",
        "isolation.level", "read_committed");
    // The producer's own partitioner finds the partition of the customer.
    Map<String, Object> writing = Map.of("bootstrap.servers", System.getenv("ARBITER_KAFKA"));
    int code;
    try (var producer = new KafkaProducer<>(writing, new StringSerializer(), new StringSerializer());
        var consumer = new KafkaConsumer<>(reading, new StringDeserializer(), new StringDeserializer())) {
      // The same question has the same id whenever this runs again, and gets the same answer.
      Ask ask = new Ask(producer, consumer, "welcome-java-" + category + "-" + customer);
      consumer.subscribe(List.of(PREFIX + "contact.decisions.v1"));
      ask.send("contact.requests.v1", customer, Map.of(
          "request_id", ask.requestId,
          "customer_id", customer,
          "department", DEPARTMENT,
          "campaign", "welcome",
          "channel", "email",
          "category", category));
      code = ask.await();
    }
    System.exit(code);
  }

  /** Reads decisions until this request has its last one, or its permit is used. */
  private int await() throws Exception {
    while (true) {
      for (var record : consumer.poll(Duration.ofSeconds(1))) {
        JsonNode decision = JSON.readTree(record.value());
        if (take(decision) && decision.get("outcome").asText().equals("rejected")) {
          return 1;
        }
      }
      // A deferred or recalled request comes back by itself: nothing to do but to go on reading.
      if (permit != null && !opens(permit).isAfter(Instant.now())) {
        return use();
      }
    }
  }

  /** Whether it is a new decision on this request: the topic has everybody's, and sometimes one of them twice. */
  private boolean take(JsonNode decision) {
    if (decision.path("dry_run").asBoolean()) {
      return false;
    }
    String id = decision.get("decision_id").asText();
    long number = Long.parseLong(id.substring(id.lastIndexOf(':') + 1));
    boolean isMine = decision.get("department").asText().equals(DEPARTMENT)
        && decision.get("request_id").asText().equals(requestId);
    if (!isMine || number <= newest) {
      return false;
    }
    newest = number;
    permit = decision.get("outcome").asText().equals("approved") ? decision : null;
    StringBuilder line = new StringBuilder(decision.get("outcome").asText() + " " + decision.get("customer_id").asText());
    for (JsonNode finding : decision.path("findings")) {
      line.append(" ").append(finding.get("code").asText()).append(": ").append(finding.get("message").asText());
    }
    System.out.println(line);
    return true;
  }

  /** Makes the contact, if there is still time, and says what became of it. */
  private int use() throws Exception {
    boolean isLate = !Instant.now().isBefore(at(permit.get("valid_until")));
    String customer = permit.get("customer_id").asText();
    if (!isLate) { // your mail system; it refuses a repeat
      System.out.println("e-mail to " + customer + ", key " + permit.get("decision_id").asText());
    }
    send("contact.outcomes.v1", customer, Map.of(
        "department", DEPARTMENT,
        "customer_id", customer,
        "request_id", requestId,
        "kind", isLate ? "cancelled" : "sent",
        "at", Instant.now().toString()));
    return isLate ? 1 : 0;
  }

  /** Sends a message with its customer as the key, and waits until Kafka has it. */
  private void send(String topic, String customer, Map<String, String> message) throws Exception {
    String value = JSON.writeValueAsString(message);
    producer.send(new ProducerRecord<>(PREFIX + topic, customer, value)).get();
  }

  private static Instant opens(JsonNode permit) {
    return at(permit.has("not_before") ? permit.get("not_before") : permit.get("decided_at"));
  }

  private static Instant at(JsonNode time) {
    return OffsetDateTime.parse(time.asText()).toInstant();
  }
}
