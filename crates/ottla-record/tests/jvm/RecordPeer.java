// Apache Kafka's record classes behind a line protocol, for tests that compare them with ours.
//
// Run from source: java -cp '<directory of Kafka jars>/*' RecordPeer.java. One command a line on standard input, one answer
// a line on standard output: "ok ..." or "err <exception> <message>". Bytes are in hex, "-" is null.
//
//   write <magic> <codec> <level|-> <base offset> <append time|-> <producer> <epoch> <sequence> <transactional>
//         <leader epoch> <record>...      -> ok <bytes>
//   marker <offset> <leader epoch> <timestamp> <producer> <epoch> <commit> <coordinator epoch>   -> ok <bytes>
//   read <bytes>                          -> ok <record>...
//   validate <client|coordinator> <codec|producer> <compacted> <append time: true|false> <before> <after> <max bytes>
//         <max record> <offset> <leader epoch> <now> <bytes>
//                                         -> ok <max timestamp> <bytes>, or err with "<index>=<message in hex>" at the end
//
// A record is offset,timestamp,key,value[,header key=header value]...

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.compress.GzipCompression;
import org.apache.kafka.common.compress.Lz4Compression;
import org.apache.kafka.common.compress.ZstdCompression;
import org.apache.kafka.common.errors.CorruptRecordException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.requests.ProduceResponse;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.internals.BufferSupplier;
import org.apache.kafka.common.utils.internals.PrimitiveRef;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogValidator;
import org.apache.kafka.storage.internals.log.RecordValidationException;

