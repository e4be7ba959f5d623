//! Produce requests of transactions: what must be verified before it is appended (`ReplicaManager.handleProduceAppend`).

use std::collections::BTreeMap;

use ottla_coordinator::transaction::Identity;
use ottla_protocol::ErrorCode;
use ottla_record::BatchView;
use ottla_storage::log::VerificationGuard;
use ottla_types::Sequence;

use super::produce::Refusal;
use crate::broker::Broker;
use crate::request::Request;
use crate::transactions::{Support, Verification, Verified, Wanted};

/// The place of a batch in its request: topic, and partition in it.
pub(super) type Place = (usize, usize);

/// What verification says of a request's batches; those that are not there need none.
pub(super) type Guards = BTreeMap<Place, Result<VerificationGuard, ErrorCode>>;

/// A request whose batches are being verified.
pub(super) struct Begun {
    pub(super) verification: Verification,
    places: Vec<Place>,
}

impl Begun {
    /// Brings the outcomes to their places.
    pub(super) fn guards(places: Vec<Place>, verified: Verified) -> Guards {
        places.into_iter().zip(verified).collect()
    }

    /// The verification and the places that its outcomes belong to.
    pub(super) fn into_parts(self) -> (Verification, Vec<Place>) {
        (self.verification, self.places)
    }
}

/// A batch of a request, with the partition that it goes to.
pub(super) struct Batch<'a> {
    pub(super) place: Place,
    pub(super) wanted: Wanted,
    pub(super) records: &'a [u8],
}

/// Begins the verification of a transaction's batches, if there are any.
///
/// # Errors
/// `INVALID_PRODUCER_ID_MAPPING` for batches of several producers.
pub(super) fn begin<'a>(
    broker: &Broker,
    request: &Request,
    transactional_id: &str,
    batches: impl Iterator<Item = Batch<'a>>,
) -> Result<Option<Begun>, ErrorCode> {
    let (mut places, mut wanted) = (Vec::new(), Vec::new());
    let mut producer: Option<Identity> = None;
    for batch in batches {
        let Some((identity, sequence)) = transactional(batch.records) else { continue };
        if producer.is_some_and(|other| other != identity) {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        producer = Some(identity);
        places.push(batch.place);
        wanted.push(Wanted { sequence, ..batch.wanted });
    }
    let support = Support::of_produce(request.api_version);
    Ok(producer.map(|producer| Begun {
        verification: Verification::begin(broker, transactional_id, producer, support, &wanted),
        places,
    }))
}

/// Producer and first sequence of a transactional batch.
fn transactional(records: &[u8]) -> Option<(Identity, Sequence)> {
    let (batch, _) = BatchView::parse(records).ok()?;
    let is_wanted = batch.magic() >= 2 && batch.has_producer_id() && batch.attributes().is_transactional();
    is_wanted.then(|| {
        let identity = Identity { producer_id: batch.producer_id(), epoch: batch.producer_epoch() };
        (identity, batch.base_sequence())
    })
}

/// How a client is told that verification failed. Errors that it may not know how to repeat become one that it does.
pub(super) fn refusal(code: ErrorCode, version: i16) -> Refusal {
    let adds = Support::of_produce(version) == Support::AddsImplicitly;
    let told = match code {
        ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
        ErrorCode::ConcurrentTransactions if !adds => ErrorCode::NotEnoughReplicas,
        other => other,
    };
    let why = match told {
        ErrorCode::InvalidTxnState => Some("the partition was not added to the transaction".to_owned()),
        ErrorCode::NotEnoughReplicas => Some(format!("cannot verify the transaction: {}", code.name())),
        _ => None,
    };
    Refusal { message: why, ..told.into() }
}
