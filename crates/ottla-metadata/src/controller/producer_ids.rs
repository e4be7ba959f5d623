//! Blocks of producer ids.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use ottla_protocol::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use ottla_protocol::messages::producer_ids_record::ProducerIdsRecord;
use ottla_types::{BrokerEpoch, NodeId};

use super::{Controller, Decision};
use crate::record::VersionedRecord;

/// Ids in a block.
const BLOCK: i32 = 1000;

impl Controller {
    /// Answers AllocateProducerIds: the next block of 1000.
    pub fn allocate_producer_ids(
        &self,
        request: &AllocateProducerIdsRequest,
    ) -> Decision<AllocateProducerIdsResponse> {
        let refuse = |code: ErrorCode| {
            Decision::reply(AllocateProducerIdsResponse { error_code: code.code(), ..Default::default() })
        };
        if let Err(error) = self.checked_broker(NodeId(request.broker_id), BrokerEpoch(request.broker_epoch))
        {
            return refuse(error.code);
        }
        let first = self.image.producer_ids().next();
        let Some(next_producer_id) = first.checked_add(i64::from(BLOCK)) else {
            return refuse(ErrorCode::UnknownServerError);
        };
        let record = ProducerIdsRecord {
            broker_id: request.broker_id,
            broker_epoch: request.broker_epoch,
            next_producer_id,
        };
        let response = AllocateProducerIdsResponse {
            producer_id_start: first,
            producer_id_len: BLOCK,
            ..AllocateProducerIdsResponse::default()
        };
        Decision::of(vec![VersionedRecord::new(record, 0)], response)
    }
}
