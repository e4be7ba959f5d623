// A client of a running Apache Kafka, for tests that look at the directories which it leaves behind.
//
// Run from source: java -cp '<directory of Kafka jars>/*' ClusterPeer.java <bootstrap server> <command>
//
//   fill    makes topics and records: events (6 partitions of 50 records, of partition 0 the first 10 deleted), a.b-c_d (one
//           of 100), empty (one), and gone (one, deleted again)
//   count   prints "<topic>-<partition>=<first offset>..<end>:<records read>" of each partition of those topics, sorted

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class ClusterPeer {
    private static final Map<String, Integer> TOPICS = Map.of("events", 6, "a.b-c_d", 1, "empty", 1);

    public static void main(String[] args) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", args[0]);
        if (args[1].equals("fill")) {
            fill(config);
        } else {
            count(config);
        }
    }

    private static void fill(Map<String, Object> config) throws Exception {
        try (Admin admin = Admin.create(config);
             KafkaProducer<byte[], byte[]> producer =
                 new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (Map.Entry<String, Integer> topic : TOPICS.entrySet()) {
                create(admin, topic.getKey(), topic.getValue());
            }
            create(admin, "gone", 1);
            for (int i = 0; i < 300; i++) {
                producer.send(new ProducerRecord<>("events", i % 6, null, new byte[100])).get();
            }
            for (int i = 0; i < 100; i++) {
                producer.send(new ProducerRecord<>("a.b-c_d", 0, null, new byte[100]));
            }
            producer.send(new ProducerRecord<>("gone", 0, null, new byte[100]));
            producer.flush();
            TopicPartition first = new TopicPartition("events", 0);
            admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(10))).all().get();
            admin.deleteTopics(List.of("gone")).all().get();
            Thread.sleep(1000);
        }
    }

    private static void create(Admin admin, String name, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get();
    }

    private static void count(Map<String, Object> config) {
        TreeMap<String, String> found = new TreeMap<>();
        try (KafkaConsumer<byte[], byte[]> consumer =
                 new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            for (Map.Entry<String, Integer> topic : TOPICS.entrySet()) {
                for (int i = 0; i < topic.getValue(); i++) {
                    TopicPartition partition = new TopicPartition(topic.getKey(), i);
                    List<TopicPartition> only = List.of(partition);
                    consumer.assign(only);
                    long start = consumer.beginningOffsets(only).get(partition);
                    long end = consumer.endOffsets(only).get(partition);
                    consumer.seekToBeginning(only);
                    int records = 0;
                    while (consumer.position(partition) < end) {
                        records += consumer.poll(Duration.ofMillis(200)).count();
                    }
                    found.put(partition.toString(), start + ".." + end + ":" + records);
                }
            }
        }
        found.forEach((partition, state) -> System.out.println(partition + "=" + state));
    }
}
