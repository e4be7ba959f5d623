//! UpdateFeatures (57), versions 0–2: handed to the controller, which raises or lowers feature levels, all or none.
//!
//! Version 1 added the direction and validation only, 2 has one error for all instead of one per feature. Errors:
//! `INVALID_UPDATE_VERSION`, `NOT_CONTROLLER`.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::messages::UpdateFeaturesRequest;

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    if let Err(error) = request.decode::<UpdateFeaturesRequest<'_>>() {
        return Outcome::close(error.to_string());
    }
    broker.controller.answer(request, |controller, context, _, request| {
        let message: UpdateFeaturesRequest<'_> = request.decode().expect("decoded once already");
        controller.update_features(context, &message)
    })
}
