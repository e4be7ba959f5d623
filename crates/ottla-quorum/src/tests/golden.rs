//! The bootstrap snapshot that Apache Kafka 4.4.0's StorageTool wrote for a standalone node: read, and written again.

use ottla_record::Batches;
use ottla_types::{LeaderEpoch, NodeId};

use crate::{BatchRecords, Control, MetadataBatch, data_batch};

const CHECKPOINT: &str = "\
    00000000000000000000009a00000000028008f84a002000000002000001a206f87083000001a206f87083ffffffffffffff \
    ffffffffffffff000000032a0000000800000003160000000001a206f8707400001e00000208000000050a00000001000082 \
    0100000408000000066e000002000000019648ac1e434a4b32aa49c0d4d0593a49020b434f4e54524f4c4c45520a6c6f6361 \
    6c686f73744a950000000001000000000000000000000003000000f100000000027ebd92a2000000000005000001a206f870 \
    9b000001a206f8709bffffffffffffffffffffffffffff000000063a000000012e010c00116d657461646174612e76657273 \
    696f6e002100005a000002014e010c0021656c696769626c652e6c65616465722e7265706c696361732e76657273696f6e00 \
    010000340000040128010c000e67726f75702e76657273696f6e00010000340000060128010c000e73686172652e76657273 \
    696f6e0002000038000008012c010c001073747265616d732e76657273696f6e000100004000000a0134010c00147472616e \
    73616374696f6e2e76657273696f6e0002000000000000000000090000003f000000000264627423002000000000000001a2 \
    06f8709f000001a206f8709fffffffffffffffffffffffffffff000000011a00000008000000040600000000";

fn bytes() -> Vec<u8> {
    let digits: Vec<u8> = CHECKPOINT.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn kafkas_bootstrap_snapshot_is_read() {
    let batches = MetadataBatch::read_all(&bytes()).unwrap();
    assert_eq!(batches.len(), 3);
    assert!(batches.iter().all(|batch| batch.epoch == LeaderEpoch(0)));
    let [Control::SnapshotHeader { .. }, Control::KRaftVersion(1), Control::Voters(voters)] =
        batches[0].controls()
    else {
        panic!("{:?}", batches[0])
    };
    let voter = voters.get(NodeId(1)).unwrap();
    assert_eq!(voter.directory.unwrap().to_string(), "lkisHkNKSzKqScDU0Fk6SQ");
    assert_eq!((voter.endpoints[0].listener.as_str(), voter.endpoints[0].port), ("CONTROLLER", 19_093));
    assert_eq!((voter.min_kraft_version, voter.max_kraft_version), (0, 1));
    assert_eq!(batches[1].values().count(), 6);
    assert_eq!(batches[2].controls(), [Control::SnapshotFooter]);
}

#[test]
fn what_was_read_is_written_with_the_same_bytes() {
    let bytes = bytes();
    for batch in Batches::new(&bytes) {
        let view = batch.unwrap();
        let batch = MetadataBatch::read(&view).unwrap();
        let again = match &batch.records {
            BatchRecords::Control(controls) => {
                Control::batch(controls, batch.base_offset, batch.epoch, batch.timestamp_ms).unwrap()
            }
            BatchRecords::Data(values) => {
                data_batch(values, batch.base_offset, batch.epoch, batch.timestamp_ms).unwrap()
            }
        };
        assert_eq!(again, view.bytes());
    }
}
