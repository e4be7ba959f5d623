// Runs Apache Kafka's own generated message classes for tests/wire/jvm.rs: reads commands from stdin and answers each on stdout.
//
//   R name version bytes    decode and encode again
//   D name version          encode the default message
//   F                       versions of the named messages, API keys and errors, as lines of text
//
// Names are u16 length and bytes, versions i16, bytes i32 length and bytes. An answer is one byte (1: done, 0: the text of
// an exception follows), i32 length and bytes.

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.lang.reflect.InvocationTargetException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.message.ApiMessageType.ListenerType;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.Readable;

public class Messages {
    private static final String[] PACKAGES = {
        "org.apache.kafka.common.message.",
        "org.apache.kafka.common.metadata.",
        "org.apache.kafka.coordinator.group.generated.",
        "org.apache.kafka.coordinator.share.generated.",
        "org.apache.kafka.coordinator.transaction.generated.",
        "org.apache.kafka.server.log.remote.metadata.storage.generated.",
        "org.apache.kafka.raft.generated.",
    };
    private static final Map<String, Class<?>> CLASSES = new HashMap<>();

    public static void main(String[] args) throws Exception {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in, 1 << 16));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out, 1 << 16));
        while (true) {
            int command = in.read();
            if (command < 0) {
                break;
            }
            byte[] answer;
            int done = 1;
            try {
                answer = switch (command) {
                    case 'R' -> recode(in.readUTF(), in.readShort(), in.readNBytes(in.readInt()));
                    case 'D' -> write((Message) find(in.readUTF()).getConstructor().newInstance(), in.readShort());
                    case 'V' -> versions(in.readUTF());
                    case 'F' -> facts();
                    default -> throw new EOFException("command " + command);
                };
            } catch (EOFException e) {
                throw e;
            } catch (Exception e) {
                Throwable cause = e instanceof InvocationTargetException ? e.getCause() : e;
                answer = cause.toString().getBytes(StandardCharsets.UTF_8);
                done = 0;
            }
            out.writeByte(done);
            out.writeInt(answer.length);
            out.write(answer);
            if (in.available() == 0) {
                out.flush();
            }
        }
        out.flush();
    }

    private static Class<?> find(String name) throws ClassNotFoundException {
        Class<?> known = CLASSES.get(name);
        if (known != null) {
            return known;
        }
        for (String suffix : new String[] {"", "Data"}) {
            for (String prefix : PACKAGES) {
                try {
                    Class<?> found = Class.forName(prefix + name + suffix);
                    if (Message.class.isAssignableFrom(found)) {
                        CLASSES.put(name, found);
                        return found;
                    }
                } catch (ClassNotFoundException e) {
                    // The next package may have it.
                }
            }
        }
        throw new ClassNotFoundException(name);
    }

    private static byte[] recode(String name, short version, byte[] bytes) throws Exception {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        Readable readable = new ByteBufferAccessor(buffer);
        Message message =
            (Message) find(name).getConstructor(Readable.class, short.class).newInstance(readable, version);
        if (buffer.hasRemaining()) {
            throw new IllegalArgumentException(buffer.remaining() + " bytes left");
        }
        return write(message, version);
    }

    private static byte[] write(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException(buffer.remaining() + " bytes not written");
        }
        return buffer.array();
    }

    private static byte[] versions(String name) throws Exception {
        Message message = (Message) find(name).getConstructor().newInstance();
        String text = message.lowestSupportedVersion() + "-" + message.highestSupportedVersion();
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] facts() {
        StringBuilder text = new StringBuilder();
        for (ApiKeys key : ApiKeys.values()) {
            text.append("api\t").append(key.id).append('\t').append(key.name).append('\t').append(key.name());
            text.append('\t').append(key.clusterAction).append('\t').append(key.forwardable);
            for (ListenerType listener : ListenerType.values()) {
                String range = "-";
                var version = key.toApiVersionForApiResponse(false, listener);
                if (key.inScope(listener) && version.isPresent()) {
                    range = version.get().minVersion() + "-" + version.get().maxVersion();
                }
                text.append('\t').append(range);
            }
            for (short v = key.oldestVersion(); key.hasValidVersion() && v <= key.latestVersion(); v++) {
                text.append('\t').append(v).append(':').append(key.requestHeaderVersion(v)).append(':');
                text.append(key.responseHeaderVersion(v));
            }
            text.append('\n');
        }
        for (Errors error : Errors.values()) {
            boolean retriable = error.exception() instanceof RetriableException;
            text.append("error\t").append(error.code()).append('\t').append(error.name()).append('\t').append(retriable);
            text.append('\t').append(error.message()).append('\n');
        }
        return text.toString().getBytes(StandardCharsets.UTF_8);
    }
}
