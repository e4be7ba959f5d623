// Runs a script of Kafka's command-line tools against one server, all in this JVM, and prints what each of them said.
//
//     Tools SCRIPT BOOTSTRAP DIR LOG-DIR-1 LOG-DIR-2 CONFIG-JARS
//
// A line of the script is one command; words are separated by spaces, single quotes keep words together, # is a comment.
// $DIR, $LOG1, $LOG2 stand for the arguments. Commands:
//     CLASS ARG…                      a tool of org.apache.kafka.tools, or ConfigCommand, with --bootstrap-server
//     sorted CLASS ARG…               the same, lines sorted: their order is the server's freedom
//     until TEXT CLASS ARG…           the same, again and again until it prints TEXT (all of 'A && B'); only the last time counts
//     write FILE TEXT                 a file below $DIR
//     pause                           half a second
//     produce TOPIC PARTITION COUNT   records
//     begin ID TOPIC PARTITION        a transaction with one record, left open
//     end ID                          closes its producer, committed if that is possible
//     join GROUP TOPIC PROTOCOL       a member, which polls until it leaves
//     leave GROUP                     it commits what it has read and goes

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Tools {
    /** A tool wants to end the process. */
    static class Ended extends RuntimeException {
        final int code;

        Ended(int code, String message) {
            super(message, null, false, false);
            this.code = code;
        }
    }

    /** A member of a group, with a thread that polls. */
    static class Member extends Thread {
        final KafkaConsumer<String, String> consumer;
        volatile boolean leaves;
        volatile Throwable failure;

        Member(KafkaConsumer<String, String> consumer) {
            this.consumer = consumer;
        }

        public void run() {
            try (consumer) {
                while (!leaves) {
                    consumer.poll(Duration.ofMillis(100));
                }
                consumer.commitSync();
            } catch (Throwable error) {
                failure = error;
            }
        }
    }

    static final PrintStream OUT = System.out;
    static final Pattern WORD = Pattern.compile("'([^']*)'|(\\S+)");

    final String bootstrap;
    final Map<String, String> names = new HashMap<>();
    final ClassLoader configLoader;
    final Map<String, KafkaProducer<String, String>> transactions = new HashMap<>();
    final Map<String, Member> members = new HashMap<>();

    Tools(String[] args) throws Exception {
        bootstrap = args[1];
        names.put("$DIR", args[2]);
        names.put("$LOG1", args[3]);
        names.put("$LOG2", args[4]);
        List<URL> jars = new ArrayList<>();
        try (DirectoryStream<Path> found = Files.newDirectoryStream(Path.of(args[5]), "*.jar")) {
            for (Path jar : found) {
                jars.add(jar.toUri().toURL());
            }
        }
        configLoader = new URLClassLoader(jars.toArray(new URL[0]), ClassLoader.getPlatformClassLoader());
        noExit(Tools.class.getClassLoader());
        noExit(configLoader);
    }

    /** Makes a tool's end of the process an exception. */
    static void noExit(ClassLoader loader) throws Exception {
        Class<?> exit = loader.loadClass("org.apache.kafka.common.utils.Exit");
        Class<?> procedure = loader.loadClass("org.apache.kafka.common.utils.Exit$Procedure");
        Object ended = Proxy.newProxyInstance(loader, new Class<?>[] {procedure}, (proxy, method, args) -> {
            throw new Ended((Integer) args[0], (String) args[1]);
        });
        exit.getMethod("setExitProcedure", procedure).invoke(null, ended);
    }

    public static void main(String[] args) throws Exception {
        Tools tools = new Tools(args);
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            if (line.isBlank() || line.startsWith("#")) {
                continue;
            }
            OUT.println("> " + line);
            List<String> words = new ArrayList<>();
            Matcher word = WORD.matcher(line);
            while (word.find()) {
                String text = word.group(1) == null ? word.group(2) : word.group(1);
                for (Map.Entry<String, String> name : tools.names.entrySet()) {
                    text = text.replace(name.getKey(), name.getValue());
                }
                words.add(text);
            }
            long start = System.nanoTime();
            tools.run(words);
            long took = (System.nanoTime() - start) / 1_000_000;
            if (took > 2000) {
                System.err.println(took + " ms: " + line);
            }
        }
        System.exit(0);
    }

    void run(List<String> words) throws Exception {
        switch (words.get(0)) {
            case "write" -> Files.writeString(Path.of(names.get("$DIR"), words.get(1)), words.get(2));
            case "pause" -> Thread.sleep(500);
            case "produce" -> produce(words.get(1), Integer.parseInt(words.get(2)), Integer.parseInt(words.get(3)));
            case "begin" -> begin(words.get(1), words.get(2), Integer.parseInt(words.get(3)));
            case "end" -> end(words.get(1));
            case "join" -> join(words.get(1), words.get(2), words.get(3));
            case "leave" -> leave(words.get(1));
            case "sorted" -> {
                String[] lines = tool(words.subList(1, words.size())).split("\n");
                Arrays.sort(lines);
                OUT.println(String.join("\n", lines));
            }
            case "until" -> {
                long deadline = System.nanoTime() + Duration.ofSeconds(40).toNanos();
                String said;
                do {
                    Thread.sleep(100);
                    said = tool(words.subList(2, words.size()));
                } while (!mentions(said, words.get(1)) && System.nanoTime() < deadline);
                OUT.print(said);
            }
            default -> OUT.print(tool(words));
        }
    }

    /** Whether a text has all of 'A && B'. */
    static boolean mentions(String said, String texts) {
        return Arrays.stream(texts.split(" && ")).allMatch(said::contains);
    }

    /** What a tool prints, to both of its outputs, and how it ends if not well. */
    String tool(List<String> words) throws Exception {
        boolean config = words.get(0).equals("ConfigCommand");
        String name = config ? "kafka.admin.ConfigCommand" : "org.apache.kafka.tools." + words.get(0);
        ClassLoader loader = config ? configLoader : Tools.class.getClassLoader();
        Method main = loader.loadClass(name).getMethod("main", String[].class);
        List<String> args = new ArrayList<>(List.of("--bootstrap-server", bootstrap));
        if (words.get(0).equals("ClusterTool")) {
            args.add(0, words.get(1));
            words = words.subList(1, words.size());
        }
        args.addAll(words.subList(1, words.size()));
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        PrintStream said = new PrintStream(bytes, true);
        PrintStream err = System.err;
        System.setOut(said);
        System.setErr(said);
        Thread.currentThread().setContextClassLoader(loader);
        try {
            main.invoke(null, (Object) args.toArray(new String[0]));
        } catch (InvocationTargetException error) {
            Throwable cause = error.getCause();
            if (!(cause instanceof Ended ended)) {
                said.println("thrown: " + cause);
            } else if (ended.code != 0) {
                said.println((ended.getMessage() == null ? "" : ended.getMessage() + "\n") + "exit " + ended.code);
            }
        } finally {
            System.setOut(OUT);
            System.setErr(err);
            Thread.currentThread().setContextClassLoader(Tools.class.getClassLoader());
        }
        String text = bytes.toString();
        return text.isEmpty() || text.endsWith("\n") ? text : text + "\n";
    }

    KafkaProducer<String, String> producer(Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(more);
        config.put("bootstrap.servers", bootstrap);
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    void produce(String topic, int partition, int count) {
        long now = System.currentTimeMillis();
        // One batch at a time: how many bytes there are must not depend on timing.
        try (KafkaProducer<String, String> producer = producer(Map.of("linger.ms", 10000, "batch.size", 1000000))) {
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>(topic, partition, now + i, "k" + i, "value " + i));
            }
            producer.flush();
        }
    }

    void begin(String id, String topic, int partition) throws Exception {
        KafkaProducer<String, String> producer = producer(Map.of("transactional.id", id));
        transactions.put(id, producer);
        producer.initTransactions();
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, partition, "k", "v")).get();
    }

    void end(String id) {
        try (KafkaProducer<String, String> producer = transactions.remove(id)) {
            producer.commitTransaction();
            OUT.println("committed");
        } catch (Exception error) {
            OUT.println("not committed: " + error.getClass().getSimpleName());
        }
    }

    void join(String group, String topic, String protocol) throws Exception {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "group.id", group,
            "group.protocol", protocol, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "client.id", "member"));
        Member member = new Member(new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer()));
        member.consumer.subscribe(List.of(topic));
        members.put(group, member);
        member.start();
    }

    void leave(String group) throws Exception {
        Member member = members.remove(group);
        member.leaves = true;
        member.join();
        if (member.failure != null) {
            OUT.println("failed: " + member.failure);
        }
    }
}
