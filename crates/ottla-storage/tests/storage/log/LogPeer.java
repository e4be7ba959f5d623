// Apache Kafka's log of one partition (UnifiedLog) behind a line protocol, for tests that compare it with ours.
//
// Run from source: java -cp '<directory of Kafka jars>/*' LogPeer.java. One command a line on standard input, one answer a
// line on standard output: "ok ..." or "err <exception>". Bytes are in hex.
//
//   open <dir> <clean: true|false> <recovery point> <log start> <now> <segment bytes> <index interval> <segment ms>
//   leader <client|coordinator> <epoch> <transaction version> <batch>    -> ok <first offset> <last offset>
//   follower <epoch> <batches>                                           -> ok <log end>
//   epoch <epoch> <offset> | roll | truncate <offset> | restart <offset> | watermark <offset> | start <offset> | flush
//   retain <retention bytes>                -> ok <segments removed>
//   state                                   -> ok <everything that can be seen>
//   time <timestamp>                        -> ok <timestamp>@<offset>/<epoch>, or ok none; -3 is the maximum
//   end <epoch>                             -> ok <epoch>@<offset>, or ok none
//   read <offset> <max bytes> <committed>   -> ok <base offset> <bytes> <aborted transactions>
//   config <key> <value>                    changes a setting
//   now <ms>                                sets the clock
//   dirty <checkpoint, or -1>               -> ok <first dirty> <first uncleanable> <reset: true|false> <dirty ratio>
//   clean <first dirty> <uncleanable> <map bytes> <buffer bytes>         -> ok <next dirty offset>
//   close                                   the clean end

