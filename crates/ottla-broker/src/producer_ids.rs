//! Ids for producers, taken from blocks that the controller gives out (`RPCProducerIdManager`).

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::AllocateProducerIdsRequest;
use ottla_types::ProducerId;

use crate::broker::Broker;

/// The rest of the current block.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    block: Mutex<Range<i64>>,
    /// One question to the controller at a time.
    asking: tokio::sync::Mutex<()>,
}

impl ProducerIds {
    /// The next producer id of the current block, if there is one.
    pub(crate) fn take(&self) -> Option<ProducerId> {
        self.block.lock().unwrap_or_else(PoisonError::into_inner).next().map(ProducerId)
    }

    fn is_used_up(&self) -> bool {
        self.block.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The next producer id; asks the controller for another block when the current one is used up.
    pub(crate) async fn next(broker: &Arc<Broker>) -> Result<i64, ErrorCode> {
        loop {
            if let Some(id) = broker.producer_ids.take() {
                return Ok(id.value());
            }
            Self::ensure(broker).await?;
        }
    }

    /// Makes sure that there is a block with ids in it.
    pub(crate) async fn ensure(broker: &Arc<Broker>) -> Result<(), ErrorCode> {
        let _asking = broker.producer_ids.asking.lock().await;
        if !broker.producer_ids.is_used_up() {
            return Ok(());
        }
        let broker_epoch = broker.image().cluster().broker(broker.node_id).map_or(-1, |b| b.epoch.value());
        let request = AllocateProducerIdsRequest { broker_id: broker.node_id.value(), broker_epoch };
        let response = broker
            .controller
            .decide(move |controller, _, _| controller.allocate_producer_ids(&request))
            .await
            .map_err(|_| ErrorCode::CoordinatorLoadInProgress)?;
        if response.error_code != 0 || response.producer_id_len <= 0 {
            return Err(ErrorCode::CoordinatorLoadInProgress);
        }
        let start = response.producer_id_start;
        let block = start..start + i64::from(response.producer_id_len);
        *broker.producer_ids.block.lock().unwrap_or_else(PoisonError::into_inner) = block;
        Ok(())
    }
}
