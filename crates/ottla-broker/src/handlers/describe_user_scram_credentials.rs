//! DescribeUserScramCredentials (50), version 0: mechanisms and iterations of users, never their keys (KIP-554).
//!
//! Without users all are meant. Errors per user: `RESOURCE_NOT_FOUND`, `DUPLICATE_RESOURCE`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_metadata::image::ScramImage;
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use ottla_protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: DescribeUserScramCredentialsRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let image = broker.image();
    // How often each user is asked for.
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    match message.users.as_deref() {
        None | Some([]) => users.extend(image.scram().iter().map(|((_, user), _)| (user.as_str(), 1))),
        Some(wanted) => wanted.iter().for_each(|user| *users.entry(&user.name).or_default() += 1),
    }
    let results = users.into_iter().map(|(user, times)| describe(image.scram(), user, times));
    request.reply(&DescribeUserScramCredentialsResponse {
        results: results.collect(),
        ..DescribeUserScramCredentialsResponse::default()
    })
}

fn describe(scram: &ScramImage, user: &str, times: usize) -> DescribeUserScramCredentialsResult<'static> {
    let credential_infos: Vec<_> = scram
        .iter()
        .filter(|((_, name), _)| name == user)
        .map(|((mechanism, _), credential)| CredentialInfo {
            mechanism: *mechanism,
            iterations: credential.iterations,
        })
        .collect();
    let base = DescribeUserScramCredentialsResult { user: user.to_owned().into(), ..Default::default() };
    let refuse = |code: ErrorCode, text: String| DescribeUserScramCredentialsResult {
        error_code: code.code(),
        error_message: Some(text.into()),
        ..base.clone()
    };
    if times > 1 {
        let text =
            format!("Cannot describe SCRAM credentials for the same user twice in one request: {user}");
        refuse(ErrorCode::DuplicateResource, text)
    } else if credential_infos.is_empty() {
        refuse(ErrorCode::ResourceNotFound, format!("There is no user with SCRAM credentials named {user}"))
    } else {
        DescribeUserScramCredentialsResult { credential_infos, ..base }
    }
}
