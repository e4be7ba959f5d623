import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.*;
import org.apache.kafka.common.serialization.StringSerializer;

/** Does things to a cluster ("fill"), or prints what it says about itself ("show"). */
public class Cluster {
    public static void main(String[] args) throws Exception {
        Properties props = new Properties();
        props.put("bootstrap.servers", args[1]);
        try (Admin admin = Admin.create(props)) {
            if (args[0].equals("fill")) {
                fill(admin, args[1]);
            } else {
                show(admin);
            }
        }
    }

    private static void fill(Admin admin, String bootstrap) throws Exception {
        admin.createTopics(List.of(
            new NewTopic("plain", 3, (short) 1).configs(Map.of("retention.ms", "1000", "min.insync.replicas", "1")),
            new NewTopic("with.dot", 1, (short) 1),
            new NewTopic("doomed", 2, (short) 1).configs(Map.of("cleanup.policy", "compact")))).all().get();
        admin.createPartitions(Map.of("plain", NewPartitions.increaseTo(5))).all().get();
        alter(admin, ConfigResource.Type.TOPIC, "plain", "segment.bytes", "2000000", AlterConfigOp.OpType.SET);
        alter(admin, ConfigResource.Type.TOPIC, "plain", "retention.ms", null, AlterConfigOp.OpType.DELETE);
        alter(admin, ConfigResource.Type.TOPIC, "with.dot", "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
        alter(admin, ConfigResource.Type.BROKER, "", "log.cleaner.threads", "1", AlterConfigOp.OpType.SET);
        alter(admin, ConfigResource.Type.GROUP, "g", "consumer.session.timeout.ms", "50000", AlterConfigOp.OpType.SET);
        ClientQuotaEntity user = new ClientQuotaEntity(Map.of("user", "alice"));
        admin.alterClientQuotas(List.of(new ClientQuotaAlteration(user,
            List.of(new ClientQuotaAlteration.Op("request_percentage", 12.5))))).all().get();
        admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion("alice",
            new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), "secret"))).all().get();
        admin.deleteTopics(List.of("doomed")).all().get();
        Properties props = new Properties();
        props.put("bootstrap.servers", bootstrap);
        try (Producer<String, String> producer =
                new KafkaProducer<>(props, new StringSerializer(), new StringSerializer())) {
            producer.send(new ProducerRecord<>("plain", 0, "k", "v")).get();
        }
        System.out.println("filled");
    }

    private static void alter(Admin admin, ConfigResource.Type type, String name, String key, String value,
                              AlterConfigOp.OpType op) throws Exception {
        Collection<AlterConfigOp> ops = List.of(new AlterConfigOp(new ConfigEntry(key, value), op));
        admin.incrementalAlterConfigs(Map.of(new ConfigResource(type, name), ops)).all().get();
    }

    private static void show(Admin admin) throws Exception {
        for (String name : new TreeSet<>(admin.listTopics().names().get())) {
            TopicDescription topic = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
            StringBuilder line = new StringBuilder(name + " " + topic.topicId());
            topic.partitions().forEach(p -> line.append(" ").append(p.partition()).append(":")
                .append(p.leader() == null ? -1 : p.leader().id()).append("/").append(p.isr().size()));
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
            Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            config.entries().stream().filter(e -> e.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG)
                .map(e -> " " + e.name() + "=" + e.value()).sorted().forEach(line::append);
            System.out.println(line);
        }
        FeatureMetadata features = admin.describeFeatures().featureMetadata().get();
        features.finalizedFeatures().entrySet().stream()
            .map(e -> e.getKey() + "=" + e.getValue().maxVersionLevel()).sorted().forEach(System.out::println);
        System.out.println("shown");
    }
}
