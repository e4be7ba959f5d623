// Asks Apache Kafka's own classes: `dump` prints the facts about all keys; `answer` reads one question per line from
// standard input and prints one answer per line. Fields are separated by tabs; see `esc` for escapes. A map is one field:
// entries separated by U+001E, key and value by U+001F.

import java.io.*;
import java.lang.reflect.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.message.DescribeConfigsRequestData;
import org.apache.kafka.common.message.DescribeConfigsResponseData;
import org.apache.kafka.coordinator.group.GroupConfig;
import org.apache.kafka.metadata.ConfigRepository;
import org.apache.kafka.metadata.MetadataCache;
import org.apache.kafka.server.config.AbstractKafkaConfig;
import org.apache.kafka.server.config.ConfigSynonym;
import org.apache.kafka.server.config.DynamicBrokerConfig;
import org.apache.kafka.server.config.QuotaConfig;
import org.apache.kafka.server.config.ServerTopicConfigSynonyms;
import org.apache.kafka.server.metrics.ClientMetricsConfigs;
import org.apache.kafka.storage.internals.log.LogConfig;
import kafka.server.ConfigAdminManager$;
import kafka.server.ConfigHelper;
import kafka.server.KafkaConfig;

public class ConfigOracle {
    static PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);

    public static void main(String[] args) throws Exception {
        if (args[0].equals("dump")) {
            dump();
        } else {
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line; (line = in.readLine()) != null; ) {
                String[] fields = line.split("\t", -1);
                for (int i = 0; i < fields.length; i++) fields[i] = unesc(fields[i]);
                out.println(answer(fields));
            }
        }
        out.flush();
        System.exit(0);
    }

    static ConfigDef def(String scope) throws Exception {
        return switch (scope) {
            case "broker" -> AbstractKafkaConfig.CONFIG_DEF;
            case "topic" -> LogConfig.configDefCopy();
            case "group" -> GroupConfig.CONFIG_DEF;
            case "metrics" -> ClientMetricsConfigs.configDef();
            case "dynamic" -> QuotaConfig.brokerQuotaConfigs();
            default -> throw new IllegalArgumentException(scope);
        };
    }

    static void dump() throws Exception {
        Map<String, String> modes = DynamicBrokerConfig.dynamicConfigUpdateModes();
        for (String scope : List.of("broker", "topic", "group", "metrics", "dynamic")) {
            for (ConfigDef.ConfigKey key : new TreeMap<>(def(scope).configKeys()).values()) {
                String preset = !key.hasDefault() ? "required" : key.defaultValue == null ? "null"
                    : "=" + ConfigDef.convertToString(key.defaultValue, key.type);
                String mode = scope.equals("broker") || scope.equals("dynamic") ? modes.getOrDefault(key.name, "read-only") : "-";
                line("key", scope, key.name, key.type.toString(), preset, key.importance.toString(),
                    key.internalConfig ? "internal" : "public", mode);
            }
        }
        for (var e : new TreeMap<>(ServerTopicConfigSynonyms.ALL_TOPIC_CONFIG_SYNONYMS).entrySet()) {
            line("topic-synonyms", e.getKey(), e.getValue().stream()
                .map(s -> s.name() + "*" + s.converter().apply("1")).collect(Collectors.joining(",")));
        }
        for (var e : new TreeMap<>(GroupConfig.ALL_GROUP_CONFIG_SYNONYMS).entrySet())
            line("group-synonym", e.getKey(), e.getValue().orElse("-"));
        for (String name : new TreeSet<>(AbstractKafkaConfig.CONFIG_DEF.names()))
            line("broker-synonyms", name, String.join(",", DynamicBrokerConfig.brokerConfigSynonyms(name, true)));
    }

    // Kafka joins this default from a map without order.
    static String ordered(String name, String value) {
        if (value == null || !name.equals("listener.security.protocol.map")) return String.valueOf(value);
        return Arrays.stream(value.split(",")).sorted().collect(Collectors.joining(","));
    }

    static void line(String... fields) {
        out.println(Arrays.stream(fields).map(ConfigOracle::esc).collect(Collectors.joining("\t")));
    }

    static String answer(String[] q) throws Exception {
        try {
            return "ok\t" + esc(switch (q[0]) {
                case "parse" -> parse(def(q[1]), q[2], q[3]);
                case "topic" -> {
                    KafkaConfig config = config(map(q[3]));
                    LogConfig.validate(map(q[1]), map(q[2]), config.extractLogConfigMap(),
                        config.remoteLogManagerConfig().isRemoteStorageSystemEnabled());
                    yield "";
                }
                case "group" -> {
                    KafkaConfig config = config(map(q[2]));
                    GroupConfig.validate(map(q[1]), config.groupCoordinatorConfig(), config.shareGroupConfig());
                    yield "";
                }
                case "metrics" -> { ClientMetricsConfigs.validate(q[1], map(q[2])); yield ""; }
                case "dynamic" -> {
                    Properties props = props(map(q[2]));
                    DynamicBrokerConfig.validateConfigs(props, props, Boolean.parseBoolean(q[1]));
                    yield "";
                }
                case "properties" -> {
                    Properties props = new Properties();
                    props.load(new StringReader(q[1]));
                    yield text(props);
                }
                case "broker" -> { config(map(q[1])); yield ""; }
                case "alter" -> {
                    Properties props = props(map(q[1]));
                    List<AlterConfigOp> ops = new ArrayList<>();
                    map(q[2]).forEach((name, op) -> ops.add(new AlterConfigOp(new ConfigEntry(name, op.substring(1)),
                        AlterConfigOp.OpType.forId((byte) (op.charAt(0) - '0')))));
                    ConfigAdminManager$.MODULE$.prepareIncrementalConfigs(
                        scala.jdk.javaapi.CollectionConverters.asScala(ops).toSeq(), props,
                        scala.jdk.javaapi.CollectionConverters.asScala(AbstractKafkaConfig.CONFIG_DEF.configKeys()));
                    yield text(props);
                }
                case "describe" -> describe(q[1], map(q[2]), map(q[3]), map(q[4]), map(q[5]));
                default -> throw new IllegalArgumentException(q[0]);
            });
        } catch (InvocationTargetException e) {
            return "err\t" + esc(String.valueOf(e.getCause().getMessage()));
        } catch (Exception e) {
            return "err\t" + esc(String.valueOf(e.getMessage()));
        }
    }

    static String parse(ConfigDef def, String name, String value) {
        ConfigDef.ConfigKey key = def.configKeys().get(name);
        ConfigDef one = new ConfigDef().define(key);
        return "=" + ConfigDef.convertToString(one.parse(Map.of(name, value)).get(name), key.type);
    }

    static KafkaConfig config(Map<String, String> extra) {
        Map<String, String> props = new TreeMap<>(Map.of("process.roles", "broker,controller", "node.id", "1",
            "controller.quorum.bootstrap.servers", "localhost:9093", "listeners", "PLAINTEXT://:9092,CONTROLLER://:9093",
            "advertised.listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
            "controller.listener.names", "CONTROLLER", "log.dirs", "data"));
        extra.forEach((key, value) -> { if (value.equals("\0")) props.remove(key); else props.put(key, value); });
        return KafkaConfig.fromProps(props(props), false);
    }

    static String describe(String kind, Map<String, String> overrides, Map<String, String> fixed,
                           Map<String, String> cluster, Map<String, String> broker) throws Exception {
        KafkaConfig config = config(fixed);
        Method initialize = Arrays.stream(config.dynamicConfig().getClass().getMethods())
            .filter(m -> m.getName().equals("initialize")).findFirst().get();
        initialize.invoke(config.dynamicConfig(), scala.Option.empty());
        config.dynamicConfig().updateDefaultConfig(props(cluster), false);
        config.dynamicConfig().updateBrokerConfig(1, props(broker), false);
        Object cache = proxy(MetadataCache.class, (p, m, a) -> m.getName().equals("contains") ? true : null);
        Object repository = proxy(ConfigRepository.class, (p, m, a) ->
            m.isDefault() ? InvocationHandler.invokeDefault(p, m, a) : props(overrides));
        ConfigHelper helper = new ConfigHelper((MetadataCache) cache, config, (ConfigRepository) repository);
        ConfigResource.Type type = switch (kind) {
            case "topic" -> ConfigResource.Type.TOPIC;
            case "group" -> ConfigResource.Type.GROUP;
            case "metrics" -> ConfigResource.Type.CLIENT_METRICS;
            default -> ConfigResource.Type.BROKER;
        };
        String name = switch (kind) { case "broker" -> "1"; case "cluster" -> ""; default -> "x"; };
        var resource = new DescribeConfigsRequestData.DescribeConfigsResource()
            .setResourceType(type.id()).setResourceName(name).setConfigurationKeys(null);
        var resources = scala.jdk.javaapi.CollectionConverters.asScala(List.of(resource)).toList();
        DescribeConfigsResponseData.DescribeConfigsResult result = helper.describeConfigs(resources, true, false).head();
        if (result.errorCode() != 0) throw new RuntimeException(result.errorMessage());
        return result.configs().stream()
            .map(c -> String.join("|", c.name(), ordered(c.name(), c.value()), "" + c.configSource(), "" + c.readOnly(),
                "" + c.isSensitive(), "" + c.configType(), c.synonyms().stream()
                    .map(s -> s.name() + "=" + ordered(s.name(), s.value()) + "@" + s.source()).collect(Collectors.joining(";"))))
            .sorted().collect(Collectors.joining("\n"));
    }

    static Object proxy(Class<?> type, InvocationHandler handler) {
        return Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, handler);
    }

    static String text(Properties props) {
        return new TreeMap<Object, Object>(props).entrySet().stream()
            .map(e -> e.getKey() + "\u001f" + e.getValue()).collect(Collectors.joining("\u001e"));
    }

    static Properties props(Map<String, String> map) {
        Properties props = new Properties();
        props.putAll(map);
        return props;
    }

    static Map<String, String> map(String field) {
        Map<String, String> map = new TreeMap<>();
        for (String entry : field.split("\u001e")) {
            int at = entry.indexOf('\u001f');
            if (at >= 0) map.put(entry.substring(0, at), entry.substring(at + 1));
        }
        return map;
    }

    static String esc(String s) {
        return s.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r");
    }

    static String unesc(String s) {
        StringBuilder b = new StringBuilder();
        for (int i = 0; i < s.length(); i++) {
            char c = s.charAt(i);
            if (c != '\\') { b.append(c); continue; }
            c = s.charAt(++i);
            b.append(c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c);
        }
        return b.toString();
    }
}