public class RecordPeer {
    private static final HexFormat HEX = HexFormat.of();

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.US_ASCII);
        System.setOut(System.err);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII), 1 << 20);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String answer;
            try {
                answer = "ok " + answer(line.split(" ", -1));
            } catch (RecordValidationException e) {
                StringBuilder text = new StringBuilder("err " + name(e.invalidException()));
                text.append(' ').append(hex(e.invalidException().getMessage().getBytes(StandardCharsets.UTF_8)));
                for (ProduceResponse.RecordError error : e.recordErrors())
                    text.append(' ').append(error.batchIndex).append('=')
                        .append(hex(error.message.getBytes(StandardCharsets.UTF_8)));
                answer = text.toString();
            } catch (Throwable e) {
                String message = String.valueOf(e.getMessage());
                answer = "err " + name(e) + " " + hex(message.getBytes(StandardCharsets.UTF_8));
            }
            out.println(answer);
        }
    }

    private static String answer(String[] words) throws Exception {
        return switch (words[0]) {
            case "write" -> write(words);
            case "marker" -> marker(words);
            case "read" -> read(words[1]);
            case "validate" -> validate(words);
            default -> throw new IllegalArgumentException("unknown command " + words[0]);
        };
    }

    private static String write(String[] words) {
        byte magic = Byte.parseByte(words[1]);
        boolean appendTime = !words[5].equals("-");
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 16), magic,
            compression(words[2], words[3]),
            appendTime ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME, Long.parseLong(words[4]),
            appendTime ? Long.parseLong(words[5]) : RecordBatch.NO_TIMESTAMP, Long.parseLong(words[6]),
            Short.parseShort(words[7]), Integer.parseInt(words[8]), Boolean.parseBoolean(words[9]),
            Integer.parseInt(words[10]));
        for (int i = 11; i < words.length; i++) {
            String[] fields = words[i].split(",", -1);
            Header[] headers = new Header[fields.length - 4];
            for (int h = 0; h < headers.length; h++) {
                String[] header = fields[h + 4].split("=", -1);
                headers[h] = new RecordHeader(new String(bytes(header[0]), StandardCharsets.UTF_8), bytes(header[1]));
            }
            builder.appendWithOffset(Long.parseLong(fields[0]), Long.parseLong(fields[1]), bytes(fields[2]),
                bytes(fields[3]), headers);
        }
        return hex(builder.build());
    }

    private static String marker(String[] words) {
        ControlRecordType type = Boolean.parseBoolean(words[6]) ? ControlRecordType.COMMIT : ControlRecordType.ABORT;
        return hex(MemoryRecords.withEndTransactionMarker(Long.parseLong(words[1]), Long.parseLong(words[3]),
            Integer.parseInt(words[2]), Long.parseLong(words[4]), Short.parseShort(words[5]),
            new EndTransactionMarker(type, Integer.parseInt(words[7]))));
    }

    private static String read(String bytes) {
        StringBuilder text = new StringBuilder();
        for (MutableRecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(bytes(bytes))).batches()) {
            batch.ensureValid();
            for (Record record : batch) {
                record.ensureValid();
                text.append(text.isEmpty() ? "" : " ").append(record.offset()).append(',').append(record.timestamp());
                text.append(',').append(hex(record.key())).append(',').append(hex(record.value()));
                for (Header header : record.headers())
                    text.append(',').append(hex(header.key().getBytes(StandardCharsets.UTF_8))).append('=')
                        .append(hex(header.value()));
            }
        }
        return text.toString();
    }

    private static String validate(String[] words) {
        boolean client = words[1].equals("client");
        MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(bytes(words[12])));
        ProduceRequest.validateRecords((short) 12, records);
        CompressionType source = CompressionType.NONE;
        int valid = 0;
        for (MutableRecordBatch batch : records.batches()) {
            if (client && batch.baseOffset() != 0)
                throw new InvalidRecordException("base offset");
            if (batch.sizeInBytes() > Integer.parseInt(words[7]))
                throw new RecordTooLargeException("batch");
            if (!batch.isValid())
                throw new CorruptRecordException("checksum");
            source = batch.compressionType();
            valid += batch.sizeInBytes();
        }
        ByteBuffer cut = records.buffer().duplicate();
        cut.limit(valid);
        long now = Long.parseLong(words[11]);
        LogValidator validator = new LogValidator(MemoryRecords.readableRecords(cut), new TopicPartition("orders", 3),
            new FixedTime(now), source, words[2].equals("producer") ? compression(source.name, "-")
            : compression(words[2], "-"), Boolean.parseBoolean(words[3]), RecordBatch.MAGIC_VALUE_V2,
            Boolean.parseBoolean(words[4]) ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME,
            Long.parseLong(words[5]), Long.parseLong(words[6]), Integer.parseInt(words[10]),
            client ? AppendOrigin.CLIENT : AppendOrigin.COORDINATOR, Integer.parseInt(words[8]));
        LogValidator.ValidationResult result = validator.validateMessagesAndAssignOffsets(
            PrimitiveRef.ofLong(Long.parseLong(words[9])), new NoMetrics(), BufferSupplier.NO_CACHING);
        for (MutableRecordBatch batch : result.validatedRecords().batches())
            if (result.messageSizeMaybeChanged() && batch.sizeInBytes() > Integer.parseInt(words[7]))
                throw new RecordTooLargeException("batch");
        return result.maxTimestampMs() + " " + hex(result.validatedRecords());
    }

    private static Compression compression(String name, String level) {
        if (level.equals("-"))
            return Compression.of(CompressionType.forName(name)).build();
        int number = Integer.parseInt(level);
        return switch (name) {
            case "gzip" -> new GzipCompression.Builder().level(number).build();
            case "lz4" -> new Lz4Compression.Builder().level(number).build();
            case "zstd" -> new ZstdCompression.Builder().level(number).build();
            default -> throw new IllegalArgumentException(name + " has no levels");
        };
    }

    private static String name(Throwable error) {
        return error.getClass().getSimpleName();
    }

    private static byte[] bytes(String text) {
        return text.equals("-") ? null : HEX.parseHex(text);
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? "-" : HEX.formatHex(bytes);
    }

    private static String hex(ByteBuffer buffer) {
        if (buffer == null)
            return "-";
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return HEX.formatHex(bytes);
    }

    private static String hex(MemoryRecords records) {
        return hex(records.buffer().duplicate());
    }

    private record FixedTime(long milliseconds) implements Time {
        @Override
        public long nanoseconds() {
            return 0;
        }

        @Override
        public void sleep(long ms) {
        }
    }

    private static class NoMetrics implements LogValidator.MetricsRecorder {
        @Override
        public void recordInvalidMagic() {
        }

        @Override
        public void recordInvalidOffset() {
        }

        @Override
        public void recordInvalidSequence() {
        }

        @Override
        public void recordInvalidChecksums() {
        }

        @Override
        public void recordNoKeyCompactedTopic() {
        }
    }
}
