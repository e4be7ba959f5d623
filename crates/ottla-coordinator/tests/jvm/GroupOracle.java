// Answers questions about consumer groups with the classes of Apache Kafka: one line in, one line out.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.common.runtime.CoordinatorMetadataDelta;
import org.apache.kafka.coordinator.common.runtime.CoordinatorMetadataImage;
import org.apache.kafka.coordinator.group.Utils;
import org.apache.kafka.coordinator.group.api.assignor.GroupAssignment;
import org.apache.kafka.coordinator.group.api.assignor.PartitionAssignor;
import org.apache.kafka.coordinator.group.api.assignor.SubscriptionType;
import org.apache.kafka.coordinator.group.assignor.RangeAssignor;
import org.apache.kafka.coordinator.group.assignor.UniformAssignor;
import org.apache.kafka.coordinator.group.modern.Assignment;
import org.apache.kafka.coordinator.group.modern.GroupSpecImpl;
import org.apache.kafka.coordinator.group.modern.MemberSubscriptionAndAssignmentImpl;
import org.apache.kafka.coordinator.group.modern.SubscribedTopicDescriberImpl;
import org.apache.kafka.coordinator.group.modern.TopicIds;

public class GroupOracle {
    record Topic(String name, Uuid id, int partitionCount, List<List<String>> racks)
            implements CoordinatorMetadataImage.TopicMetadata {
        public List<String> partitionRacks(int partition) {
            return new ArrayList<>(partition < racks.size() ? racks.get(partition) : List.of());
        }
    }

    record Image(Map<String, Topic> topics) implements CoordinatorMetadataImage {
        public Set<Uuid> topicIds() {
            Set<Uuid> ids = new HashSet<>();
            topics.values().forEach(topic -> ids.add(topic.id()));
            return ids;
        }

        public Set<String> topicNames() {
            return topics.keySet();
        }

        public Optional<CoordinatorMetadataImage.TopicMetadata> topicMetadata(String name) {
            return Optional.ofNullable(topics.get(name));
        }

        public Optional<CoordinatorMetadataImage.TopicMetadata> topicMetadata(Uuid id) {
            return topics.values().stream().filter(topic -> topic.id().equals(id))
                .map(topic -> (CoordinatorMetadataImage.TopicMetadata) topic).findFirst();
        }

        public CoordinatorMetadataDelta emptyDelta() {
            throw new UnsupportedOperationException();
        }

        public long version() {
            return 1;
        }

        public boolean isEmpty() {
            return topics.isEmpty();
        }
    }

    static List<String> split(String text, String by) {
        return text.isEmpty() ? List.of() : Arrays.asList(text.split(by, -1));
    }

    // name=most:least:partitions[:rack+rack/rack]
    static Image image(String text) {
        Map<String, Topic> topics = new TreeMap<>();
        for (String part : split(text, ",")) {
            String[] named = part.split("=", 2);
            String[] fields = named[1].split(":", -1);
            Uuid id = new Uuid(Long.parseUnsignedLong(fields[0], 16), Long.parseUnsignedLong(fields[1], 16));
            List<List<String>> racks = new ArrayList<>();
            if (fields.length > 3) {
                for (String partition : fields[3].split("/", -1)) {
                    racks.add(split(partition, "\\+"));
                }
            }
            topics.put(named[0], new Topic(named[0], id, Integer.parseInt(fields[2]), racks));
        }
        return new Image(topics);
    }

    // assignor, homogeneous, topics, members: id|instance|name+name|topic:0.1;topic:2
    static String assign(String[] fields) throws Exception {
        PartitionAssignor assignor = fields[1].equals("range") ? new RangeAssignor() : new UniformAssignor();
        SubscriptionType type = fields[2].equals("1") ? SubscriptionType.HOMOGENEOUS : SubscriptionType.HETEROGENEOUS;
        Image image = image(fields[3]);
        Map<String, MemberSubscriptionAndAssignmentImpl> members = new HashMap<>();
        Map<Uuid, Map<Integer, String>> inverted = new HashMap<>();
        for (String text : split(fields[4], ",")) {
            String[] member = text.split("\\|", -1);
            Map<Uuid, Set<Integer>> target = new HashMap<>();
            for (String place : split(member[3], ";")) {
                String[] named = place.split(":");
                Uuid id = image.topics().get(named[0]).id();
                List<Integer> partitions = new ArrayList<>();
                for (String partition : named[1].split("\\.")) {
                    partitions.add(Integer.parseInt(partition));
                    inverted.computeIfAbsent(id, __ -> new HashMap<>()).put(Integer.parseInt(partition), member[0]);
                }
                target.put(id, new HashSet<>(partitions));
            }
            Optional<String> instance = member[1].isEmpty() ? Optional.empty() : Optional.of(member[1]);
            Set<String> names = new HashSet<>(split(member[2], "\\+"));
            members.put(member[0], new MemberSubscriptionAndAssignmentImpl(
                Optional.empty(), instance, new TopicIds(names, image), new Assignment(target)));
        }
        GroupAssignment assignment = assignor.assign(
            new GroupSpecImpl(members, type, inverted), new SubscribedTopicDescriberImpl(image));
        List<String> out = new ArrayList<>();
        for (String id : new TreeSet<>(members.keySet())) {
            TreeMap<String, String> topics = new TreeMap<>();
            if (assignment.members().containsKey(id)) {
                assignment.members().get(id).partitions().forEach((topic, partitions) -> {
                    if (!partitions.isEmpty()) {
                        String name = image.topicMetadata(topic).get().name();
                        List<String> numbers = new ArrayList<>();
                        new TreeSet<>(partitions).forEach(number -> numbers.add(number.toString()));
                        topics.put(name, String.join(".", numbers));
                    }
                });
            }
            List<String> places = new ArrayList<>();
            topics.forEach((name, numbers) -> places.add(name + ":" + numbers));
            out.add(id + "=" + String.join(";", places));
        }
        return String.join(",", out);
    }

    static String hash(String[] fields) {
        Image image = image(fields[1]);
        Map<String, Long> hashes = new HashMap<>();
        image.topics().keySet().forEach(name -> hashes.put(name, Utils.computeTopicHash(name, image)));
        return Long.toString(Utils.computeGroupHash(hashes));
    }

    // The expression, then names: those that it matches; "refused" if it cannot be read.
    static String regex(String[] fields) {
        try {
            com.google.re2j.Pattern pattern = com.google.re2j.Pattern.compile(fields[1]);
            List<String> found = new ArrayList<>();
            for (int index = 2; index < fields.length; index++) {
                if (pattern.matcher(fields[index]).matches()) {
                    found.add(fields[index]);
                }
            }
            return "matches " + String.join(",", found);
        } catch (com.google.re2j.PatternSyntaxException e) {
            return "refused";
        }
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        StringBuilder out = new StringBuilder();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] fields = line.split("\t", -1);
            out.append(switch (fields[0]) {
                case "assign" -> assign(fields);
                case "hash" -> hash(fields);
                default -> regex(fields);
            }).append('\n');
        }
        System.out.print(out);
    }
}
