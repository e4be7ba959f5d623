//! Record data as fields that rules can be declared for.

use ottla_protocol::messages::FetchResponse;
use ottla_record::{BatchView, RecordView};

/// The batches of a partition in a Fetch response.
#[derive(Debug)]
#[allow(dead_code, reason = "read by Debug")]
pub(crate) struct Came {
    partition: i32,
    batches: Vec<Batch>,
    /// Bytes of a batch that is not whole.
    rest: usize,
}

#[derive(Debug)]
#[allow(dead_code, reason = "read by Debug")]
struct Batch {
    base_offset: i64,
    last_offset_delta: i32,
    leader_epoch: i32,
    attributes: u8,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    is_sound: bool,
    /// Nothing when compressed: codecs of the same format may pack differently.
    bytes: Option<usize>,
    records: Vec<Record>,
}

#[derive(Debug)]
#[allow(dead_code, reason = "read by Debug")]
struct Record {
    offset: i64,
    timestamp: i64,
    key: Option<String>,
    value: Option<String>,
    headers: usize,
}

/// Leaves of record data whether it is there: [`of`] looks into it.
pub(crate) fn take_out(answer: &mut FetchResponse<'static>) {
    for partition in answer.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        if let Some(records) = &mut partition.records {
            *records = b""[..].into();
        }
    }
}

/// The batches of a response, by partition.
pub(crate) fn of(answer: &FetchResponse<'_>) -> Vec<Came> {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let came = partitions.filter_map(|partition| {
        let mut left = partition.records.as_ref()?.as_slice()?;
        let mut batches = Vec::new();
        while let Ok((batch, behind)) = BatchView::parse(left) {
            batches.push(Batch::of(&batch));
            left = behind;
        }
        Some(Came { partition: partition.partition_index, batches, rest: left.len() })
    });
    came.collect()
}

impl Batch {
    fn of(batch: &BatchView<'_>) -> Self {
        let mut records = Vec::new();
        if let Ok(mut stream) = batch.records() {
            while let Ok(Some(record)) = stream.try_next() {
                records.push(Record::of(&record));
            }
        }
        let attributes = batch.attributes();
        Self {
            base_offset: batch.base_offset().0,
            last_offset_delta: batch.last_offset_delta(),
            leader_epoch: batch.leader_epoch().0,
            attributes: attributes.bits(),
            base_timestamp: batch.base_timestamp(),
            max_timestamp: batch.max_timestamp(),
            producer_id: batch.producer_id().0,
            producer_epoch: batch.producer_epoch().0,
            base_sequence: batch.base_sequence().0,
            is_sound: batch.verify_crc().is_ok(),
            bytes: (!attributes.is_compressed()).then_some(batch.bytes().len()),
            records,
        }
    }
}

impl Record {
    fn of(record: &RecordView<'_>) -> Self {
        let text = |bytes: &[u8]| {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            format!("{start} ({} bytes)", bytes.len())
        };
        Self {
            offset: record.offset.0,
            timestamp: record.timestamp,
            key: record.key.map(text),
            value: record.value.map(text),
            headers: record.headers.len(),
        }
    }
}
