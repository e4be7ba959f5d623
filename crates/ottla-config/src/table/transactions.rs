//! Broker keys: transactions and producers.

use super::area;

area! { Broker "Transactions and producers"
    "add.partitions.to.txn.retry.backoff.max.ms": Int "100", AtLeast(0), High, ReadOnly, Yes,
        "How long a broker keeps trying to add a partition to a transaction on behalf of a producer; `request.timeout.ms` bounds it too.";
    "add.partitions.to.txn.retry.backoff.ms": Int "20", AtLeast(1), High, ReadOnly, Yes,
        "Pause between two of these tries.";
    "producer.id.expiration.check.interval.ms" [internal]: Int "600000", AtLeast(1), Low, ReadOnly, Yes,
        "How often partitions look for producer ids to forget.";
    "producer.id.expiration.ms": Int "86400000", AtLeast(1), Low, ClusterWide, Yes,
        "A partition forgets a producer id that has not written for this time.";
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": Int "10000", AtLeast(1), Low, ReadOnly, Yes,
        "How often the coordinator looks for transactions past their timeout.";
    "transaction.max.timeout.ms": Int "900000", AtLeast(1), High, ReadOnly, Yes,
        "Longest timeout that a producer may ask for its transactions.";
    "transaction.partition.verification.enable": Boolean "true", Any, Low, ClusterWide, Yes,
        "Check with the coordinator that a partition belongs to the transaction before writing.";
    "transaction.remove.expired.transaction.cleanup.interval.ms": Int "3600000", AtLeast(1), Low, ReadOnly, Yes,
        "How often the coordinator looks for transactional ids to forget.";
    "transaction.state.log.load.buffer.size": Int "5242880", AtLeast(1), High, ReadOnly, Yes,
        "Bytes read at a time when a transaction coordinator loads its partition; a larger batch is read whole.";
    "transaction.state.log.min.isr": Int "2", AtLeast(1), High, ReadOnly, Yes,
        "`min.insync.replicas` of the transaction topic.";
    "transaction.state.log.num.partitions": Int "50", AtLeast(1), High, ReadOnly, Yes,
        "Partitions of the transaction topic; not to be changed once it exists.";
    "transaction.state.log.replication.factor": Short "3", AtLeast(1), High, ReadOnly, Yes,
        "Replicas of the transaction topic.";
    "transaction.state.log.segment.bytes": Int "104857600", AtLeast(1), High, ReadOnly, Yes,
        "Segment size of the transaction topic.";
    "transaction.two.phase.commit.enable": Boolean "false", Any, Low, ReadOnly, Later,
        "Allow transactions that an outside coordinator decides (two-phase commit).";
    "transactional.id.expiration.ms": Int "604800000", AtLeast(1), High, ReadOnly, Yes,
        "A transactional id without activity is forgotten after this time.";
}
