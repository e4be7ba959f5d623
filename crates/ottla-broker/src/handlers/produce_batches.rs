//! What a Produce request's record data must look like before any log sees it (`ProduceRequest.validateRecords`).

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::ProduceRequest;
use ottla_record::{Attributes, BatchView, Compression, HEADER_LEN, LOG_OVERHEAD};

/// Bytes up to and with the magic.
const UP_TO_MAGIC: usize = 17;
/// The fewest bytes after the length that a batch of any magic has.
const MIN_LEN: i32 = 14;
/// The magic of today's batches.
const MAGIC: u8 = 2;
/// Where the attributes are.
const ATTRIBUTES: usize = 21;

/// The whole batch at the beginning, if there is one: a rest that is too short is passed over, as readers of logs do.
///
/// # Errors
/// `CORRUPT_MESSAGE`: length or magic are not those of a batch.
fn first(records: &[u8]) -> Result<Option<&[u8]>, ErrorCode> {
    let Some(len) = records.get(8..LOG_OVERHEAD).and_then(|len| <[u8; 4]>::try_from(len).ok()) else {
        return Ok(None);
    };
    let len = i32::from_be_bytes(len);
    if len < MIN_LEN {
        return Err(ErrorCode::CorruptMessage);
    }
    match records.get(UP_TO_MAGIC - 1) {
        None => Ok(None),
        Some(magic) if *magic > MAGIC => Err(ErrorCode::CorruptMessage),
        Some(_) => {
            let size = usize::try_from(len).ok().and_then(|len| len.checked_add(LOG_OVERHEAD));
            Ok(size.and_then(|size| records.get(..size)))
        }
    }
}

fn is_current(batch: &[u8]) -> bool {
    batch.get(UP_TO_MAGIC - 1) == Some(&MAGIC) && batch.len() >= HEADER_LEN
}

fn attributes(batch: &[u8]) -> Option<Attributes> {
    BatchView::parse(batch).ok().map(|(batch, _)| batch.attributes())
}

/// Why a request as a whole is refused: it holds a batch that is none, or one of a transaction without naming the
/// transactional id (`RequestUtils.hasTransactionalRecords`).
pub(super) fn refusal(request: &ProduceRequest<'_>) -> Option<ErrorCode> {
    for partition in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
        let records = partition.records.as_ref().and_then(|records| records.as_slice()).unwrap_or_default();
        let batch = match first(records) {
            Ok(batch) => batch.filter(|batch| is_current(batch)),
            Err(code) => return Some(code),
        };
        let Some(low) = batch.and_then(|batch| batch.get(ATTRIBUTES + 1)) else { continue };
        if low & TRANSACTIONAL != 0 {
            let is_named = request.transactional_id.is_some();
            return (!is_named).then_some(ErrorCode::TransactionalIdAuthorizationFailed);
        }
    }
    None
}

/// The bit in the low byte of the attributes.
const TRANSACTIONAL: u8 = 0x10;

/// One partition's records are exactly one batch, of the current magic; zstd came with version 7 (KIP-110).
///
/// # Errors
/// `INVALID_RECORD`, `CORRUPT_MESSAGE`, `UNSUPPORTED_COMPRESSION_TYPE`, `UNKNOWN_SERVER_ERROR` (no such codec).
pub(super) fn check(records: &[u8], version: i16) -> Result<(), ErrorCode> {
    let batch = first(records)?.ok_or(ErrorCode::InvalidRecord)?;
    if batch.get(UP_TO_MAGIC - 1) != Some(&MAGIC) {
        return Err(ErrorCode::InvalidRecord);
    }
    if version < 7 {
        match attributes(batch).map(Attributes::compression) {
            Some(Ok(Compression::Zstd)) => return Err(ErrorCode::UnsupportedCompressionType),
            Some(Err(_)) => return Err(ErrorCode::UnknownServerError),
            _ => {}
        }
    }
    match first(records.get(batch.len()..).unwrap_or_default())? {
        None => Ok(()),
        Some(_) => Err(ErrorCode::InvalidRecord),
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use ottla_record::BatchBuilder;

    use super::*;

    fn batch(builder: BatchBuilder) -> Vec<u8> {
        let mut builder = builder;
        builder.append(1, None, Some(b"value"), &[]).unwrap();
        builder.build().unwrap()
    }

    fn request(transactional_id: Option<&'static str>, records: Vec<u8>) -> ProduceRequest<'static> {
        let partition_data = vec![PartitionProduceData { index: 0, records: Some(records.into()) }];
        ProduceRequest {
            transactional_id: transactional_id.map(Into::into),
            topic_data: vec![TopicProduceData { partition_data, ..TopicProduceData::default() }],
            ..ProduceRequest::default()
        }
    }

    #[test]
    fn one_batch_of_the_current_magic_is_taken() {
        let one = batch(BatchBuilder::new());
        assert_eq!(check(&one, 9), Ok(()));
        assert_eq!(check(&[&one[..], &[0; 5]].concat(), 9), Ok(()), "a rest too short to be one");
        assert_eq!(check(&[&one[..], &one].concat(), 9), Err(ErrorCode::InvalidRecord));
        assert_eq!(check(&[], 9), Err(ErrorCode::InvalidRecord));
        assert_eq!(check(&one[..one.len() - 1], 9), Err(ErrorCode::InvalidRecord));
        let mut legacy = one.clone();
        legacy[16] = 1;
        assert_eq!(check(&legacy, 9), Err(ErrorCode::InvalidRecord));
        legacy[16] = 3;
        assert_eq!(check(&legacy, 9), Err(ErrorCode::CorruptMessage));
    }

    #[test]
    fn zstd_needs_version_7() {
        let zstd = batch(BatchBuilder::new().codec(Compression::Zstd));
        assert_eq!(check(&zstd, 6), Err(ErrorCode::UnsupportedCompressionType));
        assert_eq!(check(&zstd, 7), Ok(()));
    }

    #[test]
    fn transactional_batches_need_a_transactional_id() {
        let records = batch(BatchBuilder::new().transactional(true));
        let unnamed = refusal(&request(None, records.clone()));
        assert_eq!(unnamed, Some(ErrorCode::TransactionalIdAuthorizationFailed));
        assert_eq!(refusal(&request(Some("id"), records)), None);
        assert_eq!(refusal(&request(None, batch(BatchBuilder::new()))), None);
    }

    #[test]
    fn lengths_that_no_batch_has_refuse_the_request() {
        for len in [-1, 0, 13] {
            let mut records = batch(BatchBuilder::new());
            records[8..12].copy_from_slice(&i32::to_be_bytes(len));
            assert_eq!(refusal(&request(None, records)), Some(ErrorCode::CorruptMessage), "{len}");
        }
        assert_eq!(refusal(&request(None, vec![0; 11])), None, "too short to have a length");
    }
}
