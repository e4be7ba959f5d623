import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.connect.util.KafkaBasedLog;
import org.apache.kafka.connect.util.TopicAdmin;

/**
 * A store in a compacted topic of one partition, read to its end before each use: as schema registries keep _schemas.
 * Usage: SchemasCheck BOOTSTRAP DIR
 */
public final class SchemasCheck {
    private static final String TOPIC = "_schemas";
    private static final int KEYS = 50;
    private static final int ROUNDS = 60;

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        try (Admin admin = Admin.create(Kit.client(bootstrap))) {
            NewTopic topic = new NewTopic(TOPIC, 1, (short) 1).configs(Map.of(
                "cleanup.policy", "compact", "segment.bytes", "1048576", "segment.ms", "2000",
                "min.cleanable.dirty.ratio", "0.01", "delete.retention.ms", "1000"));
            admin.createTopics(List.of(topic)).all().get();
        }
        Map<String, String> expected = new HashMap<>();
        Store store = new Store(bootstrap);
        for (int round = 0; round < ROUNDS; round++) {
            for (int key = 0; key < KEYS; key++) {
                // Every seventh is deleted in the end.
                String value = round == ROUNDS - 1 && key % 7 == 0 ? null : "schema " + round + " of " + key;
                store.put("subject-" + key, value);
                if (value == null) {
                    expected.remove("subject-" + key);
                } else {
                    expected.put("subject-" + key, value);
                }
            }
        }
        store.log.readToEnd().get();
        Kit.check(store.state.equals(expected), "the writer's own view differs");
        store.log.stop();

        store = new Store(bootstrap);
        Kit.check(store.state.equals(expected), "a reader that starts anew sees something else");
        // Segments roll by time only when something is written.
        long deadline = System.currentTimeMillis() + 120_000;
        int records = Integer.MAX_VALUE;
        while (records > 3 * KEYS && System.currentTimeMillis() < deadline) {
            Thread.sleep(2_500);
            store.put("tick", String.valueOf(System.currentTimeMillis()));
            records = Kit.read(bootstrap, TOPIC, () -> Integer.MAX_VALUE, Duration.ofSeconds(1)).size();
        }
        Kit.check(records <= 3 * KEYS, "not compacted: " + records + " records");
        store.log.stop();
        store = new Store(bootstrap);
        store.state.remove("tick");
        Kit.check(store.state.equals(expected), "after compaction a reader sees something else: " + store.state);
        store.log.stop();
        System.out.println("ok schemas");
    }

    private static final class Store {
        final Map<String, String> state = new ConcurrentHashMap<>();
        final KafkaBasedLog<byte[], byte[]> log;

        Store(String bootstrap) {
            Map<String, Object> producer = new HashMap<>();
            producer.put("bootstrap.servers", bootstrap);
            producer.put("acks", "all");
            producer.put("key.serializer", ByteArraySerializer.class.getName());
            producer.put("value.serializer", ByteArraySerializer.class.getName());
            Map<String, Object> consumer = new HashMap<>();
            consumer.put("bootstrap.servers", bootstrap);
            consumer.put("auto.offset.reset", "earliest");
            consumer.put("key.deserializer", ByteArrayDeserializer.class.getName());
            consumer.put("value.deserializer", ByteArrayDeserializer.class.getName());
            log = new KafkaBasedLog<>(TOPIC, producer, consumer,
                () -> new TopicAdmin(Map.of("bootstrap.servers", bootstrap)),
                (error, record) -> apply(record), Time.SYSTEM, admin -> { });
            log.start();
        }

        private void apply(ConsumerRecord<byte[], byte[]> record) {
            String key = new String(record.key(), StandardCharsets.UTF_8);
            if (record.value() == null) {
                state.remove(key);
            } else {
                state.put(key, new String(record.value(), StandardCharsets.UTF_8));
            }
        }

        void put(String key, String value) throws Exception {
            log.sendWithReceipt(key.getBytes(StandardCharsets.UTF_8),
                value == null ? null : value.getBytes(StandardCharsets.UTF_8)).get();
        }
    }
}
