//! Ids for idempotent producers, taken from blocks that the controller gives out (`RPCProducerIdManager`).

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::AllocateProducerIdsRequest;
use tokio::sync::Mutex;

use crate::broker::Broker;

/// The rest of the current block.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    block: Mutex<std::ops::Range<i64>>,
}

impl ProducerIds {
    /// The next producer id; asks the controller for another block when the current one is used up.
    pub(crate) async fn next(broker: &Arc<Broker>) -> Result<i64, ErrorCode> {
        let mut block = broker.producer_ids.block.lock().await;
        if let Some(id) = block.next() {
            return Ok(id);
        }
        let broker_epoch = broker.image().cluster().broker(broker.node_id).map_or(-1, |b| b.epoch.value());
        let request = AllocateProducerIdsRequest { broker_id: broker.node_id.value(), broker_epoch };
        let response = broker
            .controller
            .decide(move |controller, _, _| controller.allocate_producer_ids(&request))
            .await
            .map_err(|_| ErrorCode::CoordinatorLoadInProgress)?;
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => {
                let start = response.producer_id_start;
                *block = start..start + i64::from(response.producer_id_len);
                block.next().ok_or(ErrorCode::CoordinatorLoadInProgress)
            }
            _ => Err(ErrorCode::CoordinatorLoadInProgress),
        }
    }
}
