import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;

/** What MirrorMaker is to bring over: MirrorCheck prepare SOURCE; then MirrorCheck verify TARGET. */
public final class MirrorCheck {
    private static final int RECORDS = 3_000;

    public static void main(String[] args) throws Exception {
        if (args[0].equals("prepare")) {
            prepare(args[1]);
        } else {
            verify(args[1]);
        }
        System.out.println("ok " + args[0]);
    }

    private static List<String> values() {
        List<String> values = new ArrayList<>();
        for (int i = 0; i < RECORDS; i++) {
            values.add("v" + i);
        }
        return values;
    }

    private static void prepare(String bootstrap) throws Exception {
        try (Admin admin = Admin.create(Kit.client(bootstrap))) {
            admin.createTopics(List.of(new NewTopic("mirrored", 3, (short) 1)
                .configs(Map.of("retention.ms", "123456789", "cleanup.policy", "compact,delete")))).all().get();
        }
        List<ProducerRecord<String, String>> records = new ArrayList<>();
        values().forEach(value -> records.add(new ProducerRecord<>("mirrored", value, value)));
        Kit.produce(bootstrap, records);
        Properties properties = Kit.client(bootstrap);
        properties.put("group.id", "readers");
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        try (KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of("mirrored"));
            while (consumer.assignment().size() < 3) {
                consumer.poll(Duration.ofMillis(200));
            }
            Map<TopicPartition, OffsetAndMetadata> ends = new HashMap<>();
            consumer.endOffsets(consumer.assignment())
                .forEach((partition, end) -> ends.put(partition, new OffsetAndMetadata(end)));
            consumer.commitSync(ends);
        }
    }

    private static void verify(String bootstrap) throws Exception {
        String topic = "kafka.mirrored";
        try (Admin admin = Admin.create(Kit.client(bootstrap))) {
            wait("the topic is there", () -> admin.listTopics().names().get().contains(topic));
            Kit.exactlyOnce(values(), Kit.read(bootstrap, topic, () -> RECORDS, Duration.ofSeconds(60)));
            Kit.check(admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 3,
                "three partitions");
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            wait("the topic's configuration is copied", () -> {
                Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
                return config.get("retention.ms").value().equals("123456789")
                    && config.get("cleanup.policy").value().equals("compact,delete");
            });
            wait("the group's offsets are translated", () -> {
                Map<TopicPartition, OffsetAndMetadata> offsets =
                    admin.listConsumerGroupOffsets("readers").partitionsToOffsetAndMetadata().get();
                // A translated offset may lie a little before the end, never behind it.
                long sum = offsets.values().stream().mapToLong(OffsetAndMetadata::offset).sum();
                Kit.check(sum <= RECORDS, "the group's offsets are translated too far");
                return offsets.size() == 3 && sum > RECORDS / 2;
            });
        }
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    private static void wait(String what, Condition condition) throws Exception {
        long deadline = System.currentTimeMillis() + 120_000;
        Exception last = null;
        while (System.currentTimeMillis() < deadline) {
            try {
                if (condition.holds()) {
                    return;
                }
            } catch (Exception error) {
                last = error;
            }
            Thread.sleep(500);
        }
        throw new AssertionError("not in time: " + what, last);
    }
}
