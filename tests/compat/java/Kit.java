import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.function.Supplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What the compatibility programs share: topics, records in, records out, checks. */
final class Kit {
    private Kit() {}

    static Properties client(String bootstrap) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        return properties;
    }

    static void createTopics(String bootstrap, int partitions, String... names) throws Exception {
        List<NewTopic> topics = new ArrayList<>();
        for (String name : names) {
            topics.add(new NewTopic(name, partitions, (short) 1));
        }
        try (Admin admin = Admin.create(client(bootstrap))) {
            admin.createTopics(topics).all().get();
        }
    }

    static KafkaProducer<String, String> producer(String bootstrap) {
        Properties properties = client(bootstrap);
        properties.put("acks", "all");
        properties.put("delivery.timeout.ms", "300000");
        return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
    }

    static void produce(String bootstrap, List<ProducerRecord<String, String>> records) throws Exception {
        try (KafkaProducer<String, String> producer = producer(bootstrap)) {
            List<java.util.concurrent.Future<?>> sent = new ArrayList<>();
            for (ProducerRecord<String, String> record : records) {
                sent.add(producer.send(record));
            }
            for (java.util.concurrent.Future<?> future : sent) {
                future.get();
            }
        }
    }

    /** Reads a topic from its beginning until {@code enough} holds or the time is up. */
    static List<ConsumerRecord<String, String>> read(
            String bootstrap, String topic, Supplier<Integer> wanted, Duration limit) {
        Properties properties = client(bootstrap);
        properties.put("isolation.level", "read_committed");
        properties.put("enable.auto.commit", "false");
        List<ConsumerRecord<String, String>> all = new ArrayList<>();
        long deadline = System.nanoTime() + limit.toNanos();
        try (KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(p -> partitions.add(new TopicPartition(topic, p.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (all.size() < wanted.get() && System.nanoTime() < deadline) {
                consumer.poll(Duration.ofMillis(200)).forEach(all::add);
            }
            // What is too much shows up a little later.
            for (int i = 0; i < 5; i++) {
                consumer.poll(Duration.ofMillis(200)).forEach(all::add);
            }
        }
        return all;
    }

    /** Fails unless every expected value came exactly once and nothing else did. */
    static void exactlyOnce(List<String> expected, List<ConsumerRecord<String, String>> records) {
        Map<String, Integer> seen = new HashMap<>();
        records.forEach(record -> seen.merge(record.value(), 1, Integer::sum));
        List<String> wrong = new ArrayList<>();
        for (String value : expected) {
            Integer count = seen.remove(value);
            if (count == null || count != 1) {
                wrong.add(value + " came " + (count == null ? 0 : count) + " times");
            }
        }
        seen.forEach((value, count) -> wrong.add("unexpected " + value));
        check(wrong.isEmpty(), wrong.size() + " wrong, as " + wrong.subList(0, Math.min(5, wrong.size())));
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }
}
