import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;

/**
 * Kafka Streams. Usage: StreamsCheck wordcount|join BOOTSTRAP STATE_DIR,
 * or topics BOOTSTRAP | feed BOOTSTRAP COUNT | count BOOTSTRAP STATE_DIR | verify BOOTSTRAP COUNT for the exactly-once application
 * that is killed and started again from outside.
 */
public final class StreamsCheck {
    private static final int KEYS = 16;

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "wordcount" -> wordCount(args[1], args[2]);
            case "join" -> join(args[1], args[2]);
            case "topics" -> Kit.createTopics(args[1], 3, "events", "numbered");
            case "feed" -> feed(args[1], Integer.parseInt(args[2]));
            case "count" -> count(args[1], args[2]);
            case "verify" -> verify(args[1], Integer.parseInt(args[2]));
            default -> throw new IllegalArgumentException(args[0]);
        }
        System.out.println("ok " + args[0]);
    }

    private static Properties config(String application, String bootstrap, String state) {
        Properties config = Kit.client(bootstrap);
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        config.put(StreamsConfig.STATE_DIR_CONFIG, state);
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "100");
        config.put("auto.offset.reset", "earliest");
        return config;
    }

    private static void wordCount(String bootstrap, String state) throws Exception {
        Kit.createTopics(bootstrap, 3, "lines", "counts");
        List<ProducerRecord<String, String>> lines = new ArrayList<>();
        Map<String, Long> expected = new HashMap<>();
        for (int i = 0; i < 2000; i++) {
            String line = "w" + i % 7 + " w" + i % 13 + " all";
            lines.add(new ProducerRecord<>("lines", "k" + i % 5, line));
            Arrays.stream(line.split(" ")).forEach(word -> expected.merge(word, 1L, Long::sum));
        }
        Kit.produce(bootstrap, lines);
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream("lines")
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word)
            .count()
            .toStream()
            .mapValues(String::valueOf)
            .to("counts", Produced.with(Serdes.String(), Serdes.String()));
        try (KafkaStreams streams = new KafkaStreams(builder.build(), config("word-count", bootstrap, state))) {
            streams.start();
            Map<String, Long> found = new HashMap<>();
            long deadline = System.currentTimeMillis() + 120_000;
            while (!found.equals(expected) && System.currentTimeMillis() < deadline) {
                Kit.read(bootstrap, "counts", () -> Integer.MAX_VALUE, Duration.ofSeconds(2))
                    .forEach(record -> found.put(record.key(), Long.parseLong(record.value())));
            }
            Kit.check(found.equals(expected), "counts are " + found + ", not " + expected);
        }
    }

    private static void join(String bootstrap, String state) throws Exception {
        Kit.createTopics(bootstrap, 2, "left", "right", "joined");
        List<ProducerRecord<String, String>> records = new ArrayList<>();
        List<String> expected = new ArrayList<>();
        long base = System.currentTimeMillis() - 3_600_000;
        for (int i = 0; i < 500; i++) {
            long at = base + i * 1000L;
            // Every third pair is too far apart to meet in the window.
            long later = i % 3 == 0 ? at + 60_000 : at + 2_000;
            records.add(new ProducerRecord<>("left", null, at, "k" + i, "l" + i));
            records.add(new ProducerRecord<>("right", null, later, "k" + i, "r" + i));
            if (i % 3 != 0) {
                expected.add("l" + i + "+r" + i);
            }
        }
        Kit.produce(bootstrap, records);
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream("left", Consumed.with(Serdes.String(), Serdes.String()))
            .join(
                builder.stream("right", Consumed.with(Serdes.String(), Serdes.String())),
                (left, right) -> left + "+" + right,
                JoinWindows.ofTimeDifferenceAndGrace(Duration.ofSeconds(10), Duration.ofHours(1)),
                StreamJoined.with(Serdes.String(), Serdes.String(), Serdes.String()))
            .to("joined");
        try (KafkaStreams streams = new KafkaStreams(builder.build(), config("window-join", bootstrap, state))) {
            streams.start();
            Kit.exactlyOnce(expected, Kit.read(bootstrap, "joined", expected::size, Duration.ofSeconds(120)));
        }
    }

    private static void feed(String bootstrap, int count) throws Exception {
        try (KafkaProducer<String, String> producer = Kit.producer(bootstrap)) {
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>("events", "k" + i % KEYS, "e" + i));
                if (i % 100 == 99) {
                    Thread.sleep(20);
                }
            }
        }
    }

    /** Writes, for each record of a key, how many there were so far; runs until it is killed. */
    private static void count(String bootstrap, String state) throws Exception {
        Properties config = config("exact-count", bootstrap, state);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2");
        config.put("session.timeout.ms", "6000");
        config.put(StreamsConfig.producerPrefix("transaction.timeout.ms"), "8000");
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream("events", Consumed.with(Serdes.String(), Serdes.String()))
            .groupByKey(Grouped.with(Serdes.String(), Serdes.String()))
            .count()
            .toStream()
            .map((key, count) -> org.apache.kafka.streams.KeyValue.pair(key, key + "=" + count))
            .to("numbered", Produced.with(Serdes.String(), Serdes.String()));
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0");
        KafkaStreams streams = new KafkaStreams(builder.build(), config);
        streams.setUncaughtExceptionHandler(error ->
            org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.REPLACE_THREAD);
        streams.start();
        System.out.println("running");
        Thread.currentThread().join();
    }

    private static void verify(String bootstrap, int count) {
        List<String> expected = new ArrayList<>();
        for (int key = 0; key < KEYS; key++) {
            for (int n = 1; n <= (count + KEYS - 1 - key) / KEYS; n++) {
                expected.add("k" + key + "=" + n);
            }
        }
        List<ConsumerRecord<String, String>> records =
            Kit.read(bootstrap, "numbered", expected::size, Duration.ofSeconds(180));
        Kit.exactlyOnce(expected, records);
        Map<String, Integer> last = new HashMap<>();
        for (ConsumerRecord<String, String> record : records) {
            int number = Integer.parseInt(record.value().split("=")[1]);
            Kit.check(last.getOrDefault(record.key(), 0) == number - 1, "out of order: " + record.value());
            last.put(record.key(), number);
        }
    }
}
