//! AlterUserScramCredentials (51), version 0: handed to the controller, which keeps passwords in the metadata (KIP-554).
//!
//! Errors per user: `DUPLICATE_RESOURCE`, `RESOURCE_NOT_FOUND`, `UNACCEPTABLE_CREDENTIAL`, `UNSUPPORTED_SASL_MECHANISM`,
//! `UNSUPPORTED_VERSION`.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::messages::AlterUserScramCredentialsRequest;

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    if let Err(error) = request.decode::<AlterUserScramCredentialsRequest<'_>>() {
        return Outcome::close(error.to_string());
    }
    broker.controller.answer(request, |controller, _, _, request| {
        let message: AlterUserScramCredentialsRequest<'_> = request.decode().expect("decoded once already");
        controller.alter_user_scram_credentials(&message)
    })
}
