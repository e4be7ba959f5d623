import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.streaming.Trigger;

/**
 * Spark Structured Streaming: from a topic into files (exactly once, over a restart of the query) and into another topic;
 * a batch read with headers. Usage: SparkCheck BOOTSTRAP DIR
 */
public final class SparkCheck {
    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        String dir = args[1];
        Kit.createTopics(bootstrap, 4, "spark-in", "spark-out");
        SparkSession spark = SparkSession.builder().master("local[2]").appName("check")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "2")
            .getOrCreate();
        List<String> expected = new ArrayList<>();
        for (int round = 0; round < 3; round++) {
            List<ProducerRecord<String, String>> records = new ArrayList<>();
            for (int i = 0; i < 2_000; i++) {
                String value = "v" + round + "-" + i;
                records.add(new ProducerRecord<>("spark-in", "k" + i % 16, value));
                expected.add(value);
            }
            Kit.produce(bootstrap, records);
            run(spark, bootstrap, dir);
        }
        List<Row> stored = spark.read().parquet(dir + "/files").selectExpr("value").collectAsList();
        List<String> values = new ArrayList<>();
        stored.forEach(row -> values.add(row.getString(0)));
        values.sort(null);
        List<String> sorted = new ArrayList<>(expected);
        sorted.sort(null);
        Kit.check(values.equals(sorted), "files hold " + values.size() + " values, not the " + sorted.size() + " sent");
        Kit.exactlyOnce(expected, Kit.read(bootstrap, "spark-out", expected::size, Duration.ofSeconds(60)));
        long rows = spark.read().format("kafka").option("kafka.bootstrap.servers", bootstrap)
            .option("subscribe", "spark-out").option("includeHeaders", "true").load().count();
        Kit.check(rows == expected.size(), "a batch query counts " + rows);
        spark.stop();
        System.out.println("ok spark");
    }

    private static void run(SparkSession spark, String bootstrap, String dir) throws Exception {
        Dataset<Row> in = spark.readStream().format("kafka")
            .option("kafka.bootstrap.servers", bootstrap)
            .option("subscribe", "spark-in")
            .option("startingOffsets", "earliest")
            .option("maxOffsetsPerTrigger", "700")
            .load()
            .selectExpr("CAST(key AS STRING) AS key", "CAST(value AS STRING) AS value");
        in.writeStream().format("parquet").option("path", dir + "/files")
            .option("checkpointLocation", dir + "/files-checkpoint")
            .trigger(Trigger.AvailableNow()).start().awaitTermination();
        in.writeStream().format("kafka").option("kafka.bootstrap.servers", bootstrap).option("topic", "spark-out")
            .option("checkpointLocation", dir + "/topic-checkpoint")
            .trigger(Trigger.AvailableNow()).start().awaitTermination();
    }
}