import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.server.storage.log.FetchIsolation;
import org.apache.kafka.server.util.Scheduler;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.Cleaner;
import org.apache.kafka.storage.internals.log.LogCleanerManager;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogStartOffsetIncrementReason;
import org.apache.kafka.storage.internals.log.LogToClean;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.SkimpyOffsetMap;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.log.VerificationGuard;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class LogPeer {
    static long now;
    static UnifiedLog log;
    static Map<String, Object> settings;

    /** A clock that stands. */
    static final Time CLOCK = new Time() {
        public long milliseconds() { return now; }
        public long nanoseconds() { return now * 1_000_000; }
        public void sleep(long ms) { }
    };

    static final ScheduledThreadPoolExecutor NEVER = new ScheduledThreadPoolExecutor(0);

    /** Does at once what has no delay, and never what has one: removed files stay as ".deleted". */
    static final Scheduler INLINE = new Scheduler() {
        public void startup() { }
        public void shutdown() { }
        public void resizeThreadPool(int size) { }
        public ScheduledFuture<?> schedule(String name, Runnable task, long delayMs, long periodMs) {
            if (delayMs == 0 && periodMs < 0) task.run();
            return NEVER.schedule(() -> { }, 1_000_000, TimeUnit.DAYS);
        }
    };

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        PrintStream out = System.out;
        for (String line; (line = in.readLine()) != null;) {
            String answer;
            try {
                answer = "ok " + run(line.split(" "));
            } catch (Throwable e) {
                answer = "err " + e.getClass().getSimpleName() + " " + String.valueOf(e.getMessage()).replace('\n', ' ');
            }
            out.println(answer.stripTrailing());
            out.flush();
        }
    }

    static String run(String[] c) throws Exception {
        switch (c[0]) {
            case "open": return open(c);
            case "leader": return leader(c);
            case "follower":
                log.appendAsFollower(records(c[2]), Integer.parseInt(c[1]));
                return "" + log.logEndOffset();
            case "epoch":
                log.assignEpochStartOffset(Integer.parseInt(c[1]), Long.parseLong(c[2]));
                return "";
            case "roll": log.roll(); return "";
            case "truncate": log.truncateTo(Long.parseLong(c[1])); return "";
            case "restart": log.truncateFullyAndStartAt(Long.parseLong(c[1]), Optional.empty()); return "";
            case "watermark": log.updateHighWatermark(Long.parseLong(c[1])); return "";
            case "start":
                log.maybeIncrementLogStartOffset(Long.parseLong(c[1]), LogStartOffsetIncrementReason.ClientRecordDeletion);
                return "";
            case "flush": log.flush(false); return "";
            case "retain":
                settings.put("retention.bytes", c[1]);
                log.updateConfig(new LogConfig(settings));
                return "" + log.deleteOldSegments();
            case "state": return state();
            case "time": return log.fetchOffsetByTimestamp(Long.parseLong(c[1]), Optional.empty()).timestampAndOffsetOpt()
                .map(t -> t.timestamp + "@" + t.offset + "/" + t.leaderEpoch.orElse(-1)).orElse("none");
            case "end": return log.endOffsetForEpoch(Integer.parseInt(c[1]))
                .map(e -> e.epoch() + "@" + e.offset()).orElse("none");
            case "read": return read(c);
            case "config":
                settings.put(c[1], c[2]);
                log.updateConfig(new LogConfig(settings));
                return "";
            case "now": now = Long.parseLong(c[1]); return "";
            case "dirty": return dirty(c);
            case "clean": return "" + new Cleaner(0, new SkimpyOffsetMap(Integer.parseInt(c[3])), Integer.parseInt(c[4]),
                    1 << 20, 0.9, new Throttler(Double.MAX_VALUE, 300, "t", "b", CLOCK), CLOCK, p -> { })
                .doClean(new LogToClean(log, Long.parseLong(c[1]), Long.parseLong(c[2]), false), now).getKey();
            case "close":
                log.prepareActiveSegmentForClose();
                log.flush(true);
                log.takeProducerSnapshot();
                log.close();
                return "";
            default: throw new IllegalArgumentException(c[0]);
        }
    }

    static String dirty(String[] c) throws Exception {
        Optional<Long> checkpoint = c[1].equals("-1") ? Optional.empty() : Optional.of(Long.parseLong(c[1]));
        var find = LogCleanerManager.class.getDeclaredMethod("cleanableOffsets", UnifiedLog.class, Optional.class, long.class);
        find.setAccessible(true);
        Object found = find.invoke(null, log, checkpoint, now);
        long[] offsets = new long[2];
        String reset = "";
        for (var part : found.getClass().getRecordComponents()) {
            var get = part.getAccessor();
            get.setAccessible(true);
            switch (part.getName()) {
                case "firstDirtyOffset": offsets[0] = (long) get.invoke(found); break;
                case "firstUncleanableDirtyOffset": offsets[1] = (long) get.invoke(found); break;
                default: reset = "" + get.invoke(found);
            }
        }
        LogToClean toClean = new LogToClean(log, offsets[0], offsets[1], false);
        return offsets[0] + " " + toClean.firstUncleanableOffset() + " " + reset + " " + toClean.cleanableBytes() + "/"
            + toClean.totalBytes();
    }

    static String open(String[] c) throws Exception {
        now = Long.parseLong(c[5]);
        settings = new HashMap<>();
        settings.put("internal.segment.bytes", c[6]);
        settings.put("index.interval.bytes", c[7]);
        settings.put("segment.ms", c[8]);
        settings.put("retention.ms", "-1");
        settings.put("message.timestamp.after.max.ms", "" + Long.MAX_VALUE);
        log = UnifiedLog.create(new File(c[1]), new LogConfig(settings), Long.parseLong(c[4]), Long.parseLong(c[3]), INLINE,
            new BrokerTopicStats(false), CLOCK, 900_000, new ProducerStateManagerConfig(86_400_000, false), 600_000,
            new LogDirFailureChannel(10), Boolean.parseBoolean(c[2]), Optional.empty());
        return "";
    }

    static String leader(String[] c) throws Exception {
        AppendOrigin origin = c[1].equals("client") ? AppendOrigin.CLIENT : AppendOrigin.COORDINATOR;
        var info = log.appendAsLeader(records(c[4]), Integer.parseInt(c[2]), origin, RequestLocal.noCaching(),
            VerificationGuard.SENTINEL, Short.parseShort(c[3]));
        return info.firstOffset() + " " + info.lastOffset();
    }

    static String read(String[] c) throws Exception {
        boolean committed = Boolean.parseBoolean(c[3]);
        var info = log.read(Long.parseLong(c[1]), Integer.parseInt(c[2]),
            committed ? FetchIsolation.TXN_COMMITTED : FetchIsolation.HIGH_WATERMARK, true);
        String aborted = info.abortedTransactions.map(list -> list.stream()
            .map(t -> t.producerId() + ":" + t.firstOffset()).collect(Collectors.joining(","))).orElse("");
        long base = -1;
        for (var batch : info.records.batches()) {
            base = batch.baseOffset();
            break;
        }
        return base + " " + info.records.sizeInBytes() + " " + aborted;
    }

    static String state() {
        String segments = log.logSegments().stream().map(s -> s.baseOffset() + ":" + s.size()).collect(Collectors.joining(","));
        String epochs = log.leaderEpochCache().epochEntries().stream().map(e -> e.epoch() + "@" + e.startOffset())
            .collect(Collectors.joining(","));
        String producers = log.activeProducers().stream()
            .sorted((a, b) -> Long.compare(a.producerId(), b.producerId()))
            .map(p -> p.producerId() + ":" + p.producerEpoch() + ":" + p.lastSequence() + ":" + p.lastTimestamp() + ":"
                + p.coordinatorEpoch() + ":" + p.currentTxnStartOffset())
            .collect(Collectors.joining(","));
        return "end=" + log.logEndOffset() + " start=" + log.logStartOffset() + " hw=" + log.highWatermark()
            + " lso=" + log.lastStableOffset() + " segments=" + segments + " epochs=" + epochs + " producers=" + producers;
    }

    static MemoryRecords records(String hex) {
        return MemoryRecords.readableRecords(ByteBuffer.wrap(HexFormat.of().parseHex(hex)));
    }
}
