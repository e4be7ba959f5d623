//! The codec at its edges: borrowing, gaps, nulls, tags, hostile lengths, headers.

use std::borrow::Cow;

use bytes::Bytes;
use ottla_types::Uuid;

use super::*;
use crate::header::{encode_request, encode_response, read_response_header};
use crate::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, ConsumerGroupMemberMetadataValue, FetchRequest,
    FetchResponse, HeartbeatRequest, JoinGroupRequest, MetadataRequest, ProduceRequest,
    ShareGroupHeartbeatResponse,
    fetch_response::{FetchableTopicResponse, PartitionData},
    produce_request::{PartitionProduceData, TopicProduceData},
};

fn produce(records: RecordData<'_>) -> ProduceRequest<'_> {
    let partition_data = vec![PartitionProduceData { index: 3, records: Some(records) }];
    let topic = TopicProduceData { name: "t".into(), partition_data, ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 1500, topic_data: vec![topic], ..Default::default() }
}

#[test]
fn decoding_borrows_strings_and_record_data() {
    let bytes = produce(RecordData::Borrowed(b"batch")).encode(9).unwrap();
    let request = ProduceRequest::decode(&bytes, 9).unwrap();
    let Cow::Borrowed(name) = request.topic_data[0].name else { panic!("copied the name") };
    assert!(bytes.as_ptr_range().contains(&name.as_ptr()));
    let Some(RecordData::Borrowed(records)) = &request.topic_data[0].partition_data[0].records else {
        panic!("copied the records")
    };
    assert!(bytes.as_ptr_range().contains(&records.as_ptr()));
}

#[test]
fn shared_decoding_outlives_the_frame_and_shares_its_records() {
    let frame = Bytes::from(produce(RecordData::Borrowed(b"batch")).encode(9).unwrap());
    let range = frame.as_ptr_range();
    let request: ProduceRequest<'static> = decode_shared(&frame, 9).unwrap();
    drop(frame);
    assert_eq!(request, produce(Bytes::from_static(b"batch").into()));
    let Some(RecordData::Owned(records)) = &request.topic_data[0].partition_data[0].records else {
        panic!("not shared")
    };
    assert!(range.contains(&records.as_ptr()));
}

#[test]
fn external_records_leave_gaps_in_the_encoding() {
    let partition = |index, records| PartitionData {
        partition_index: index,
        records,
        current_leader: crate::messages::fetch_response::LeaderIdAndEpoch { leader_id: 1, leader_epoch: 2 },
        ..Default::default()
    };
    let response = |records: [Option<RecordData<'static>>; 4]| FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic_id: Uuid::from_parts(1, 2),
            partitions: (0..).zip(records).map(|(index, records)| partition(index, records)).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let plain = response([
        Some(vec![1; 300].into()),
        None,
        Some(RecordData::Borrowed(&[2, 2])),
        Some(RecordData::Borrowed(&[])),
    ]);
    let external = response([
        Some(RecordData::External(300)),
        None,
        Some(RecordData::External(2)),
        Some(RecordData::External(0)),
    ]);
    for version in [13, 16, 18] {
        let whole = plain.encode(version).unwrap();
        assert_eq!(external.size(version).unwrap(), whole.len());
        assert_eq!(external.encode(version).unwrap_err().fault, EncodeFault::ExternalRecords);
        let encoded = external.encode_parts(version).unwrap();
        assert_eq!(encoded.len(), whole.len());
        let mut files = [vec![1; 300], vec![2; 2], vec![]].into_iter();
        let mut sent = Vec::new();
        for part in encoded.into_parts() {
            match part {
                Part::Bytes(bytes) => sent.extend(bytes),
                Part::External(len) => {
                    let file = files.next().unwrap();
                    assert_eq!(file.len(), len);
                    sent.extend(file);
                }
            }
        }
        assert_eq!(sent, whole);
    }
}

#[test]
fn a_count_beyond_the_bytes_is_refused_before_taking_memory() {
    let mut r = Reader::new(&[0x7f, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
    assert_eq!(r.array::<i32>().capacity(), 0);
    assert_eq!(r.fault(), Some((DecodeFault::LengthBeyondEnd, 4)));
    assert_eq!(r.remaining(), 0);
}

#[test]
fn a_count_within_the_bytes_takes_memory_only_as_elements_come() {
    // A hundred thousand topics of at least three bytes each could be in these bytes; none is.
    let mut bytes = vec![0xff; 300_000];
    bytes.splice(..0, 100_000_i32.to_be_bytes());
    let mut r = Reader::new(&bytes);
    let topics = r.array::<FetchableTopicResponse<'_>>();
    let size = topics.capacity() * size_of::<FetchableTopicResponse<'_>>();
    assert!(size <= 4 * bytes.len() + 4 * size_of::<FetchableTopicResponse<'_>>(), "{size} bytes");
    assert!(r.fault().is_some_and(|(fault, _)| fault != DecodeFault::TooManyElements), "{:?}", r.fault());
}

#[test]
fn elements_that_take_many_times_the_bytes_are_refused() {
    let names = |count: i32| {
        let mut bytes = count.to_be_bytes().to_vec();
        (0..count).for_each(|_| bytes.extend([0, 1, b'x']));
        bytes
    };
    let read = |bytes: &[u8], shared: bool| {
        let mut r = if shared { Reader::shared(bytes.to_vec().into()) } else { Reader::new(bytes) };
        (r.array::<Cow<'_, str>>().len(), r.fault())
    };
    for shared in [false, true] {
        assert_eq!(read(&names(500_000), shared), (500_000, None));
        let refused = (0, Some((DecodeFault::TooManyElements, 4)));
        assert_eq!(read(&names(5_000_000), shared), refused, "five million names");
    }
}

#[test]
fn fields_that_a_version_lacks_may_only_hold_their_default() {
    let request = JoinGroupRequest { group_instance_id: Some("i".into()), ..Default::default() };
    let error = request.encode(4).unwrap_err();
    assert_eq!(error.fault, EncodeFault::FieldNotInVersion("group_instance_id"));
    let text = "JoinGroupRequest version 4: field group_instance_id is set, but the version lacks it";
    assert_eq!(error.to_string(), text);
    assert!(request.encode(5).is_ok());
    // Ignorable fields are dropped.
    let request = ApiVersionsRequest { client_software_name: "ottla".into(), ..Default::default() };
    assert_eq!(request.encode(0).unwrap(), [0_u8; 0]);
}

#[test]
fn fields_that_a_version_lacks_are_read_as_their_default() {
    let bytes = FetchRequest { max_wait_ms: 7, ..Default::default() }.encode(4).unwrap();
    let request = FetchRequest::decode(&bytes, 4).unwrap();
    assert_eq!(request, FetchRequest { max_wait_ms: 7, ..Default::default() });
    assert_eq!((request.session_epoch, request.replica_state.replica_id), (-1, -1));
}

#[test]
fn null_is_refused_where_the_version_does_not_allow_it() {
    let request = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(request.encode(0).unwrap_err().fault, EncodeFault::UnexpectedNull);
    assert!(request.encode(1).is_ok());
    let null = [0xff; 4];
    assert_eq!(MetadataRequest::decode(&null, 0).unwrap_err().fault, DecodeFault::UnexpectedNull);
    assert_eq!(MetadataRequest::decode(&null, 1).unwrap().topics, None);
}

#[test]
fn a_null_struct_is_a_byte_inline_and_a_varint_when_tagged() {
    let response = ShareGroupHeartbeatResponse { assignment: None, ..Default::default() };
    let bytes = response.encode(1).unwrap();
    assert_eq!(bytes[bytes.len() - 2..], [0xff, 0]);
    let value = ConsumerGroupMemberMetadataValue { classic_member_metadata: None, ..Default::default() };
    let bytes = value.encode(0).unwrap();
    assert_eq!(bytes[bytes.len() - 4..], [1, 0, 1, 0]);
}

#[test]
fn strings_beyond_32767_bytes_are_refused() {
    let long = "x".repeat(32768);
    let request = HeartbeatRequest { group_id: long.as_str().into(), ..Default::default() };
    assert_eq!(request.encode(0).unwrap_err().fault, EncodeFault::TooLong);
    assert_eq!(request.encode(4).unwrap_err().fault, EncodeFault::TooLong);
    let request = HeartbeatRequest { group_id: long[..32767].into(), ..Default::default() };
    let mut bytes = request.encode(4).unwrap();
    assert_eq!(HeartbeatRequest::decode(&bytes, 4).as_ref(), Ok(&request));
    assert_eq!(bytes[..3], [0x80, 0x80, 0x02]);
    bytes[0] = 0x81;
    assert_eq!(HeartbeatRequest::decode(&bytes, 4).unwrap_err().fault, DecodeFault::StringTooLong);
}

#[test]
fn malformed_utf8_becomes_replacement_characters() {
    let mut bytes = HeartbeatRequest { group_id: "ab".into(), ..Default::default() }.encode(0).unwrap();
    bytes[3] = 0xff;
    assert_eq!(HeartbeatRequest::decode(&bytes, 0).unwrap().group_id, "a\u{fffd}");
}

/// A response header of version 1 is a correlation id and tagged fields: the smallest flexible message.
fn with_tags(tags: &[u8]) -> Result<i32, DecodeFault> {
    let bytes = [&[0, 0, 0, 9], tags].concat();
    let header = crate::messages::ResponseHeader::decode(&bytes, 1);
    header.map(|header| header.correlation_id).map_err(|error| error.fault)
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    assert_eq!(with_tags(&[0]), Ok(9));
    assert_eq!(with_tags(&[2, 5, 3, 1, 2, 3, 0x80, 0x01, 0]), Ok(9));
    assert_eq!(with_tags(&[1, 5, 3, 1, 2]), Err(DecodeFault::LengthBeyondEnd));
    assert_eq!(with_tags(&[2, 5, 0]), Err(DecodeFault::Truncated));
    assert_eq!(with_tags(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(DecodeFault::BadVarint));
    assert_eq!(with_tags(&[1, 5, 0, 0]), Err(DecodeFault::TrailingBytes));
}

#[test]
fn tagged_fields_must_fill_their_size_and_belong_to_the_version() {
    let request = FetchRequest { cluster_id: Some("c".into()), ..Default::default() };
    let good = request.encode(14).unwrap();
    let tags = good.len() - 5;
    assert_eq!(good[tags..], [1, 0, 2, 2, b'c']);
    for (size, extra) in [(1, 0), (3, 1)] {
        let mut bad = good.clone();
        bad[tags + 2] = size;
        bad.extend(vec![0; extra]);
        assert_eq!(FetchRequest::decode(&bad, 14).unwrap_err().fault, DecodeFault::BadTagSize, "size {size}");
    }
    let mut bad = good;
    bad[tags + 1] = 1;
    assert_eq!(FetchRequest::decode(&bad, 14).unwrap_err().fault, DecodeFault::MisplacedTag);
}

#[test]
fn tagged_values_longer_than_127_bytes_get_a_longer_size() {
    let request = FetchRequest { cluster_id: Some("c".repeat(500).into()), ..Default::default() };
    let bytes = request.encode(17).unwrap();
    assert_eq!(bytes.len(), request.size(17).unwrap());
    assert_eq!(FetchRequest::decode(&bytes, 17).unwrap(), request);
}

#[test]
fn request_headers_keep_the_old_client_id_in_flexible_versions() {
    let request = HeartbeatRequest { group_id: "g".into(), generation_id: 1, ..Default::default() };
    let frame = encode_request(&request, 4, 7, Some("me")).unwrap().into_bytes().unwrap();
    assert_eq!(frame[..13], [0, 12, 0, 4, 0, 0, 0, 7, 0, 2, b'm', b'e', 0]);
    let mut r = Reader::new(&frame);
    let header = crate::RequestHeader::read(&mut r).unwrap();
    assert_eq!((header.api_key, header.api_version, header.correlation_id), (ApiKey::Heartbeat, 4, 7));
    assert_eq!(header.client_id.as_deref(), Some("me"));
    assert_eq!(HeartbeatRequest::read(&mut r, 4).unwrap(), request);
    assert_eq!(r.remaining(), 0);
    let frame = encode_request(&request, 3, 7, None).unwrap().into_bytes().unwrap();
    assert_eq!(frame[..11], [0, 12, 0, 3, 0, 0, 0, 7, 0xff, 0xff, 0]);
}

#[test]
fn request_headers_of_unknown_apis_and_cut_off_ones_are_told_apart() {
    let fault = |bytes: &[u8]| crate::RequestHeader::read(&mut Reader::new(bytes)).unwrap_err().fault;
    assert_eq!(fault(&[3, 232, 0, 0, 0, 0, 0, 0]), DecodeFault::UnknownApiKey(1000));
    assert_eq!(fault(&[0, 12, 0]), DecodeFault::Truncated);
    assert_eq!(fault(&[0, 12, 0, 4, 0, 0]), DecodeFault::Truncated);
    assert_eq!(fault(&[]), DecodeFault::Truncated);
}

#[test]
fn headers_of_future_api_versions_requests_can_be_read() {
    let mut r = Reader::new(&[0, 18, 0x7f, 0xff, 0, 0, 0, 1, 0xff, 0xff, 0, 9, 9, 9]);
    let header = crate::RequestHeader::read(&mut r).unwrap();
    assert_eq!((header.api_key, header.api_version), (ApiKey::ApiVersions, i16::MAX));
    assert_eq!(r.remaining(), 3);
}

#[test]
fn api_versions_responses_keep_the_old_header() {
    let response = ApiVersionsResponse::default();
    let frame = encode_response(&response, ApiKey::ApiVersions, 3, 5).unwrap().into_bytes().unwrap();
    assert_eq!(frame, [&[0, 0, 0, 5], response.encode(3).unwrap().as_slice()].concat());
    let mut r = Reader::new(&frame);
    assert_eq!(read_response_header(&mut r, ApiKey::ApiVersions, 3), Ok(5));
    assert_eq!(ApiVersionsResponse::read(&mut r, 3).unwrap(), response);
}

#[test]
fn errors_say_what_and_where() {
    let error = HeartbeatRequest::decode(&[0, 3, b'a'], 0).unwrap_err();
    let text = "HeartbeatRequest version 0: length exceeds the bytes that follow at byte 2";
    assert_eq!(error.to_string(), text);
    let error = HeartbeatRequest::decode(&[], 99).unwrap_err();
    assert_eq!(error.to_string(), "HeartbeatRequest version 99: unsupported version at byte 0");
}
