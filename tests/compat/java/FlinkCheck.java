import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Flink from topic to topic, exactly once, with a failure in the middle. Usage: FlinkCheck BOOTSTRAP CHECKPOINT_DIR */
public final class FlinkCheck {
    private static final int RECORDS = 20_000;
    private static final AtomicInteger MAPPED = new AtomicInteger();
    private static final AtomicInteger FAILURES = new AtomicInteger();

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        Kit.createTopics(bootstrap, 4, "flink-in", "flink-out");
        List<ProducerRecord<String, String>> records = new ArrayList<>();
        List<String> expected = new ArrayList<>();
        for (int i = 0; i < RECORDS; i++) {
            records.add(new ProducerRecord<>("flink-in", "k" + i % 16, "v" + i));
            expected.add("mapped v" + i);
        }
        Kit.produce(bootstrap, records);

        Configuration configuration = new Configuration();
        configuration.setString("execution.checkpointing.interval", "300ms");
        configuration.setString("execution.checkpointing.dir", "file://" + args[1]);
        configuration.setString("restart-strategy.type", "fixed-delay");
        configuration.setString("restart-strategy.fixed-delay.attempts", "5");
        configuration.setString("restart-strategy.fixed-delay.delay", "200ms");
        configuration.setString("parallelism.default", "2");
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(configuration);
        KafkaSource<String> source = KafkaSource.<String>builder()
            .setBootstrapServers(bootstrap)
            .setTopics("flink-in")
            .setGroupId("flink")
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setBounded(OffsetsInitializer.latest())
            .setValueOnlyDeserializer(new SimpleStringSchema())
            .build();
        KafkaSink<String> sink = KafkaSink.<String>builder()
            .setBootstrapServers(bootstrap)
            .setRecordSerializer(KafkaRecordSerializationSchema.builder()
                .setTopic("flink-out")
                .setValueSerializationSchema(new SimpleStringSchema())
                .build())
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .setTransactionalIdPrefix("flink-check")
            .setProperty("transaction.timeout.ms", "600000")
            .build();
        env.fromSource(source, WatermarkStrategy.noWatermarks(), "in").map(new Mapper()).sinkTo(sink);
        env.execute("check");
        Kit.check(FAILURES.get() == 2, "the job was to fail twice, not " + FAILURES.get() + " times");
        Kit.exactlyOnce(expected, Kit.read(bootstrap, "flink-out", expected::size, Duration.ofSeconds(60)));
        System.out.println("ok flink");
    }

    private static final class Mapper implements MapFunction<String, String> {
        @Override
        public String map(String value) throws Exception {
            int mapped = MAPPED.incrementAndGet();
            if (mapped % 20 == 0) {
                Thread.sleep(1);
            }
            if (mapped == 7_000 || mapped == 15_000) {
                FAILURES.incrementAndGet();
                throw new IllegalStateException("failing on purpose");
            }
            return "mapped " + value;
        }
    }
}
